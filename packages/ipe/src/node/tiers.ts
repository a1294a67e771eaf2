import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { LruCounters } from '@ipe/core/tree';

/** What a cache holds and how it fares, as `status` tells it: bytes, and an age in seconds. */
export function describeCache(counters: LruCounters): Readonly<Record<string, number>> {
  const { entries, bytes, maxBytes, maxAgeMs, hits, misses, evictions } = counters;
  return { entries, bytes, max_bytes: maxBytes, max_age: maxAgeMs / 1000, hits, misses, evictions };
}

/** Bytes of the files in a store's directory. Files that go meanwhile do not count. */
export async function storedBytes(directory: string): Promise<number> {
  const names = await readdir(directory).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(directory, name)).then(
        (file) => (file.isFile() ? file.size : 0),
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
