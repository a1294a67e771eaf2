import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Kv, type KvRange, openMemoryKv } from '@ipe/core/store';
import { kvTestFamilies, runKvConformance } from '@ipe/core/testkit';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openRocksKv } from '../rocksdb/index.ts';
import { dataLayouts } from './data-layouts.ts';
import { Keyring, readMasterKey } from './keyring.ts';
import type { KeyLayout } from './layout.ts';
import { type SealedKv, sealKv } from './sealed.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ipe-sealed-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const master = randomBytes(32);
const ringPath = () => join(directory, 'KEYRING');
const openRing = async () => (await Keyring.open(ringPath(), master)) ?? (await Keyring.create(ringPath(), master));

/** One layout of each kind: hidden whole, clear bytes in front, clear suffix behind. */
const layouts: Record<'alpha' | 'beta' | 'gamma', KeyLayout> = {
  alpha: { clearBytes: 0, hasSuffix: () => false },
  beta: { clearBytes: 1, hasSuffix: () => false },
  gamma: { clearBytes: 0, hasSuffix: () => true },
};
const families = kvTestFamilies;

describe('a sealed store in memory', () => {
  runKvConformance({
    test,
    open: async () => sealKv({ inner: openMemoryKv({ families }), keyring: await openRing(), layouts }),
  });
});

describe('a sealed store on disk', () => {
  const open = async () =>
    sealKv({
      inner: await openRocksKv({ directory: join(directory, 'store'), families }),
      keyring: await openRing(),
      layouts,
    });
  runKvConformance({ test, open, reopen: open });
});

const dataFamilies = ['live', 'versions', 'log', 'commits', 'expiry', 'metadata'] as const;
type DataFamily = (typeof dataFamilies)[number];
const text = (value: string) => new Uint8Array(Buffer.from(value));

async function openData(): Promise<SealedKv<DataFamily>> {
  const inner = await openRocksKv({ directory: join(directory, 'store'), families: dataFamilies });
  return sealKv({ inner, keyring: await openRing(), layouts: dataLayouts });
}

async function keysOf(kv: Kv<DataFamily>, family: DataFamily, range?: KvRange): Promise<string[]> {
  const keys: string[] = [];
  for await (const [key] of kv.entries(family, range)) keys.push(Buffer.from(key).toString('latin1'));
  return keys;
}

const rows = (names: readonly string[]) =>
  names.flatMap((name, i) =>
    [
      ['live', name],
      ['versions', `${name}\0\0${String.fromCharCode(i % 8)}`],
      ['log', `${name.split('.')[0]}\0origin--epoch-${String(i).padStart(6, '0')}`],
      ['commits', String(i).padStart(6, '0')],
      ['expiry', `${String(i % 10).padStart(6, '0')}${name}`],
      ['metadata', `nspace-${name.split('.')[0]}`],
      ['metadata', `qrequest-${name}\0zz`],
      ['metadata', `v${name.split('.')[0]}\0origin--epoch-`],
    ].map(
      ([family, key]) =>
        ({ type: 'put', family: family as DataFamily, key: text(key!), value: text(`value of ${name}`) }) as const,
    ),
  );
const names = Array.from({ length: 60 }, (_, i) => `approvals${i % 3}.deploy-${i % 7}.secret-${i}`);

test('any range in either order agrees with the same store unsealed', async () => {
  const sealed = sealKv({
    inner: openMemoryKv({ families: dataFamilies }),
    keyring: await openRing(),
    layouts: dataLayouts,
  });
  const plain = openMemoryKv({ families: dataFamilies });
  await sealed.write(rows(names));
  await plain.write(rows(names));
  const all = Object.fromEntries(
    await Promise.all(dataFamilies.map(async (family) => [family, await keysOf(plain, family)] as const)),
  ) as Record<DataFamily, string[]>;
  const cut = fc.tuple(fc.nat(), fc.nat(), fc.constantFrom('', '\0', '.', '/', '\x01'));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...dataFamilies),
      fc.option(cut, { nil: undefined }),
      fc.option(cut, { nil: undefined }),
      fc.boolean(),
      fc.option(fc.nat(20), { nil: undefined }),
      async (family, low, high, reverse, limit) => {
        const bound = ([row, length, tail]: [number, number, string]) => {
          const key = all[family][row % all[family].length]!;
          return new Uint8Array(Buffer.from(key.slice(0, length % (key.length + 1)) + tail, 'latin1'));
        };
        const range: KvRange = {
          ...(low && { gte: bound(low) }),
          ...(high && { lt: bound(high) }),
          ...(limit !== undefined && { limit }),
          reverse,
        };
        expect(await keysOf(sealed, family, range)).toEqual(await keysOf(plain, family, range));
      },
    ),
    { seed: 3, numRuns: 1500 },
  );
});

