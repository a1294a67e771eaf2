import {
  type Accepted,
  acceptedOnReturn,
  type Cut,
  cutsOf,
  evictedState,
  type LeaseVerdict,
  type MemberState,
  raised,
  supersedes,
} from '../../replica/index.ts';

/** Where records of members are kept as facts, as nodes do. */
export const memberPrefix = '_sys.members.';

/** What the holder of the cluster key knows of the members. */
export interface LeaseView {
  readonly verdict: LeaseVerdict;
  heldOf(origin: string): Accepted;
  mayHoldAlone(origin: string): boolean;
}

/**
 * What one instance knows of the members of its cluster, and what it signs where it holds the cluster key: the files
 * under `keys/`, which survive whatever becomes of the facts.
 */
export class Membership {
  readonly origin: string;
  readonly holdsKey: boolean;
  /** Whether an operator has given it a token to come back with. */
  hasToken = false;
  /** Told of each record that is new here. */
  onChange: (member: MemberState) => void = () => {};
  readonly #members = new Map<string, MemberState>();

  constructor(origin: string, holdsKey: boolean) {
    this.origin = origin;
    this.holdsKey = holdsKey;
  }

  get own(): MemberState | undefined {
    return this.#members.get(this.origin);
  }

  /** Whether this instance was evicted, knows it, and may ask to be taken back. */
  get mayReturn(): boolean {
    return this.own?.state === 'evicted' && (this.own.evictedBy === 'lease' || this.hasToken);
  }

  list(): readonly MemberState[] {
    return [...this.#members.values()];
  }

  of(origin: string): MemberState | undefined {
    return this.#members.get(origin);
  }

  isActive(origin: string): boolean {
    return this.of(origin)?.state === 'active';
  }

  /** Origins of the active members besides this one. */
  others(): string[] {
    return this.list().flatMap(({ origin, state }) => (state === 'active' && origin !== this.origin ? [origin] : []));
  }

  cuts(): ReadonlyMap<string, Cut> {
    return cutsOf(this.#members.values());
  }

  put(member: MemberState): void {
    const held = this.of(member.origin);
    if (held !== undefined && !supersedes(member, held)) return;
    this.#members.set(member.origin, member);
    this.onChange(member);
  }

  /** A member of the beginning, or one that joins. */
  found(origin: string): void {
    if (this.of(origin) === undefined) this.put({ origin, state: 'active', sequence: 1 });
  }

  /** One look at all leases: evicts who is overdue, and accepts of evicted ones what others turn out to hold. */
  keep({ verdict, heldOf, mayHoldAlone }: LeaseView): void {
    if (!this.holdsKey) return;
    // One at a look: what each eviction accepts has to be known at the next.
    const overdue = verdict.isCutOff ? undefined : verdict.lapsed.find((origin) => !mayHoldAlone(origin));
    if (overdue !== undefined) this.evict(overdue, heldOf(overdue), 'lease');
    for (const member of this.list()) {
      const accepted = raised(member.lastAccepted ?? {}, heldOf(member.origin));
      if (member.state === 'evicted' && accepted !== undefined)
        this.put({ ...member, lastAccepted: accepted, sequence: member.sequence + 1 });
    }
  }

  evict(origin: string, accepted: Accepted, evictedBy: 'lease' | 'operator'): void {
    const member = this.of(origin);
    if (member?.state === 'active') this.put(evictedState(member, accepted, evictedBy));
  }

  /** Takes a member back. @param closed sources under which it writes no more */
  readmit(origin: string, closed: Accepted): void {
    const held = this.of(origin);
    const lastAccepted = acceptedOnReturn(held, origin, closed);
    this.put({ origin, state: 'active', sequence: (held?.sequence ?? 0) + 1, lastAccepted });
  }
}
