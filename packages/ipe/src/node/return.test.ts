import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';
import { type DataFamily, dataFamilies, type ParkedWrite, parkedKey } from '@ipe/core/replica';
import { createMemoryDisk, type Kv, openMemoryKv } from '@ipe/core/store';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Engine, openEngine, settingsFrom } from '../data/index.ts';
import { type OfferOptions, offerAgain } from './return.ts';

const nowMs = 1_700_000_000_000;
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ipe-return-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const open = (kv: Kv<DataFamily>, draw: number, housekeepingIntervalMs = 0): Promise<Engine> =>
  openEngine({
    kv,
    origin: '00112233445566aa',
    durability: 'fsync',
    settingsOf: settingsFrom({ conflict_strategy: 'lww', history_versions: 1, history_age: 0, namespaces: {} }),
    batchWritesMax: 1,
    flushIntervalMs: 0,
    tombstoneGraceMs: 0,
    logBytesMax: 1 << 20,
    cacheBytesMax: 1 << 20,
    now: () => nowMs,
    rng: () => draw,
    housekeepingIntervalMs,
  });

/** Leaves behind what preparing a return does: the records of an old store in a file, and the store moved away. */
async function setAside(missing: number): Promise<void> {
  const kv = openMemoryKv({ families: dataFamilies });
  const old = await open(kv, 0.1);
  for (const name of ['a', 'b', 'c']) await old.put(`users.${name}`, name);
  await old.delete('users.gone');
  const records: string[] = [];
  for await (const [, row] of kv.entries('log')) records.push(Buffer.from(row).toString('base64'));
  await old.close();
  await writeFile(join(root, 'return.json'), JSON.stringify({ closed: {}, records, counted: [], missing }));
  await mkdir(join(root, 'data.evicted'));
}

interface Logged {
  readonly level: string;
  readonly fields: unknown;
}

/** Offers until it is done or failed. @returns what was logged */
function offered(engine: Engine, purgedMs: number): Promise<Logged> {
  return new Promise((resolve) => {
    const stop = offering(engine, purgedMs, (logged) => {
      stop();
      resolve(logged);
    });
  });
}

/** Offers until it is stopped. @returns how to stop */
function offering(
  engine: Engine,
  purgedMs: number,
  onLog: (logged: Logged) => void,
  hasRegained = () => true,
): () => void {
  const tell = (level: string) => (fields: unknown) => onLog({ level, fields });
  return offerAgain({
    root,
    dataFolder: join(root, 'data'),
    engine,
    replication: {
      isSettled: true,
      get hasRegained() {
        return hasRegained();
      },
      purgedMs: () => purgedMs,
    },
    log: { info: tell('info'), warn: () => {}, error: tell('error') } as unknown as OfferOptions['log'],
    now: () => nowMs,
    retryMs: 1,
  });
}

/** A store that takes no writes until there is room. */
function fullKv(kv: Kv<DataFamily>): { readonly kv: Kv<DataFamily>; makeRoom(): void } {
  let isFull = true;
  const failing = new Proxy(kv, {
    get(target, name) {
      if (name === 'write' && isFull)
        return () => Promise.reject(new IpeError('unavailable', 'the disk is full', { state: 'unchanged' }));
      const value = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return {
    kv: failing,
    makeRoom: () => {
      isFull = false;
    },
  };
}

const parkedIn = async (engine: Engine) => {
  const keys: string[] = [];
  for await (const [key] of engine.kv.entries('live')) keys.push(Buffer.from(key).toString());
  const cells = await engine.getMany(keys.filter((key) => key.startsWith(parkedKey(''))));
  return [...cells.values()].map((cell) => (cell.value as ParkedWrite).key).sort();
};

test('what was set aside stays until all of it is offered or parked, durably, whatever fails on the way', async () => {
  const disk = createMemoryDisk();
  await setAside(0);
  const full = fullKv(openMemoryKv({ families: dataFamilies, disk }));
  const first = await open(full.kv, 0.2);
  expect(await offered(first, nowMs + 1)).toMatchObject({ level: 'error' });
  expect((await readdir(root)).sort()).toEqual(['data.evicted', 'return.json']);
  expect(await parkedIn(first)).toEqual([]);
  full.makeRoom();
  await first.close();

  const second = await open(openMemoryKv({ families: dataFamilies, disk }), 0.3);
  expect(await offered(second, nowMs + 1)).toEqual({ level: 'info', fields: { applied: 1, superseded: 0, parked: 3 } });
  expect(await readdir(root)).toEqual([]);
  expect(await parkedIn(second)).toEqual(['users.a', 'users.b', 'users.c']);
  await second.close();
});

test('what could not be offered is offered without a restart once it can be', async () => {
  await setAside(0);
  const full = fullKv(openMemoryKv({ families: dataFamilies }));
  // Housekeeping finds out that there is room.
  const engine = await open(full.kv, 0.2, 5);
  const logged = await new Promise<Logged>((resolve) => {
    const stop = offering(engine, nowMs + 1, (each) => {
      if (each.level === 'error') return full.makeRoom();
      stop();
      resolve(each);
    });
  });
  expect(logged).toEqual({ level: 'info', fields: { applied: 1, superseded: 0, parked: 3 } });
  expect(await readdir(root)).toEqual([]);
  await engine.close();
});

test('an old store is kept where its log no longer told all of what it alone had', async () => {
  await setAside(2);
  const engine = await open(openMemoryKv({ families: dataFamilies }), 0.2);
  expect(await offered(engine, 0)).toEqual({ level: 'info', fields: { applied: 4, superseded: 0, parked: 0 } });
  expect(await readdir(root)).toEqual([`data.evicted-${nowMs}`]);
  expect((await engine.get('users.b')).value).toBe('b');
  await engine.close();
});

test('nothing is offered before what counts of what was written here is here again', async () => {
  await setAside(0);
  const engine = await open(openMemoryKv({ families: dataFamilies }), 0.2);
  let looks = 0;
  const before: unknown[] = [];
  const logged = await new Promise<Logged>((resolve) => {
    const stop = offering(
      engine,
      0,
      (each) => {
        stop();
        resolve(each);
      },
      () => {
        before.push(engine.replica.headsOf('users').size);
        return ++looks === 3;
      },
    );
  });
  expect(logged).toEqual({ level: 'info', fields: { applied: 4, superseded: 0, parked: 0 } });
  expect(before).toEqual([0, 0, 0]);
  expect((await engine.get('users.b')).value).toBe('b');
  await engine.close();
});