test('pages in store order hold every entry of a prefix once', async () => {
  const kv = await openData();
  await kv.write(rows(names));
  const prefixes = ['approvals1.', 'approvals1.deploy-1', 'approvals', 'approvals2.deploy-3.', 'none.'];
  for (const prefix of prefixes) {
    const found: string[] = [];
    const lt = text(prefix);
    lt[lt.length - 1]!++;
    for (let after: Uint8Array | undefined; ; ) {
      const range: KvRange = { gte: text(prefix), lt, limit: 4, order: 'store', ...(after && { gt: after }) };
      const page = await keysOf(kv, 'live', range);
      found.push(...page);
      if (page.length < 4) break;
      after = text(page.at(-1)!);
    }
    expect(found.toSorted()).toEqual(names.filter((name) => name.startsWith(prefix)).toSorted());
  }
  await kv.close();
});

test('no key and no value stands in clear in any file of the store', async () => {
  const kv = await openData();
  await kv.write(rows(names));
  await kv.sync();
  await kv.compact('live');
  await kv.write(rows(names.map((name) => `${name}-again`)));
  await kv.sync();
  const search = async () => {
    const secrets = ['approvals', 'deploy-', 'secret-', 'space-', 'request-', 'value of'];
    const files = await readdir(join(directory, 'store'));
    const contents = await Promise.all(files.map((name) => readFile(join(directory, 'store', name))));
    return files.flatMap((name, i) =>
      secrets.filter((secret) => contents[i]!.includes(secret)).map((secret) => `${name}: ${secret}`),
    );
  };
  expect(await search()).toEqual([]);
  await kv.close();
  expect(await search()).toEqual([]);
  // The search finds what an unsealed store writes.
  const plain = await openRocksKv({ directory: join(directory, 'store'), families: dataFamilies });
  await plain.write([{ type: 'put', family: 'live', key: text('approvals1.x'), value: text('value of x') }]);
  await plain.close();
  expect((await search()).length).toBeGreaterThan(0);
});

test('a row that was changed, cut, moved or sealed by an unknown key is corrupt, never absent or wrong', async () => {
  const inner = openMemoryKv({ families: dataFamilies });
  const kv = sealKv({ inner, keyring: await openRing(), layouts: dataLayouts });
  await kv.write([
    { type: 'put', family: 'live', key: text('a.b'), value: text('one') },
    { type: 'put', family: 'live', key: text('a.c'), value: text('two') },
  ]);
  const stored: (readonly [Uint8Array, Uint8Array])[] = [];
  for await (const entry of inner.entries('live')) stored.push(entry);
  const damage = async (key: Uint8Array, value: Uint8Array) => {
    await inner.write([{ type: 'put', family: 'live', key, value }]);
    const answers = await Promise.allSettled([kv.get('live', text('a.b')), kv.get('live', text('a.c'))]);
    await inner.write(stored.map(([key, value]) => ({ type: 'put', family: 'live', key, value })));
    return answers
      .filter(({ status }) => status === 'rejected')
      .map((answer) => (answer as PromiseRejectedResult).reason);
  };
  const [key, value] = stored[0]!;
  for (let i = 0; i < value.length; i++) {
    const flipped = Uint8Array.from(value);
    flipped[i]! ^= 1 << (i % 8);
    expect(await damage(key, flipped)).toEqual([expect.objectContaining({ reason: 'corrupt' })]);
    expect(await damage(key, value.slice(0, i))).toEqual([expect.objectContaining({ reason: 'corrupt' })]);
  }
  expect(await damage(key, stored[1]![1])).toEqual([expect.objectContaining({ reason: 'corrupt' })]);
  expect(await damage(key, value)).toEqual([]);
});

