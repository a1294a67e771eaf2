import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { assertTold, damageCheck, flippedBits, Random, treeFixture } from '@ipe/core/testkit';
import { policyFamilies } from '@ipe/core/tree';
import { expect, test } from 'vitest';
import { openRocksKv } from '../stores/rocksdb/index.ts';
import { nodePrimitives, zlibCodec } from './index.ts';

// A sample; `scripts/check-damage.mjs` flips a bit in every byte of every row and of every file.
const sampleSize = 60;

test('a flipped bit in a sample of the bytes of a store on disk is told, never served, and nothing crashes', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ipe-damage-'));
  const kv = await openRocksKv({ directory, families: policyFamilies });
  try {
    const runtime = { primitives: nodePrimitives, codec: zlibCodec, breathe: () => setImmediate() };
    const check = await damageCheck(treeFixture(runtime), kv);
    const random = new Random(20261122);
    const damages = [...flippedBits(check.rows)];
    for (let i = 0; i < sampleSize; i++) {
      const damage = random.pick(damages);
      assertTold(damage, await check.tryRows(damage.rows));
    }
    expect(await check.tryRows(check.rows)).toEqual({ told: false, refused: false });
  } finally {
    await kv.close();
    await rm(directory, { recursive: true, force: true });
  }
});
