import { canonicalJson } from '../../bytes/index.ts';
import type { Accepted, Cut } from '../exchange/index.ts';

/** How a member stands, as the holder of the cluster key said last. */
export interface MemberState {
  /** Origin of the member's dots: 16 hexadecimal digits. */
  readonly origin: string;
  readonly state: 'active' | 'evicted';
  /** A higher one replaces a lower one. */
  readonly sequence: number;
  /**
   * Of a member that was evicted once: the last records accepted of the sources under which it wrote until then. Kept
   * when it returns.
   */
  readonly lastAccepted?: Accepted;
  /** Of an evicted member: whether its lease ran out (it may return by itself), or an operator sent it away. */
  readonly evictedBy?: 'lease' | 'operator';
}

/** Whether a record takes the place of another. Of two with one sequence (two held the key), all keep the same. */
export function supersedes(record: MemberState, held: MemberState): boolean {
  if (record.sequence !== held.sequence) return record.sequence > held.sequence;
  if (record.state !== held.state) return record.state === 'evicted';
  return canonicalJson(record) > canonicalJson(held);
}

/**
 * The record that takes the place of all others, if there is any. Members write them side by side, by clocks that differ:
 * what is later need not be newer, and whoever knows less may be ahead.
 */
export function newestOf<Told>(records: readonly Told[], stateOf: (record: Told) => MemberState): Told | undefined {
  const [first, ...rest] = records;
  if (first === undefined) return undefined;
  return rest.reduce((newest, each) => (supersedes(stateOf(each), stateOf(newest)) ? each : newest), first);
}

/**
 * Whether an instance has to tell the others of a record that it holds. It leaves its own return to them: who takes it
 * for evicted still takes nothing that it writes, so its word would reach only those that know, and where it is the last
 * they would have no reason left to give theirs, which reaches everybody.
 * @param told what the facts say, if anything @param self origin of the instance
 */
export function isToTell(held: MemberState, told: MemberState | undefined, self: string): boolean {
  if (told !== undefined && !supersedes(held, told)) return false;
  const isOwnReturn = held.origin === self && held.state === 'active' && held.lastAccepted !== undefined;
  return !isOwnReturn || told?.state === 'active';
}

/** By origin, what counts of members that were evicted once. */
export function cutsOf(members: Iterable<MemberState>): ReadonlyMap<string, Cut> {
  const cuts = new Map<string, Cut>();
  for (const { origin, state, lastAccepted } of members) {
    const isClosed = state === 'evicted';
    if (isClosed || lastAccepted !== undefined) cuts.set(origin, { accepted: lastAccepted ?? {}, isClosed });
  }
  return cuts;
}

/**
 * A member as it is signed out. An earlier eviction's cut stays: what it closed is closed.
 * @param accepted what counts of it, by namespace and source
 */
export function evictedState<Member extends MemberState>(
  member: Member,
  accepted: Accepted,
  evictedBy: 'lease' | 'operator',
): Member {
  const lastAccepted = { ...accepted };
  for (const [namespace, seqs] of Object.entries(member.lastAccepted ?? {}))
    lastAccepted[namespace] = { ...lastAccepted[namespace], ...seqs };
  return { ...member, state: 'evicted', evictedBy, lastAccepted, sequence: member.sequence + 1 };
}

/**
 * What is accepted of a member that comes, or comes back. What an eviction accepted stays so; sources of its that it did
 * not know of are closed from their first record on.
 * @param closed the sources under which it writes no more
 */
export function acceptedOnReturn(held: MemberState | undefined, origin: string, closed: Accepted): Accepted {
  const accepted: Record<string, Record<string, number>> = {};
  for (const [namespace, seqs] of Object.entries(held?.lastAccepted ?? {})) accepted[namespace] = { ...seqs };
  for (const [namespace, seqs] of Object.entries(closed))
    for (const id of Object.keys(seqs)) if (id.startsWith(`${origin}:`)) (accepted[namespace] ??= {})[id] ??= 0;
  return accepted;
}
