import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { strangeRecordAt } from './manifest.ts';
import { openRocksKv } from './rocksdb.ts';

test('a manifest one of whose records seems to be of a recycled log is damaged: the store says so instead of opening for ever', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ipe-manifest-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const open = () => openRocksKv({ directory, families: ['one', 'two', 'three'] });
  const store = await open();
  await store.write([{ type: 'put', family: 'one', key: Uint8Array.of(1), value: Uint8Array.of(2) }]);
  await store.close();
  expect(await strangeRecordAt(directory)).toBeUndefined();

  const path = join(directory, (await readdir(directory)).find((name) => name.startsWith('MANIFEST-'))!);
  const bytes = await readFile(path);
  const records: number[] = [];
  for (let at = 0; at < bytes.length; at += 7 + bytes.readUInt16LE(at + 4)) records.push(at);
  expect(records.length).toBeGreaterThan(3);
  for (const at of records) {
    const flipped = Buffer.from(bytes);
    flipped[at + 6]! ^= 4;
    await writeFile(path, flipped);
    expect(await strangeRecordAt(directory)).toBe(at);
    await expect(open()).rejects.toMatchObject({ reason: 'corrupt', message: expect.stringContaining(`byte ${at};`) });
  }

  await writeFile(path, bytes);
  const whole = await open();
  expect(await whole.get('one', Uint8Array.of(1))).toEqual(Uint8Array.of(2));
  await whole.close();
});
