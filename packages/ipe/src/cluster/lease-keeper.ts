import { type Accepted, type LeaseVerdict, raised } from '@ipe/core/replica';
import type { MemberRecord } from './members.ts';
import type { Membership } from './membership.ts';

export interface LeaseKeeperOptions {
  readonly membership: Pick<Membership, 'directory' | 'keys' | 'evict' | 'accept'>;
  readonly leaseMs: number;
  /** What this instance knows of its members. */
  readonly replication: {
    judgeLeases(leaseMs: number): LeaseVerdict;
    heldOf(origin: string): Accepted;
    mayHoldAlone(origin: string): boolean;
  };
  readonly log: { warn(details: object, message: string): void };
}

/** What the leases amount to, for operators. */
export interface LeaseStatus {
  /** Members that nobody has heard for their lease and that are not evicted yet. */
  readonly lapsed: readonly string[];
  /** Why lapsed members are not evicted, where they are not; `its return`: one may alone hold writes that count. */
  readonly waitsFor: 'the cluster key' | 'other members' | 'its return' | null;
}

const intervalMs = 1_000;

/**
 * Keeps the leases of members (design 0013, eviction): where the cluster key is, evicts members that nobody has heard for
 * their lease, and accepts of evicted ones what other members turn out to hold. Elsewhere it only tells who is overdue.
 */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #timer: NodeJS.Timeout;
  #overdue = '';

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.keep(), intervalMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  status(): LeaseStatus {
    const { replication, leaseMs, membership } = this.#options;
    const { lapsed, isCutOff } = replication.judgeLeases(leaseMs);
    const nameOf = (origin: string) => membership.directory.byOrigin(origin)?.id ?? origin;
    const obstacle = () => {
      if (isCutOff) return 'other members';
      if (membership.keys.key === undefined) return 'the cluster key';
      return lapsed.some((origin) => replication.mayHoldAlone(origin)) ? 'its return' : null;
    };
    return { lapsed: lapsed.map(nameOf), waitsFor: lapsed.length === 0 ? null : obstacle() };
  }

  /** One look at all leases; called each second. */
  keep(): void {
    const { membership, replication, leaseMs, log } = this.#options;
    const { lapsed, isCutOff } = replication.judgeLeases(leaseMs);
    const { waitsFor } = this.status();
    if (waitsFor !== null && this.#overdue !== lapsed.join())
      log.warn({ members: lapsed }, `the lease of members has run out; their eviction waits for ${waitsFor}`);
    this.#overdue = lapsed.join();
    if (membership.keys.key === undefined) return;
    if (!isCutOff) {
      // One at a look: what each eviction accepts has to be known at the next.
      const origin = lapsed.find((each) => !replication.mayHoldAlone(each));
      if (origin !== undefined) {
        const { body } = membership.evict(origin, replication.heldOf(origin), 'lease');
        log.warn({ member: body.id, lease_ms: leaseMs }, 'a member was evicted: nobody has heard it for its lease');
      }
    }
    for (const { body } of membership.directory.list()) if (body.state === 'evicted') this.#accept(body);
  }

  #accept(evicted: MemberRecord): void {
    const { membership, replication } = this.#options;
    const accepted = raised(evicted.lastAccepted ?? {}, replication.heldOf(evicted.origin));
    if (accepted !== undefined) membership.accept(evicted, accepted);
  }
}
