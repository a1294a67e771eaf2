/** Further than this from the median of its peers an instance takes its own clock for wrong (DESIGN §4). */
export const skewMaxMs = 400;

/** A measurement is worth nothing where the answer took longer, and is forgotten after so long. */
const roundTripMaxMs = 1_000;
const freshMs = 30_000;

interface Measured {
  /** The peer's clock less ours. */
  readonly offsetMs: number;
  readonly atMs: number;
}

/**
 * How far this instance's clock is from those of its peers, by the clocks that they send with their reports: each answer
 * is taken to have been written halfway between question and answer (Cristian, "Probabilistic Clock Synchronization",
 * 1989).
 */
export class Skew {
  readonly #byPeer = new Map<string, Measured>();

  /** A peer whose clock showed `clockMs` answered at `nowMs` what it was asked at `askedMs`. */
  measured(peer: string, clockMs: number, askedMs: number, nowMs: number): void {
    const roundTripMs = nowMs - askedMs;
    if (roundTripMs < 0 || roundTripMs > roundTripMaxMs) return;
    this.#byPeer.set(peer, { offsetMs: clockMs - (askedMs + roundTripMs / 2), atMs: nowMs });
  }

  forget(peer: string): void {
    this.#byPeer.delete(peer);
  }

  /** By peer, how far its clock is ahead of ours. */
  offsets(nowMs: number): Map<string, number> {
    const fresh = [...this.#byPeer].filter(([, { atMs }]) => Math.abs(nowMs - atMs) <= freshMs);
    return new Map(fresh.map(([peer, { offsetMs }]) => [peer, offsetMs]));
  }

  /** How far our clock is ahead of the median of our peers'; undefined where none was measured. */
  aheadMs(nowMs: number): number | undefined {
    const offsets = [...this.offsets(nowMs).values()].sort((a, b) => a - b);
    if (offsets.length === 0) return undefined;
    const middle = Math.floor(offsets.length / 2);
    const [low, high] = [offsets[offsets.length % 2 === 1 ? middle : middle - 1]!, offsets[middle]!];
    // Where two peers disagree, the one that agrees with us is believed.
    const median = Math.abs(low) < Math.abs(high) ? low : high;
    return median === 0 ? 0 : -median;
  }
}
