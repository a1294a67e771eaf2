import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isIpeError } from '@ipe/core';
import { dataFamilies } from '@ipe/core/replica';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openEngine } from '../src/data/index.ts';
import { openMark, openRocksKv } from '../src/stores/index.ts';

// A release runs this with IPE_KILLS=1000.
const kills = Number(process.env['IPE_KILLS'] ?? 3);
const writer = new URL('./fixtures/fact-writer.mjs', import.meta.url).pathname;
let root = '';
let directory = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ipe-facts-'));
  directory = join(root, 'node');
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** What a killed writer had said: the highest number acknowledged for each key, and how far its logs were synced. */
interface Said {
  readonly acknowledged: Map<string, number>;
  synced: Record<string, number>;
}

async function write(
  said: Said,
  durability: 'fsync' | 'wal',
  { puts, killAfterLines }: { puts?: number; killAfterLines?: number },
): Promise<void> {
  const args = [writer, directory, durability, ...(puts === undefined ? [] : [String(puts)])];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let lines = 0;
  for await (const line of createInterface(child.stdout)) {
    const [kind, rest = '', number] = line.split(' ');
    if (kind === 'a') said.acknowledged.set(rest, Math.max(said.acknowledged.get(rest) ?? 0, Number(number)));
    if (kind === 's') said.synced = JSON.parse(line.slice(2)) as Record<string, number>;
    if (kind === 'f' || kind === 'open') continue;
    if (kind === 'done' || ++lines === killAfterLines) child.kill('SIGKILL');
  }
  expect(await exited).toEqual([null, 'SIGKILL']);
}

const nothingSaid = (): Said => ({ acknowledged: new Map(), synced: {} });

/**
 * Opens the facts of a directory and reads every key that a writer touched.
 * @returns the number in each key; every value must be exactly what the put of that number wrote
 */
async function readBack(path: string, keys: Iterable<string>): Promise<Map<string, number>> {
  const kv = await openRocksKv({ directory: join(path, 'store'), families: dataFamilies });
  const mark = await openMark(join(path, 'mark'));
  try {
    const engine = await openEngine({
      kv,
      mark,
      origin: '0123456789abcdef',
      durability: 'fsync',
      settingsOf: () => ({ strategy: { kind: 'lww' }, historyVersions: 3, historyAgeMs: 86_400_000 }),
      batchWritesMax: 100,
      flushIntervalMs: 5,
      tombstoneGraceMs: 86_400_000,
      logBytesMax: 1 << 30,
      cacheBytesMax: 1 << 20,
      now: Date.now,
      rng: () => randomInt(2 ** 47) / 2 ** 47,
      housekeepingIntervalMs: 0,
    });
    const found = new Map<string, number>();
    for (const key of keys) {
      const value = (await engine.get(key)).value as { number: number; filler: string } | undefined;
      if (value === undefined) continue;
      expect(value.filler, `value of ${key}`).toBe('x'.repeat(value.number % 300));
      found.set(key, value.number);
    }
    await engine.close();
    return found;
  } finally {
    await mark.close();
    await kv.close();
  }
}

async function expectAllOf(said: Said, path: string): Promise<void> {
  const found = await readBack(path, said.acknowledged.keys());
  for (const [key, number] of said.acknowledged)
    expect(found.get(key) ?? 0, `number in ${key}`).toBeGreaterThanOrEqual(number);
}

/** A damaged directory either opens with all that was acknowledged, or says that it is damaged. */
async function expectAllOrReport(said: Said, path: string): Promise<'whole' | 'reported'> {
  try {
    await expectAllOf(said, path);
    return 'whole';
  } catch (error) {
    if (isIpeError(error) && error.reason === 'corrupt') return 'reported';
    throw error;
  }
}

const logsIn = async (path: string) => (await readdir(path)).filter((name) => /^\d+\.log$/.test(name)).sort();

/** A writer that has loaded everything and waits to be let at a directory. */
function hold(path: string, durability: string): { go(): AsyncIterable<string>; kill(): Promise<void> } {
  const child = spawn(process.execPath, [writer, path, durability], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, HELD: '1' },
  });
  const exited = once(child, 'exit');
  return {
    go: () => {
      child.stdin.write('\n');
      return createInterface(child.stdout);
    },
    kill: async () => {
      child.kill('SIGKILL');
      expect(await exited).toEqual([null, 'SIGKILL']);
    },
  };
}

