import { expect, test } from 'vitest';
import { InstantReplica, randomFrom } from '../../testkit/replica.ts';
import { logKey } from '../layout.ts';
import { decodeRecord } from '../record-codec.ts';
import { carriedOn, evictedState, isCutFinal, isToTell, type MemberState, setAside } from './index.ts';

const startMs = 1_700_000_000_000;
const origin = 'aaaaaaaaaaaaaaa1';

const open = (at: string, seed: number) =>
  new InstantReplica({ origin: at, strategyOf: () => ({ kind: 'lww' }) }, randomFrom(seed), startMs);

/** Reads what an instance whose log is kept in memory takes along. */
function asideOf({ log, replica }: InstantReplica) {
  const rows = new Map(
    log.map((bytes) => {
      const { namespace, source, seq } = decodeRecord(bytes, replica.sources);
      return [String(logKey(namespace, source, seq)), bytes] as const;
    }),
  );
  const namespaces = replica.report().map(({ name, heads }) => ({ name, heads }));
  const reading = setAside({ origin, sources: replica.sources, namespaces, accepted: {} });
  let step = reading.next();
  while (!step.done) step = reading.next(rows.get(String(step.value)));
  return step.value;
}

const put = (at: InstantReplica, key: string, json: string) => at.write({ op: 'put', namespace: 'users', key, json });

test('a member that is evicted again before it has offered everything takes the rest along, and what it wrote since', () => {
  const first = open(origin, 1);
  for (const name of ['a', 'b', 'c']) put(first, `users.${name}`, `"${name}"`);
  const earlier = asideOf(first);
  expect(earlier.records).toHaveLength(3);

  const second = open(origin, 2);
  const records = earlier.records.slice(0, 2).map((bytes) => decodeRecord(bytes, second.replica.sources));
  second.ask((id) => ({ type: 'offer', id, records, counted: [], purgedMs: 0 }));
  put(second, 'users.d', '"d"');
  const later = asideOf(second);
  const all = carriedOn(earlier, second.replica.offersMade, later, second.replica.sources);

  const third = open(origin, 3);
  const decoded = all.records.map((bytes) => decodeRecord(bytes, third.replica.sources));
  third.ask((id) => ({ type: 'offer', id, records: decoded, counted: [], purgedMs: 0 }));
  for (const name of ['a', 'b', 'c', 'd']) expect(third.seen(`users.${name}`)).toBe(`"${name}"`);
  expect(all.records).toHaveLength(4);
  expect(Object.keys(all.closed['users']!)).toHaveLength(3);
});

test('an evicted member may return once every member knows of the eviction and none holds more of it', () => {
  const stays = open('bbbbbbbbbbbbbbb2', 4);
  put(stays, 'users.record', '1');
  const { state } = stays.cell('users.record');
  const member: MemberState = evictedState(
    { origin, state: 'active', sequence: 1 },
    { users: { [`${origin}:000000000001`]: 4 } },
    'lease',
  );
  const fact = { member, state: state! };
  const held = (seq: number) => ({ users: { [`${origin}:000000000001`]: seq } });
  const exchange = (isHeld: boolean, seq: number, isKnown = true) => ({
    isHeldByAll: () => isHeld,
    isEvictedForAll: () => isKnown,
    heldOf: () => held(seq),
  });
  expect(isCutFinal(member, fact, exchange(true, 4))).toBe(true);
  expect(isCutFinal(member, fact, exchange(false, 4))).toBe(false);
  expect(isCutFinal(member, fact, exchange(true, 5))).toBe(false);
  // One holds the record back, for its time lies far ahead.
  expect(isCutFinal(member, fact, exchange(true, 4, false))).toBe(false);
  expect(isCutFinal(member, { ...fact, member: { ...member, sequence: 1 } }, exchange(true, 4))).toBe(false);
  expect(isCutFinal(member, undefined, exchange(true, 4))).toBe(false);
});

test('a record that is newer than what the facts say is told, but an own return only by those that others listen to', () => {
  const active: MemberState = { origin, state: 'active', sequence: 1 };
  const evicted = evictedState(active, {}, 'lease');
  const back: MemberState = { ...evicted, state: 'active', sequence: 3 };
  const [own, other] = [origin, 'bbbbbbbbbbbbbbb2'];
  expect(isToTell(active, undefined, own)).toBe(true);
  expect(isToTell(evicted, active, other)).toBe(true);
  expect(isToTell(evicted, evicted, other)).toBe(false);
  expect(isToTell(active, evicted, other)).toBe(false);
  for (const told of [evicted, undefined]) {
    expect(isToTell(back, told, other)).toBe(true);
    // Whoever goes by the eviction takes nothing of the member itself.
    expect(isToTell(back, told, own)).toBe(false);
  }
  // Nobody does any more.
  expect(isToTell({ ...back, sequence: 4 }, back, own)).toBe(true);
});
