/** What the leases of members amount to at a moment. */
export interface LeaseVerdict {
  /** Members that nobody has heard for their lease, in order of origin. */
  readonly lapsed: readonly string[];
  /**
   * Of several others not one was heard for the lease: this instance is likelier to be the one that is away, and must
   * evict nobody. An operator can.
   */
  readonly isCutOff: boolean;
}

/** A start is no reason to judge: links come up first. */
const graceMaxMs = 3_600_000;

/**
 * When each member was last heard, by anyone: members tell each other how long ago they heard whom, as ages, so that
 * clocks need not agree. Only a member that no member hears loses its lease.
 */
export class Leases {
  readonly #startedMs: number;
  readonly #heardMs = new Map<string, number>();

  /** @param remembered when members had been heard as of the last stop, so that restarts do not renew leases */
  constructor(startedMs: number, remembered: Readonly<Record<string, number>> = {}) {
    this.#startedMs = startedMs;
    // A clock that was ahead when this was noted must not keep a member alive.
    for (const [origin, ms] of Object.entries(remembered)) this.#heardMs.set(origin, Math.min(ms, startedMs));
  }

  /** The members besides this one, as they are now: the lease of a new one begins. */
  members(origins: readonly string[], nowMs: number): void {
    const current = new Set(origins);
    for (const origin of this.#heardMs.keys()) if (!current.has(origin)) this.#heardMs.delete(origin);
    for (const origin of origins) if (!this.#heardMs.has(origin)) this.#heardMs.set(origin, nowMs);
  }

  /** A member was heard, here or by a peer that says how long ago. */
  heard(origin: string, nowMs: number, ageMs = 0): void {
    const known = this.#heardMs.get(origin);
    if (known !== undefined) this.#heardMs.set(origin, Math.max(known, nowMs - Math.max(ageMs, 0)));
  }

  /** By member, how long ago it was heard. */
  ages(nowMs: number): Map<string, number> {
    return new Map([...this.#heardMs].map(([origin, ms]) => [origin, Math.max(0, nowMs - ms)]));
  }

  /** By member, when it was heard: to be remembered for the next start. */
  heardAt(): ReadonlyMap<string, number> {
    return this.#heardMs;
  }

  judge(leaseMs: number, nowMs: number): LeaseVerdict {
    if (nowMs - this.#startedMs < Math.min(leaseMs / 10, graceMaxMs)) return { lapsed: [], isCutOff: false };
    const lapsed = [...this.#heardMs].filter(([, ms]) => nowMs - ms > leaseMs).map(([origin]) => origin);
    return { lapsed: lapsed.sort(), isCutOff: lapsed.length > 1 && lapsed.length === this.#heardMs.size };
  }
}
