import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Edit, emptyMap, mapDelete, mapEntries, mapGet, mapSet, type SortedMap } from './sorted-map.ts';

const key = fc.string({ unit: fc.constantFrom('\0', 'a', 'b', '\xff'), maxLength: 4 });
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('set' as const), key, value: fc.nat() }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'freeze' as const }) },
);

function sorted(model: ReadonlyMap<string, number>): [string, number][] {
  return [...model].sort(([a], [b]) => (a < b ? -1 : 1));
}

test('a sorted map holds what was set, in order, and roots handed out never change', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), key, key, (steps, from, to) => {
      const model = new Map<string, number>();
      let edit: Edit = {};
      let map = emptyMap<number>(edit);
      const frozen: { map: SortedMap<number>; content: [string, number][] }[] = [];
      for (const step of steps) {
        if (step.kind === 'set') {
          model.set(step.key, step.value);
          map = mapSet(map, edit, step.key, step.value);
        } else if (step.kind === 'delete') {
          model.delete(step.key);
          map = mapDelete(map, edit, step.key);
        } else {
          frozen.push({ map, content: sorted(model) });
          edit = {};
        }
      }
      frozen.push({ map, content: sorted(model) });
      for (const { map, content } of frozen) {
        expect([...mapEntries(map, '', undefined, false)]).toEqual(content);
        expect([...mapEntries(map, '', undefined, true)]).toEqual(content.toReversed());
        const within = content.filter(([key]) => key >= from && key < to);
        expect([...mapEntries(map, from, to, false)]).toEqual(within);
        expect([...mapEntries(map, from, to, true)]).toEqual(within.toReversed());
        expect(mapGet(map, from)).toBe(content.find(([key]) => key === from)?.[1]);
      }
    }),
    { seed: 1, numRuns: 300 },
  );
});

test('a sorted map of ten thousand keys survives growing, emptying and growing again', () => {
  const edit = {};
  let map = emptyMap<number>(edit);
  const keys = Array.from({ length: 10_000 }, (_, i) =>
    String.fromCharCode((i * 7919) & 255, ((i * 104729) >> 8) & 255, i & 255),
  );
  const model = new Map<string, number>();
  for (let round = 0; round < 2; round++) {
    keys.forEach((key, i) => {
      map = mapSet(map, edit, key, i);
      model.set(key, i);
    });
    expect([...mapEntries(map, '', undefined, false)]).toEqual(sorted(model));
    for (const key of keys) map = mapDelete(map, edit, key);
    model.clear();
    expect([...mapEntries(map, '', undefined, false)]).toEqual([]);
  }
});
