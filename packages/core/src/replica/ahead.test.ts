import { describe, expect, test } from 'vitest';
import { InstantReplica, randomFrom } from '../testkit/replica.ts';
import type { Ahead } from './ahead.ts';
import { decodeCell } from './cell.ts';
import { decodeUtf8 } from './codec.ts';

const startMs = 1_700_000_000_000;
const strategy = { kind: 'counter' } as const;
const open = (origin: string, seed: number) =>
  new InstantReplica({ origin, strategyOf: () => strategy }, randomFrom(seed), startMs);

const giver = () => {
  const at = open('aaaaaaaaaaaaaaa1', 3);
  for (const key of ['counts.a', 'counts.b', 'counts.a']) at.write({ op: 'add', namespace: 'counts', key, amount: 2 });
  return at;
};

/** Joins in the state of a key as another instance holds it. */
function join(to: InstantReplica, from: InstantReplica, key: string): void {
  const [, row] = from.rows('live').find(([name]) => decodeUtf8(name) === key)!;
  const { state } = decodeCell(row, to.replica.sources, strategy);
  to.ask((id) => ({ type: 'states', id, namespace: 'counts', entries: [{ key, state }] }));
}

function advance(to: InstantReplica, from: InstantReplica, seq: number, ahead?: Ahead): void {
  const source = to.replica.sources.parse(from.replica.source.id)!;
  to.ask((id) => ({ type: 'advance', id, namespace: 'counts', heads: [{ source, seq }], floor: 0, ahead }));
}

/** What is told of an instance's states, sources by their ids. */
function told({ replica }: InstantReplica) {
  const ahead = replica.aheadOf('counts');
  return ahead && { seqs: [...ahead.heads.values()], joinedMs: [...ahead.joinedMs] };
}

describe('what states show beyond the vector', () => {
  test('is told, also after a restart, until the vector covers it', () => {
    const [from, to] = [giver(), open('bbbbbbbbbbbbbbb2', 5)];
    expect(told(to)).toBeUndefined();
    join(to, from, 'counts.a');
    const one = { seqs: [3], joinedMs: [['bbbbbbbbbbbbbbb2', startMs]] };
    expect(told(to)).toEqual(one);
    to.restart();
    expect(told(to)).toEqual(one);
    advance(to, from, 2);
    expect(told(to)).toEqual(one);
    to.receive(from.log[2]!);
    expect(told(to)).toBeUndefined();
    to.restart();
    expect(told(to)).toBeUndefined();
  });

  test('is told apart from before whenever a state brings something new, and not when it brings nothing', () => {
    const [from, to] = [giver(), open('bbbbbbbbbbbbbbb2', 5)];
    join(to, from, 'counts.a');
    join(to, from, 'counts.a');
    expect(told(to)).toEqual({ seqs: [3], joinedMs: [['bbbbbbbbbbbbbbb2', startMs]] });
    join(to, from, 'counts.b');
    expect(told(to)).toEqual({ seqs: [3], joinedMs: [['bbbbbbbbbbbbbbb2', startMs + 1]] });
  });

  test('of the giver is told here too, as far as the vector does not cover it', () => {
    const [from, third] = [giver(), open('ccccccccccccccc3', 7)];
    const ahead = () => {
      const source = third.replica.sources.parse(from.replica.source.id)!;
      return { heads: new Map([[source, 3]]), joinedMs: new Map([['b', 1]]) };
    };
    advance(third, from, 1, ahead());
    expect(told(third)).toEqual({ seqs: [3], joinedMs: [['b', 1]] });
    third.restart();
    expect(told(third)).toEqual({ seqs: [3], joinedMs: [['b', 1]] });
    advance(third, from, 3, ahead());
    expect(told(third)).toBeUndefined();
  });
});
