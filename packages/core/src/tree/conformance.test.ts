import { describe, test } from 'vitest';
import { codec, primitives } from '../../test/node-runtime.ts';
import { createMemoryDisk, type MemoryDisk, openMemoryKv } from '../store/index.ts';
import { runTreeConformance, type TreeConformanceOptions } from '../testkit/tree.ts';
import { policyFamilies } from './index.ts';

const runtime: TreeConformanceOptions['runtime'] = { primitives, codec };

describe.each([
  ['through the cache', {}, {}],
  [
    'without the cache',
    { cacheBytes: 0 },
    { 'a directory takes 10,000 entries and refuses one more': 'slow, and run through the cache' },
  ],
])('a policy store in memory, %s:', (_, options, skip) => {
  let disk: MemoryDisk;
  runTreeConformance({
    test,
    runtime,
    options,
    skip,
    open: async () => {
      disk = createMemoryDisk();
      return openMemoryKv({ families: policyFamilies, disk });
    },
    reopen: async () => openMemoryKv({ families: policyFamilies, disk }),
  });
});