test('the wrong master key is refused before anything is read, and rewrapping changes which one is right', async () => {
  const kv = await openData();
  await kv.write(rows(names.slice(0, 3)));
  const next = randomBytes(32);
  await expect(Keyring.open(ringPath(), next)).rejects.toMatchObject({ reason: 'unavailable' });
  await kv.rewrap(next);
  await kv.close();
  await expect(Keyring.open(ringPath(), master)).rejects.toMatchObject({ reason: 'unavailable' });
  const again = sealKv({
    inner: await openRocksKv({ directory: join(directory, 'store'), families: dataFamilies }),
    keyring: (await Keyring.open(ringPath(), next))!,
    layouts: dataLayouts,
  });
  expect(await keysOf(again, 'live')).toEqual(names.slice(0, 3).toSorted());
  await again.close();
  await writeFile(ringPath(), '{"format": 1}');
  await expect(Keyring.open(ringPath(), next)).rejects.toMatchObject({ reason: 'corrupt' });
});

test('a key file is 32 bytes as hexadecimal or base64 text, and anything else is refused by name', async () => {
  const path = join(directory, 'data.key');
  for (const form of ['hex', 'base64', 'base64url'] as const) {
    await writeFile(path, `${master.toString(form)}\n`);
    expect(Buffer.from(await readMasterKey(path))).toEqual(master);
  }
  for (const bad of ['', 'short', `${master.toString('hex')}00`]) {
    await writeFile(path, bad);
    await expect(readMasterKey(path)).rejects.toMatchObject({ reason: 'unavailable', message: /data\.key/ });
  }
  await expect(readMasterKey(join(directory, 'none'))).rejects.toMatchObject({ reason: 'unavailable' });
});

test('resealing changes the key of every row while writes go on, and nothing is lost or brought back', async () => {
  const kv = await openData();
  const many = Array.from({ length: 900 }, (_, i) => `approvals.id-${i}`);
  const put = (name: string, value: string) =>
    ({ type: 'put', family: 'live', key: text(name), value: text(value) }) as const;
  await kv.write(many.map((name) => put(name, 'old')));
  const before = kv.snapshot();
  const batches: number[] = [];
  let writes = Promise.resolve();
  const done = await kv.reseal({
    onProgress: ({ rows }) => {
      batches.push(rows);
      // Writers hit rows the walk has passed and rows it is about to read.
      const i = batches.length * 97;
      writes = kv.write([
        put(many[i % 900]!, 'new'),
        { type: 'delete', family: 'live', key: text(many[(i + 450) % 900]!) },
      ]);
    },
  });
  await writes;
  expect(done).toMatchObject({ done: true, familiesDone: 6, families: 6 });
  expect(batches.length).toBeGreaterThan(4);
  expect(kv.resealing).toBeUndefined();
  expect(await before.get('live', text(many[7]!))).toEqual(text('old'));
  const expected = new Map(many.map((name) => [name, 'old']));
  for (let n = 1; n <= batches.length; n++) {
    expected.set(many[(n * 97) % 900]!, 'new');
    expected.delete(many[(n * 97 + 450) % 900]!);
  }
  await kv.close();

  const ring = await openRing();
  expect(ring.current.id).toBe(2);
  expect(ring.find(1)).toBeUndefined();
  const again = await openData();
  const found = new Map<string, string>();
  for await (const [key, value] of again.entries('live'))
    found.set(Buffer.from(key).toString(), Buffer.from(value).toString());
  expect([...found].sort()).toEqual([...expected].sort());
  await again.close();
});

test('a reseal cut short goes on where it was after a restart', async () => {
  const kv = await openData();
  await kv.write(rows(Array.from({ length: 700 }, (_, i) => `approvals.id-${i}`)));
  const stop = new AbortController();
  const partial = await kv.reseal({ onProgress: ({ rows }) => rows > 0 && stop.abort(), signal: stop.signal });
  expect(partial).toMatchObject({ done: false, rows: 256, family: 'live' });
  await kv.close();
  const again = await openData();
  expect(again.resealing).toMatchObject({ rows: 256 });
  const seen: number[] = [];
  const done = await again.reseal({ onProgress: ({ rows }) => seen.push(rows) });
  expect(seen.slice(0, 2)).toEqual([256, 512]);
  expect(done).toMatchObject({ done: true });
  expect((await keysOf(again, 'live')).length).toBe(700);
  await again.close();
  expect((await openRing()).current.id).toBe(2);
});
