import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Kv } from '@ipe/core/store';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openMark } from './mark.ts';
import { openMarkedKv } from './marked.ts';
import { openRocksKv } from './rocksdb/index.ts';

const families = ['rows', 'metadata'] as const;
let root = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ipe-marked-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

function open(): Promise<Kv<(typeof families)[number]>> {
  return openMarkedKv({
    open: () => openRocksKv({ directory: join(root, 'store'), families }),
    markPath: join(root, 'mark'),
    family: 'metadata',
    name: 'policy store',
  });
}

const put = (n: number) => [{ type: 'put', family: 'rows', key: Uint8Array.of(n), value: Uint8Array.of(n) } as const];

test('a store whose last batches are gone is refused, and one that was only not synced is not', async () => {
  const kv = await open();
  for (let n = 1; n <= 5; n++) await kv.write(put(n));
  await kv.sync();
  // As a power cut leaves it: the log as far as it was synced. The mark is never ahead of that.
  const store = join(root, 'store');
  const copy = join(root, 'copy');
  await cp(store, copy, { recursive: true });
  await kv.write(put(6));
  await kv.close();
  await rm(store, { recursive: true });
  await cp(copy, store, { recursive: true });
  await (await open()).close();

  await rm(store, { recursive: true });
  await cp(copy, store, { recursive: true });
  for (const name of await readdir(store)) if (name.endsWith('.log')) await rm(join(store, name));
  await expect(open()).rejects.toMatchObject({
    reason: 'corrupt',
    message: expect.stringContaining('the policy store ends at commit 0'),
    details: { last: 0, missing: 5 },
  });
});

test('the count survives restarts and goes on where it was', async () => {
  for (let round = 0; round < 3; round++) {
    const kv = await open();
    await kv.write([]);
    await Promise.all([kv.write(put(1)), kv.write(put(2))]);
    await kv.sync();
    await kv.close();
  }
  const mark = await openMark(join(root, 'mark'));
  await mark.close();
  expect(mark.found).toBe(6);
});
