import type { Source } from '../dot.ts';
import { type Accepted, raised } from '../exchange/index.ts';
import { liveDots } from '../resolve.ts';
import type { KeyState } from '../state.ts';
import type { MemberState } from './member-state.ts';

/** The fact that tells of a member, as it stands here. */
export interface MemberFact {
  readonly member: MemberState;
  readonly state: KeyState;
}

/**
 * Whether what counts of an evicted member can grow no more: then it may return and offer what lies beyond. Every active
 * member must be known to hold the record that evicts it, durably: from then on it takes nothing more of the member, and
 * what it took before is among what it reports. That it has been heard since the eviction is not enough: it may not
 * have known. Nor that it holds the record: it may hold it back for its time, as one of a clock far ahead.
 */
export function isCutFinal(
  member: MemberState,
  fact: MemberFact | undefined,
  known: {
    isHeldByAll(namespace: string, source: Source, seq: number): boolean;
    isEvictedForAll(origin: string): boolean;
    heldOf(origin: string): Accepted;
  },
): boolean {
  if (fact?.member.sequence !== member.sequence) return false;
  const isKnown = liveDots(fact.state).every(({ source, seq }) => known.isHeldByAll('_sys', source, seq));
  return (
    isKnown &&
    known.isEvictedForAll(member.origin) &&
    raised(member.lastAccepted ?? {}, known.heldOf(member.origin)) === undefined
  );
}
