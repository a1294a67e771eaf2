import { describe, expect, test } from 'vitest';
import { decodeRecord, Sources } from '../../replica/index.ts';
import { InstantReplica, randomFrom } from '../replica.ts';
import { Oracle } from './oracle.ts';

const namespace = 'plain';
const key = 'plain.k';

/** What an oracle finds possible where states may show all that a member wrote to a key in some starts, twice in each. */
function waysToShow(starts: number) {
  const member = new InstantReplica(
    { origin: 'a'.repeat(16), strategyOf: () => ({ kind: 'lww' }) },
    randomFrom(3),
    1_700_000_000_000,
  );
  for (let start = 0; start < starts; start++) {
    for (const json of ['1', '2']) member.write({ op: 'put', namespace, key, json });
    member.nowMs += 1_000;
    member.restart();
  }
  const sources = new Sources();
  const oracle = new Oracle((problem) => expect.unreachable(problem));
  const records = member.log.map((row) => decodeRecord(row, sources));
  for (const record of records) oracle.wrote(record);
  const strays = new Map(records.map(({ source, seq }) => [source.id, seq]));
  expect(strays.size).toBe(starts);
  const ways = oracle.reaches(key, () => 0, strays);
  return ways.map((reach) => [...strays.keys()].map((id) => reach(namespace, id)));
}

describe('how far states may show a key', () => {
  test('is any part of each source, where there are few', () => {
    const ways = waysToShow(2);
    expect(ways[0]).toEqual([0, 0]);
    expect(new Set(ways.map(String)).size).toBe(9);
  });

  test('is one start after the other, where there are many', () => {
    const ways = waysToShow(12);
    expect(ways).toHaveLength(25);
    expect(ways[0]).toEqual(Array(12).fill(0));
    expect(ways[3]).toEqual([2, 1, ...Array(10).fill(0)]);
    expect(ways.at(-1)).toEqual(Array(12).fill(2));
  });
});
