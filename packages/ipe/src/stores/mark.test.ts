import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { assertReaches, openMark } from './mark.ts';

let directory = '';
let path = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ipe-mark-'));
  path = join(directory, 'below', 'data.mark');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function setTo(...numbers: number[]): Promise<void> {
  const mark = await openMark(path);
  for (const number of numbers) mark.advance(number);
  await mark.close();
}

async function found(): Promise<number | undefined> {
  const mark = await openMark(path);
  await mark.close();
  return mark.found;
}

test('a mark is absent at first and then the highest number it was advanced to', async () => {
  expect(await found()).toBeUndefined();
  await setTo(3, 7, 5);
  expect(await found()).toBe(7);
  await setTo(6);
  expect(await found()).toBe(7);
  await setTo(...Array.from({ length: 1000 }, (_, i) => 8 + i), 2 ** 53 - 1);
  expect(await found()).toBe(2 ** 53 - 1);
});

test('numbers that come soon after a write are joined, and the newest of them is written before long', async () => {
  const mark = await openMark(path, { writeIntervalMs: 200 });
  const written = async () => {
    const file = await readFile(path);
    const slots = [0, 32].map((at) => file.subarray(at, at + 32)).filter(({ length }) => length === 32);
    const turns = slots.map((slot) => Number(slot.readBigUInt64BE(8)));
    return { writes: Math.max(0, ...turns), number: Math.max(0, ...slots.map((s) => Number(s.readBigUInt64BE(16)))) };
  };
  const startedMs = performance.now();
  mark.advance(1);
  await expect.poll(written).toEqual({ writes: 1, number: 1 });
  for (let number = 2; number <= 50; number++) {
    mark.advance(number);
    await new Promise<void>((resolve) => {
      setTimeout(resolve, 1);
    });
  }
  await expect.poll(written).toMatchObject({ number: 50 });
  expect((await written()).writes).toBeLessThanOrEqual(2 + (performance.now() - startedMs) / 200);
  await mark.close();
});

test('a mark that was reset goes down and stays down', async () => {
  await setTo(100);
  const mark = await openMark(path);
  await mark.reset(4);
  await mark.close();
  expect(await found()).toBe(4);
});

test('a torn slot leaves the number before it', async () => {
  await setTo(1);
  await setTo(2);
  const whole = await readFile(path);
  const newest = (await found()) === 2 && whole.readBigUInt64BE(16) === 2n ? 0 : 32;
  for (let cut = 0; cut < 32; cut++) {
    const torn = Buffer.from(whole);
    torn[newest + cut]! ^= 1;
    await writeFile(path, torn);
    expect(await found()).toBe(cut < 28 ? 1 : 2); // the last four bytes of a slot are padding
  }
});

test('a mark with both slots damaged is refused by name, an unfinished first one is absent', async () => {
  await setTo(1);
  await setTo(2);
  await writeFile(path, Buffer.alloc(64, 7));
  await expect(openMark(path)).rejects.toMatchObject({ reason: 'corrupt', message: expect.stringContaining(path) });
  await truncate(path, 10);
  expect(await found()).toBeUndefined();
});

test('a store that ends below its mark is reported with what is missing', async () => {
  expect(() => assertReaches({ found: 9, path }, 9, 'data store')).not.toThrow();
  expect(() => assertReaches({ found: 9, path }, 12, 'data store')).not.toThrow();
  expect(() => assertReaches({ found: undefined, path }, 0, 'data store')).not.toThrow();
  expect(() => assertReaches({ found: 9, path }, 4, 'data store')).toThrow(
    expect.objectContaining({ reason: 'corrupt', details: { store: 'data store', last: 4, expected: 9, missing: 5 } }),
  );
});
