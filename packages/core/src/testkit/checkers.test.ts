import { describe, expect, test } from 'vitest';
import { checkCounters, checkHistory, type RecordedWrite, type Shown } from './index.ts';

const views = (...all: Readonly<Record<string, Shown>>[]) =>
  new Map(all.map((view, i) => [`i${i}`, new Map(Object.entries(view))]));
const written = (key: string, value: string | null, order: number): RecordedWrite => ({
  ...{ key, value, order },
  outcome: 'acknowledged',
});
const shown = (value: string, order: number): Shown => ({ value, order });

describe('a history is good where', () => {
  test('each key shows its latest acknowledged write, or one whose outcome is unknown', () => {
    const history = [
      written('a', '1', 1),
      written('a', '2', 2),
      written('b', '1', 1),
      { key: 'b', value: '2', outcome: 'unknown' as const },
      written('c', '1', 1),
      written('c', null, 2),
      written('d', '1', 1),
      { key: 'd', value: null, outcome: 'unknown' as const },
    ];
    expect(checkHistory(history, views({ a: shown('2', 2), b: shown('2', 3) }))).toEqual([]);
    expect(checkHistory(history, views({ a: shown('2', 2), b: shown('1', 1), d: shown('1', 1) }))).toEqual([]);
  });
});

describe('a history is bad where', () => {
  const history = [written('a', '1', 1), written('a', '2', 2), written('gone', '1', 1), written('gone', null, 2)];
  const good = { a: shown('2', 2) };

  test.each<[string, readonly Readonly<Record<string, Shown>>[], RegExp]>([
    ['an acknowledged write is beaten by an older one', [{ a: shown('1', 1) }], /a = 2 is lost/],
    ['an acknowledged write is nowhere', [{}], /a = 2 is lost; nothing/],
    ['what was deleted is back', [{ ...good, gone: shown('1', 1) }], /gone was deleted and is back/],
    ['a value was written by nobody', [{ a: shown('3', 3) }], /nobody wrote/],
    ['a key was written by nobody', [{ ...good, z: shown('1', 1) }], /nobody wrote/],
    ['instances differ', [good, { a: shown('1', 1) }], /at i0 and 1 at i1/],
  ])('%s', (_, all, problem) => {
    expect(checkHistory(history, views(...all)).join('\n')).toMatch(problem);
  });

  test('a refused write shows', () => {
    expect(checkHistory([{ key: 'a', value: '1', outcome: 'refused' }], views(good))).not.toEqual([]);
  });

  test('half a transaction shows, whether or not it was acknowledged', () => {
    const half: RecordedWrite[] = [
      written('x', '0', 1),
      written('y', '0', 1),
      { key: 'x', value: '1', outcome: 'unknown', transaction: 't' },
      { key: 'y', value: '1', outcome: 'unknown', transaction: 't' },
    ];
    expect(checkHistory(half, views({ x: shown('1', 2), y: shown('1', 2) }))).toEqual([]);
    expect(checkHistory(half, views({ x: shown('0', 1), y: shown('0', 1) }))).toEqual([]);
    expect(checkHistory(half, views({ x: shown('1', 2), y: shown('0', 1) })).join()).toMatch(
      /of transaction t x shows/,
    );
    expect(checkHistory(half.slice(2), views({ x: shown('1', 2) })).join()).toMatch(/y shows nothing/);
  });
});

test('a counter must show all that was acknowledged and no more than was tried', () => {
  const adds = [
    { key: 'n', amount: 5, outcome: 'acknowledged' as const },
    { key: 'n', amount: 2, outcome: 'unknown' as const },
  ];
  for (const [total, good] of [
    [4, false],
    [5, true],
    [7, true],
    [8, false],
  ] as const)
    expect(checkCounters(adds, views({ n: shown(String(total), 0) })).length === 0).toBe(good);
});
