/** A reading of the hybrid logical clock: 48 bits of milliseconds, 16 bits of counter. */
export interface Hlc {
  readonly ms: number;
  readonly count: number;
}

export const zeroHlc: Hlc = { ms: 0, count: 0 };

/** Remote times further ahead than this are honoured in order but do not move the node's clock (DESIGN §4). */
export const hlcAheadMaxMs = 500;

const countMax = 0xffff;

export function compareHlc(a: Hlc, b: Hlc): number {
  return a.ms - b.ms || a.count - b.count;
}

/** The smallest reading after `hlc`. A full counter carries into the milliseconds. */
export function afterHlc(hlc: Hlc): Hlc {
  return hlc.count < countMax ? { ms: hlc.ms, count: hlc.count + 1 } : { ms: hlc.ms + 1, count: 0 };
}

/**
 * Hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): follows the wall clock, never goes back, and
 * is ahead of everything it has been shown.
 */
export class HybridClock {
  #last: Hlc;

  /** @param floor the highest reading that was durable before the start */
  constructor(floor: Hlc = zeroHlc) {
    this.#last = floor;
  }

  get last(): Hlc {
    return this.#last;
  }

  /** A reading above all earlier ones. @param wallMs the wall clock, which may step back */
  tick(wallMs: number): Hlc {
    this.#last = wallMs > this.#last.ms ? { ms: wallMs, count: 0 } : afterHlc(this.#last);
    return this.#last;
  }

  /**
   * Takes in a remote reading, unless it is too far ahead of the wall clock to be followed.
   * @returns whether it was taken
   */
  witness(remote: Hlc, wallMs: number): boolean {
    if (remote.ms > wallMs + hlcAheadMaxMs) return false;
    if (compareHlc(remote, this.#last) > 0) this.#last = remote;
    return true;
  }
}
