import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runTreeConformance } from '@ipe/core/testkit';
import { policyFamilies } from '@ipe/core/tree';
import { describe, test } from 'vitest';
import { openRocksKv } from '../stores/rocksdb/index.ts';
import { nodePrimitives, zlibCodec } from './index.ts';

describe.each([
  ['through the cache', {}, {}],
  [
    'without the cache',
    { cacheBytes: 0 },
    { 'a directory takes 10,000 entries and refuses one more': 'slow, and run through the cache' },
  ],
])('a policy store on RocksDB, %s:', (_, options, skip) => {
  let directory = '';
  runTreeConformance({
    test,
    runtime: { primitives: nodePrimitives, codec: zlibCodec },
    options,
    skip,
    open: async () => {
      directory = await mkdtemp(join(tmpdir(), 'ipe-policies-'));
      return openRocksKv({ directory, families: policyFamilies });
    },
    reopen: () => openRocksKv({ directory, families: policyFamilies }),
    destroy: () => rm(directory, { recursive: true, force: true }),
  });
});
