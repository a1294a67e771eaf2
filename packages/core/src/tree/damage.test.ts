import { createHash } from 'node:crypto';
import { deflateSync, inflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { isIpeError } from '../errors.ts';
import type { Kv } from '../store/index.ts';
import { treeFixture } from '../testkit/tree-fixture.ts';
import type { PolicyFamily, PolicyStore } from './index.ts';

const { apply, newKv, open, put } = treeFixture({
  primitives: {
    sha256: (data) => new Uint8Array(createHash('sha256').update(data).digest()),
    utf8Encode: (text) => new TextEncoder().encode(text),
    utf8Decode: (bytes) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
  },
  codec: {
    deflate: (bytes) => new Uint8Array(deflateSync(bytes)),
    inflate: (bytes, maxBytes) => new Uint8Array(inflateSync(bytes, { maxOutputLength: maxBytes })),
  },
});

type Row = { family: PolicyFamily; key: Uint8Array; value: Uint8Array };
type Answers = Record<string, string>;

/** A small store with all there is: two directories, tests, a removal, history; and everything it answers. */
async function smallStore(): Promise<{ rows: Row[]; truth: Answers }> {
  const kv = newKv();
  const store = await open(kv);
  await apply(store, [put('a.b', `one ${'long '.repeat(120)}`, 'tests'), put('c', '1')]);
  await apply(store, [put('a.b', 'two'), { path: 'c', delete: true }]);
  await store.pin('kept', (await store.log()).items[1]!.commit);
  return { rows: await rowsOf(kv), truth: await answers(store) };
}

async function rowsOf(kv: Kv<PolicyFamily>): Promise<Row[]> {
  const rows: Row[] = [];
  for (const family of kv.families)
    for await (const [key, value] of kv.entries(family)) rows.push({ family, key, value });
  return rows;
}

/** What a store answers to every kind of question; an expected refusal answers `refused`. */
async function answers(store: PolicyStore): Promise<Answers> {
  const questions: Record<string, () => Promise<unknown>> = {
    list: () => store.current().listPolicies(),
    subtree: () => store.current().getSubtree(''),
    below: () => store.current().policiesBelow(''),
    read: () => store.current().readPolicy('a.b'),
    gone: () => store.current().lookup('c'),
    old: async () => (await store.at('kept')).getSubtree(''),
    oldRead: async () => (await store.at('kept')).readPolicy('a.b'),
    log: () => store.log(),
    history: () => store.history('a.b'),
    removed: () => store.history('c'),
    last: () => store.current().lastChange('a'),
    diff: () => store.diff('kept', 'main', { patches: true }),
  };
  const found: Answers = {};
  for (const [name, ask] of Object.entries(questions)) {
    try {
      found[name] = JSON.stringify(await ask());
    } catch (error) {
      if (!isIpeError(error) || error.reason !== 'corrupt') throw error;
      found[name] = 'refused';
    }
  }
  return found;
}

/**
 * Opens a store of such rows and asks it everything. Every answer must be the true one or a refusal.
 * @returns whether the damage was told: at the start, by a refusal, by a rebuilt index or by verification
 */
async function tryStore(rows: readonly Row[], truth: Answers): Promise<{ told: boolean; refused: boolean }> {
  const kv = newKv();
  await kv.write(rows.map((row) => ({ type: 'put', ...row })));
  let store: PolicyStore;
  try {
    store = await open(kv, { cacheBytes: 0 });
  } catch (error) {
    expect(isIpeError(error) && ['corrupt', 'unavailable'].includes(error.reason), String(error)).toBe(true);
    return { told: true, refused: true };
  }
  const found = await answers(store);
  let refused = false;
  for (const [name, answer] of Object.entries(found)) {
    if (answer === 'refused') refused = true;
    else expect(answer, name).toBe(truth[name]);
  }
  const told = refused || store.status().indexRebuilt !== null || (await store.verify()).problemCount > 0;
  return { told, refused };
}

const small = smallStore();

describe('damage is told, never served, and nothing crashes:', () => {
  test('the undamaged store answers everything', async () => {
    const { rows, truth } = await small;
    expect(Object.values(truth)).not.toContain('refused');
    expect(await tryStore(rows, truth)).toEqual({ told: false, refused: false });
  });

  test('a flipped bit in every byte of every object', async () => {
    const { rows, truth } = await small;
    for (const [i, row] of rows.entries()) {
      if (row.family !== 'objects') continue;
      for (let at = 0; at < row.value.length; at++) {
        const value = row.value.with(at, row.value[at]! ^ (1 << (at % 8)));
        expect((await tryStore(rows.with(i, { ...row, value }), truth)).told, `${i}, byte ${at}`).toBe(true);
      }
    }
  });

  test('a flipped bit in every byte of the index, which is rebuilt', async () => {
    const { rows, truth } = await small;
    for (const [i, row] of rows.entries()) {
      if (row.family !== 'path_index') continue;
      for (let at = 0; at < row.value.length; at++) {
        const value = row.value.with(at, row.value[at]! ^ (1 << (at % 8)));
        expect(await tryStore(rows.with(i, { ...row, value }), truth), `${i}, byte ${at}`).toEqual({
          told: true,
          refused: false,
        });
      }
    }
  });

  test('a flipped bit in every byte of the metadata', async () => {
    const { rows, truth } = await small;
    for (const [i, row] of rows.entries()) {
      if (row.family !== 'metadata') continue;
      for (let at = 0; at < row.value.length; at++) {
        await tryStore(rows.with(i, { ...row, value: row.value.with(at, row.value[at]! ^ (1 << (at % 8))) }), truth);
      }
    }
  });

  test('a flipped bit in every byte of every key', async () => {
    const { rows, truth } = await small;
    for (const [i, row] of rows.entries()) {
      for (let at = 0; at < row.key.length; at += 3) {
        const key = row.key.with(at, row.key[at]! ^ (1 << (at % 8)));
        const { told } = await tryStore(rows.with(i, { ...row, key }), truth);
        if (row.family !== 'metadata') expect(told, `${i}, byte ${at}`).toBe(true);
      }
    }
  });

  test('every row missing, cut short, or empty', async () => {
    const { rows, truth } = await small;
    for (const [i, row] of rows.entries()) {
      const { told } = await tryStore(rows.toSpliced(i, 1), truth);
      if (row.family === 'objects') expect(told, `row ${i} missing`).toBe(true);
      for (const length of [0, 1, row.value.length >> 1, row.value.length - 1]) {
        const cut = rows.with(i, { ...row, value: row.value.slice(0, length) });
        const { told: cutTold } = await tryStore(cut, truth);
        if (row.family !== 'metadata') expect(cutTold, `row ${i} cut to ${length}`).toBe(true);
      }
    }
  });

  test("any two rows of a family in each other's place", async () => {
    const { rows, truth } = await small;
    for (const [i, left] of rows.entries()) {
      for (const [j, right] of rows.entries()) {
        if (j <= i || left.family !== right.family || Buffer.compare(left.value, right.value) === 0) continue;
        const swapped = rows.with(i, { ...left, value: right.value }).with(j, { ...right, value: left.value });
        const { told } = await tryStore(swapped, truth);
        if (left.family === 'objects') expect(told, `rows ${i} and ${j}`).toBe(true);
      }
    }
  });

  test('a directory that cannot be read hides none of the policies below it as if there were none', async () => {
    const { rows, truth } = await small;
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
    expect((await answers(store))['gone']).toBe(truth['gone']);
  });
});
