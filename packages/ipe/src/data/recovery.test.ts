import { cp, mkdtemp, readdir, readFile, rm, stat, truncate, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isIpeError } from '@ipe/core';
import { dataFamilies } from '@ipe/core/replica';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openMark, openRocksKv } from '../stores/index.ts';
import { DataNode } from '../testkit/data-node.ts';

/**
 * What a node finds when its files were left as a power cut, a careless hand or a bad disk leaves them. Directories are
 * copied while the store is open: what is in the copy is what had reached the files.
 */
let root = '';
let count = 0;
const puts = 12;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ipe-recovery-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function openAt(directory: string): Promise<DataNode> {
  const mark = await openMark(join(directory, 'mark'), { syncIntervalMs: 1 });
  const kv = await openRocksKv({ directory: join(directory, 'data'), families: dataFamilies }).catch(async (error) => {
    await mark.close();
    throw error;
  });
  return await DataNode.open({ openKv: async () => kv, mark }).catch(async (error) => {
    await kv.close();
    await mark.close();
    throw error;
  });
}

/** A copy of a store with `puts` acknowledged writes, taken while it was open. */
async function leftBehind(): Promise<string> {
  const source = join(root, `source-${++count}`);
  const node = await openAt(source);
  for (let i = 0; i < puts; i++) await node.call('put', { key: `data.k${i}`, value: { n: i, pad: 'x'.repeat(50) } });
  const left = join(root, `left-${count}`);
  await markReaches(join(source, 'mark'), puts);
  await cp(source, left, { recursive: true });
  await node.close();
  await unlink(join(left, 'data', 'LOCK')).catch(() => {});
  return left;
}

/** The mark is written behind the commit; here it is waited for. */
async function markReaches(path: string, commit: number): Promise<void> {
  for (;;) {
    const bytes = await readFile(path);
    const numbers = [0, 32].filter((at) => bytes.length >= at + 24).map((at) => Number(bytes.readBigUInt64BE(at + 16)));
    if (Math.max(...numbers) >= commit) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function walFiles(directory: string): Promise<string[]> {
  const names = (await readdir(join(directory, 'data'))).filter((name) => name.endsWith('.log'));
  const files = await Promise.all(
    names.map(async (name) => ({
      path: join(directory, 'data', name),
      size: (await stat(join(directory, 'data', name))).size,
    })),
  );
  return files.filter(({ size }) => size > 0).map(({ path }) => path);
}

async function valuesOf(node: DataNode): Promise<unknown[]> {
  const keys = Array.from({ length: puts }, (_, i) => `data.k${i}`);
  const { entries } = await node.call('batch-get', { keys });
  return entries.map((entry: { value: { n: number } } | null) => entry?.value.n);
}

test('what was acknowledged is there when the process dies without closing', async () => {
  const left = await leftBehind();
  const node = await openAt(left);
  expect(await valuesOf(node)).toEqual(Array.from({ length: puts }, (_, i) => i));
  expect((await node.call('put', { key: 'data.k0', value: 1 })).version).toBe(2);
  await node.close();
});

test('a write-ahead log that was shortened anywhere is reported with what is missing', async () => {
  const left = await leftBehind();
  const [wal] = await walFiles(left);
  const { size } = await stat(wal!);
  for (const part of [0.2, 0.5, 0.8, 0.99]) {
    const copy = `${left}-${part}`;
    await cp(left, copy, { recursive: true });
    await truncate((await walFiles(copy))[0]!, Math.floor(size * part));
    const error = await openAt(copy).then(
      async (node) => void (await node.close()),
      (failure: unknown) => failure,
    );
    expect(isIpeError(error) && error.reason, `at ${part}`).toBe('corrupt');
    if (isIpeError(error)) expect(error.details).toMatchObject({ store: 'fact store', expected: puts });
  }
});

test('a write-ahead log that is gone is reported', async () => {
  const left = await leftBehind();
  for (const wal of await walFiles(left)) await unlink(wal);
  await expect(openAt(left)).rejects.toMatchObject({ reason: 'corrupt' });
});

test('a flipped bit anywhere in the write-ahead log is reported or harmless: never a wrong value', async () => {
  const left = await leftBehind();
  const bytes = await readFile((await walFiles(left))[0]!);
  for (let i = 0; i < 24; i++) {
    const at = Math.floor((bytes.length * i) / 24);
    const copy = `${left}-flip-${at}`;
    await cp(left, copy, { recursive: true });
    const damaged = Buffer.from(bytes);
    damaged[at]! ^= 0x10;
    await writeFile((await walFiles(copy))[0]!, damaged);
    const opened = await openAt(copy).catch((error: unknown) => error);
    if (opened instanceof DataNode) {
      expect(await valuesOf(opened)).toEqual(Array.from({ length: puts }, (_, n) => n));
      await opened.close();
    } else expect(isIpeError(opened), String(opened)).toBe(true);
    await rm(copy, { recursive: true });
  }
});

test('a loss that was accepted by removing the mark leaves a node that works under a new epoch', async () => {
  const left = await leftBehind();
  const [wal] = await walFiles(left);
  await truncate(wal!, Math.floor((await stat(wal!)).size / 2));
  await unlink(join(left, 'mark'));
  const node = await openAt(left);
  const values = await valuesOf(node);
  const kept = values.filter((value) => value !== undefined).length;
  expect(values).toEqual(Array.from({ length: puts }, (_, i) => (i < kept ? i : undefined)));
  expect((await node.call('put', { key: 'data.new', value: 1 })).version).toBe(1);
  await node.close();
});

test('a row that does not decode is named on every read and write of its key, and others go on', async () => {
  const node = await DataNode.open();
  await node.call('put', { key: 'data.bad', value: 1 });
  await node.call('put', { key: 'data.good', value: 2 });
  const row = (await node.engine.kv.get('live', Buffer.from('data.bad')))!;
  await node.engine.kv.write([
    { type: 'put', family: 'live', key: Buffer.from('data.bad'), value: row.subarray(0, 5) },
  ]);
  await node.engine.kv.sync();
  await node.restart();
  expect((await node.refused('get', { key: 'data.bad' })).reason).toBe('corrupt');
  expect((await node.refused('put', { key: 'data.bad', value: 3 })).reason).toBe('corrupt');
  const { entries, complete, damaged } = await node.call('query', { pattern: 'data.*' });
  expect([entries.length, complete, damaged[0].key]).toEqual([1, false, 'data.bad']);
  expect((await node.call('get', { key: 'data.good' })).value).toBe(2);
  await node.close();
});

test('under `wal` states that came in without records are synced like everything else', async () => {
  const other = await DataNode.open({ origin: 'ffeeddccbbaa0099', seed: 5 });
  await other.call('put', { key: 'data.a', value: 1 });
  const { state } = await other.engine.get('data.a');
  const node = await DataNode.open({ durability: 'wal' });
  await node.engine.joinStates('data', [{ key: 'data.a', state: state! }]);
  await node.engine.housekeep();
  await node.crash();
  expect((await node.call('get', { key: 'data.a' })).value).toBe(1);
  await Promise.all([node.close(), other.close()]);
});

test('an instance that begins anew with an empty store writes as one that started later', async () => {
  const first = await DataNode.open({ rng: () => 0.999 });
  const anew = await DataNode.open({ rng: () => 0, now: () => first.nowMs + 3_600_000 });
  expect(anew.engine.replica.source.epoch).toBeGreaterThan(first.engine.replica.source.epoch);
  await anew.close();
  await first.close();
});
