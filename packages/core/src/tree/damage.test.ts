import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { codec, primitives } from '../../test/node-runtime.ts';
import { assertTold, damageCheck, flippedBits } from '../testkit/tree-damage.ts';
import { treeFixture } from '../testkit/tree-fixture.ts';

const fixture = treeFixture({
  primitives,
  codec,
  breathe: () => setImmediate(),
});

const { newKv, open } = fixture;
const small = damageCheck(fixture, newKv());

describe('damage is told, never served, and nothing crashes:', () => {
  test('the undamaged store answers everything', async () => {
    const { rows, truth, tryRows } = await small;
    expect(Object.values(truth)).not.toContain('refused');
    expect(await tryRows(rows)).toEqual({ told: false, refused: false });
  });

  test('a flipped bit in every byte of every key and value', async () => {
    const { rows, tryRows } = await small;
    let tried = 0;
    for (const damage of flippedBits(rows)) {
      assertTold(damage, await tryRows(damage.rows));
      tried++;
    }
    expect(tried).toBe(rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0));
  });

  test('every row missing, cut short, or empty', async () => {
    const { rows, tryRows } = await small;
    for (const [i, row] of rows.entries()) {
      const { told } = await tryRows(rows.toSpliced(i, 1));
      if (row.family === 'objects') expect(told, `row ${i} missing`).toBe(true);
      for (const length of [0, 1, row.value.length >> 1, row.value.length - 1]) {
        const cut = rows.with(i, { ...row, value: row.value.slice(0, length) });
        const { told: cutTold } = await tryRows(cut);
        if (row.family !== 'metadata') expect(cutTold, `row ${i} cut to ${length}`).toBe(true);
      }
    }
  });

  test("any two rows of a family in each other's place", async () => {
    const { rows, tryRows } = await small;
    for (const [i, left] of rows.entries()) {
      for (const [j, right] of rows.entries()) {
        if (j <= i || left.family !== right.family || Buffer.compare(left.value, right.value) === 0) continue;
        const swapped = rows.with(i, { ...left, value: right.value }).with(j, { ...right, value: left.value });
        const { told } = await tryRows(swapped);
        if (left.family === 'objects') expect(told, `rows ${i} and ${j}`).toBe(true);
      }
    }
  });

  test('a directory that cannot be read hides none of the policies below it as if there were none', async () => {
    const { rows } = await small;
    const whole = newKv();
    await whole.write(rows.map((row) => ({ type: 'put', ...row })));
    const { hash } = (await (await open(whole)).current().lookup('a'))!;
    const left = rows.filter((row) => Buffer.from(row.key).toString('hex') !== hash);
    expect(left).toHaveLength(rows.length - 1);
    const kv = newKv();
    await kv.write(left.map((row) => ({ type: 'put', ...row })));
    const store = await open(kv);
    const index = store.current().index()!;
    for (const ask of [() => index.lookup('a.b'), () => index.policiesBelow(''), () => index.policiesBelow('a')]) {
      expect(ask).toThrow(
        expect.objectContaining({ reason: 'corrupt', details: expect.objectContaining({ object: hash }) }),
      );
    }
    expect(store.status().damaged).toEqual([hash]);
    expect(await store.current().lookup('c')).toBeUndefined();
  });
});
