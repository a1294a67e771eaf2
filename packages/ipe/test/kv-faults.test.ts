import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Kv } from '@ipe/core/store';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openRocksKv } from '../src/stores/rocksdb/index.ts';

const families = ['alpha', 'beta', 'gamma'] as const;
const writer = new URL('./fixtures/kv-writer.mjs', import.meta.url).pathname;
let root = '';
let directory = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ipe-faults-'));
  directory = join(root, 'store');
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** Runs the writer until `stop` says so for a printed line, then kills it. The last number it had made durable. */
async function writeUntil(stop: (line: string) => boolean, args: string[] = []): Promise<number> {
  const child = spawn(process.execPath, [writer, directory, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let durable = 0;
  for await (const line of createInterface(child.stdout)) {
    if (line !== 'done') durable = Number(line);
    if (stop(line)) child.kill('SIGKILL');
  }
  await exited;
  return durable;
}

async function contents(kv: Kv<(typeof families)[number]>): Promise<number[][]> {
  return Promise.all(
    families.map(async (family) => {
      const numbers: number[] = [];
      for await (const [key, value] of kv.entries(family)) {
        const number = Buffer.from(key).readUInt32BE();
        expect(Buffer.compare(value, Buffer.alloc(700, number & 255)), `value of ${number}`).toBe(0);
        numbers.push(number);
      }
      return numbers;
    }),
  );
}

/** The numbers in the store, which every family must agree on and which must have no holes. */
async function wholeUpTo(path: string): Promise<number> {
  const kv = await openRocksKv({ directory: path, families });
  try {
    const [alpha, beta, gamma] = await contents(kv);
    expect(beta).toEqual(alpha);
    expect(gamma).toEqual(alpha);
    expect(alpha).toEqual(alpha!.map((_, i) => i + 1));
    return alpha!.length;
  } finally {
    await kv.close();
  }
}

async function newestLog(path: string): Promise<string> {
  const logs = (await readdir(path)).filter((name) => /^\d+\.log$/.test(name)).sort();
  return join(path, logs.at(-1)!);
}

test('a writer killed at any moment leaves families equal and every synced batch in place', async () => {
  let seen = 0;
  for (let round = 0; round < 6; round++) {
    let lines = 0;
    const durable = await writeUntil(() => ++lines >= 20 + 37 * round);
    const kept = await wholeUpTo(directory);
    expect(kept).toBeGreaterThanOrEqual(durable);
    expect(kept).toBeGreaterThan(seen);
    seen = kept;
  }
});

test('a log torn at any place opens with whole batches only', async () => {
  const durable = await writeUntil((line) => line === 'done', ['40']);
  expect(durable).toBe(40);
  const log = await readFile(await newestLog(directory));
  const used = log.findLastIndex((byte) => byte !== 0) + 1;
  for (let i = 0; i < 12; i++) {
    const copy = join(root, `torn-${i}`);
    await cp(directory, copy, { recursive: true });
    const length = Math.floor((used * (i + 1)) / 13);
    await truncate(await newestLog(copy), length);
    const kept = await wholeUpTo(copy);
    expect(kept).toBe(Math.max(0, Math.floor((40 * length) / used - 0.0001)));
  }
});

test('a bit flipped inside the log is reported and never passed over', async () => {
  await writeUntil((line) => line === 'done', ['40']);
  const log = await readFile(await newestLog(directory));
  const used = log.findLastIndex((byte) => byte !== 0) + 1;
  for (let i = 0; i < 12; i++) {
    const copy = join(root, `flipped-${i}`);
    await cp(directory, copy, { recursive: true });
    const flipped = Buffer.from(log);
    flipped[Math.floor((used * (i + 0.5)) / 14)]! ^= 1 << (i % 8);
    await writeFile(await newestLog(copy), flipped);
    await expect(openRocksKv({ directory: copy, families })).rejects.toMatchObject({
      reason: 'corrupt',
      message: expect.stringContaining(copy),
    });
  }
});

test('a store without its CURRENT file is refused rather than started empty', async () => {
  await writeUntil((line) => line === 'done', ['3']);
  await rm(join(directory, 'CURRENT'));
  await expect(openRocksKv({ directory, families })).rejects.toMatchObject({ reason: 'corrupt' });
  expect(await readdir(directory)).toContain((await newestLog(directory)).split('/').at(-1));
});

test('a directory held by another process is refused with its name and process id', async () => {
  const child = spawn(process.execPath, [writer, directory, '1'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  for await (const line of createInterface(child.stdout)) {
    if (line !== 'done') continue;
    await expect(openRocksKv({ directory, families })).rejects.toMatchObject({
      reason: 'unavailable',
      message: `the store in \`${directory}\` is held by \`writer\`, process ${child.pid}; stop it first`,
    });
    child.kill('SIGKILL');
  }
  await exited;
  expect(await wholeUpTo(directory)).toBe(1);
});

test.skipIf(process.platform === 'win32')('a disk that takes no more fences writes and keeps reads going', async () => {
  // A limit on file size stands in for a full disk: the write fails in the same place.
  const limited = `ulimit -f 128; exec "$0" "$@"`;
  const child = spawn('sh', ['-c', limited, process.execPath, writer, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  let durable = 0;
  let report: unknown;
  for await (const line of createInterface(child.stdout)) {
    if (line.startsWith('{')) report = JSON.parse(line);
    else durable = Number(line);
  }
  expect(await exited).toEqual([0, null]);
  expect(report).toMatchObject({ reason: 'unavailable', readable: 700, again: 'unavailable' });
  expect(report).toMatchObject({ message: expect.stringContaining('no space is left') });
  expect(await wholeUpTo(directory)).toBe(durable);
});
