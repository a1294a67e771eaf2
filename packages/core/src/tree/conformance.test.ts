import { createHash } from 'node:crypto';
import { deflateSync, inflateSync } from 'node:zlib';
import { describe, test } from 'vitest';
import { createMemoryDisk, type MemoryDisk, openMemoryKv } from '../store/index.ts';
import { runTreeConformance, type TreeConformanceOptions } from '../testkit/tree.ts';
import { policyFamilies } from './index.ts';

const runtime: TreeConformanceOptions['runtime'] = {
  primitives: {
    sha256: (data) => new Uint8Array(createHash('sha256').update(data).digest()),
    utf8Encode: (text) => new TextEncoder().encode(text),
    utf8Decode: (bytes) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
  },
  codec: {
    deflate: (bytes) => new Uint8Array(deflateSync(bytes)),
    inflate: (bytes, maxBytes) => new Uint8Array(inflateSync(bytes, { maxOutputLength: maxBytes })),
  },
};

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
