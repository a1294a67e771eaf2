import { afterEach, expect, test } from 'vitest';
import { kvTestFamilies, runKvConformance } from '../testkit/kv.ts';
import { createMemoryDisk, type MemoryDisk, openMemoryKv } from './memory.ts';

const families = kvTestFamilies;
let disk: MemoryDisk;
afterEach(() => {
  disk = createMemoryDisk();
});
disk = createMemoryDisk();

runKvConformance({
  test,
  open: async () => openMemoryKv({ families, disk }),
  reopen: async () => openMemoryKv({ families, disk }),
});

const put = (n: number) => ({ type: 'put', family: 'alpha', key: Uint8Array.of(n), value: Uint8Array.of(n) }) as const;
async function keysAfterReopen(): Promise<number[]> {
  const kv = openMemoryKv({ families, disk });
  const keys: number[] = [];
  for await (const [key] of kv.entries('alpha')) keys.push(key[0]!);
  await kv.close();
  return keys;
}

test('a crash loses what was not synced, from the newest batch backwards', async () => {
  const kv = openMemoryKv({ families, disk });
  await kv.write([put(1)]);
  await kv.sync();
  for (const n of [2, 3, 4]) await kv.write([put(n)]);
  expect(disk.crash(2)).toBe(3);
  await expect(kv.get('alpha', Uint8Array.of(1))).rejects.toMatchObject({ reason: 'unavailable' });
  expect(await keysAfterReopen()).toEqual([1, 2, 3]);
});

test('a full disk refuses a batch whole and keeps reads going', async () => {
  const kv = openMemoryKv({ families, disk });
  await kv.write([put(1)]);
  disk.full = true;
  await expect(kv.write([put(2)])).rejects.toMatchObject({ reason: 'unavailable', state: 'unchanged' });
  expect(await kv.get('alpha', Uint8Array.of(1))).toEqual(Uint8Array.of(1));
  expect(await kv.get('alpha', Uint8Array.of(2))).toBeUndefined();
  await kv.close();
});

test('a failed sync fences writes until the store is opened again', async () => {
  const kv = openMemoryKv({ families, disk });
  await kv.write([put(1)]);
  disk.failNextSync = true;
  await expect(kv.sync()).rejects.toMatchObject({ reason: 'unavailable', state: 'unknown' });
  await expect(kv.write([put(2)])).rejects.toMatchObject({ reason: 'unavailable', state: 'unchanged' });
  expect(await kv.get('alpha', Uint8Array.of(1))).toEqual(Uint8Array.of(1));
  await kv.close();
  expect(await keysAfterReopen()).toEqual([]);
});
