import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kvTestFamilies, runKvConformance } from '@ipe/core/testkit';
import { test } from 'vitest';
import { openRocksKv } from './rocksdb.ts';

const families = kvTestFamilies;
let directory = '';

runKvConformance({
  test,
  open: async () => {
    directory = await mkdtemp(join(tmpdir(), 'ipe-kv-'));
    return openRocksKv({ directory, families });
  },
  reopen: () => openRocksKv({ directory, families }),
  destroy: () => rm(directory, { recursive: true, force: true }),
});