// Both at once: each waits for the disk and for processes to start more than it computes.
test.concurrent.each(['fsync', 'wal'] as const)(
  `with \`durability = "%s"\` no acknowledged write is lost when the process is killed at any moment (${kills} times)`,
  { timeout: 60_000 * (kills + 1) },
  async (durability) => {
    const path = await mkdtemp(join(tmpdir(), 'ipe-kills-'));
    const acknowledged = new Map<string, number>();
    const startedMs = performance.now();
    let next = hold(path, durability);
    for (let round = 0; round <= kills; round++) {
      const current = next;
      if (round < kills) next = hold(path, durability);
      const found = new Map<string, number>();
      const linesMax = 30 + ((round * 7919) % 700);
      let lines = 0;
      for await (const line of current.go()) {
        const [kind, key = '', number = ''] = line.split(' ');
        if (kind === 'f') found.set(key, Number(number));
        else if (kind === 'open') {
          for (const [acked, least] of acknowledged)
            expect(found.get(acked) ?? 0, `${acked} after kill ${round}`).toBeGreaterThanOrEqual(least);
          expect([...found.values()], 'values that no put wrote').not.toContain(Number.NaN);
          if (round === kills) await current.kill();
        } else if (kind === 'a') acknowledged.set(key, Math.max(acknowledged.get(key) ?? 0, Number(number)));
        if (kind === 'a' && ++lines === linesMax) await current.kill();
      }
      if (kills >= 100 && round > 0 && round % 50 === 0)
        console.log(`${durability}: ${round} kills, ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
    }
    expect(acknowledged.size).toBe(58);
    await rm(path, { recursive: true, force: true });
  },
);

test('no acknowledged write is lost when the disk loses everything that was not synced', async () => {
  for (let round = 0; round < 4; round++) {
    const said = nothingSaid();
    await rm(directory, { recursive: true, force: true });
    await write(said, 'fsync', { killAfterLines: 50 + 400 * round });
    const store = join(directory, 'store');
    for (const name of await logsIn(store)) {
      const size = said.synced[name];
      if (size === undefined) await rm(join(store, name));
      else await truncate(join(store, name), size);
    }
    await expectAllOf(said, directory);
  }
});

test('a log that was cut short, anywhere, is reported where something acknowledged was in it', async () => {
  const said = nothingSaid();
  await write(said, 'fsync', { puts: 120 });
  const [name] = (await logsIn(join(directory, 'store'))).slice(-1);
  const size = said.synced[name!]!;
  const outcomes: string[] = [];
  for (let i = 0; i < 12; i++) {
    const copy = join(root, `cut-${i}`);
    await cp(directory, copy, { recursive: true });
    await truncate(join(copy, 'store', name!), Math.floor((size * i) / 12));
    outcomes.push(await expectAllOrReport(said, copy));
  }
  expect(outcomes).toEqual(Array(12).fill('reported'));
});

test('a log that is gone is reported', async () => {
  const said = nothingSaid();
  await write(said, 'fsync', { puts: 60 });
  for (const name of await logsIn(join(directory, 'store'))) await rm(join(directory, 'store', name));
  await expect(readBack(directory, [])).rejects.toMatchObject({
    reason: 'corrupt',
    message: expect.stringMatching(/commit\(s\) are missing/),
  });
});

test('a bit flipped anywhere in the logs is reported, or nothing acknowledged is missing and no value is wrong', async () => {
  const said = nothingSaid();
  await write(said, 'fsync', { puts: 150 });
  const logs = await logsIn(join(directory, 'store'));
  const contents = await Promise.all(logs.map((name) => readFile(join(directory, 'store', name))));
  const outcomes = { whole: 0, reported: 0 };
  let n = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.nat(), fc.nat(7), async (file, position, bit) => {
      const name = logs[file % logs.length]!;
      const flipped = Buffer.from(contents[file % logs.length]!);
      if (flipped.length === 0) return;
      flipped[position % flipped.length]! ^= 1 << bit;
      const copy = join(root, `flip-${n++}`);
      await cp(directory, copy, { recursive: true });
      await writeFile(join(copy, 'store', name), flipped);
      outcomes[await expectAllOrReport(said, copy)]++;
      await rm(copy, { recursive: true });
    }),
    { seed: 11, numRuns: 40, endOnFailure: true },
  );
  expect(outcomes.reported).toBeGreaterThan(20);
});

test('a bit flipped anywhere in the tables is reported by the read that meets it, and no value is wrong', async () => {
  const said = nothingSaid();
  await write(said, 'fsync', { puts: 400 });
  const clean = await openRocksKv({ directory: join(directory, 'store'), families: dataFamilies });
  for (const family of dataFamilies) await clean.compact(family);
  await clean.close();
  const tables = (await readdir(join(directory, 'store'))).filter((name) => name.endsWith('.sst')).sort();
  expect(tables.length).toBeGreaterThan(2);
  let n = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.nat(), fc.nat(7), async (file, position, bit) => {
      const copy = join(root, `table-${n++}`);
      await cp(directory, copy, { recursive: true });
      const path = join(copy, 'store', tables[file % tables.length]!);
      const flipped = await readFile(path);
      flipped[position % flipped.length]! ^= 1 << bit;
      await writeFile(path, flipped);
      await expectAllOrReport(said, copy);
      await rm(copy, { recursive: true });
    }),
    { seed: 12, numRuns: 40, endOnFailure: true },
  );
});
