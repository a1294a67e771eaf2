// Facts and engines that benches share.
import { randomInt } from 'node:crypto';
import { dataFamilies } from '@ipe/core/replica';
import { openEngine } from '../../packages/ipe/dist/data/index.js';
import { openRocksKv } from '../../packages/ipe/dist/stores/rocksdb/index.js';

/** Values of 100 bytes of JSON, the size of a rate-limit window or a relationship; keys of 20. */
export const keyOf = (i) => `limits.user-${String(i).padStart(8, '0')}`;
export const factOf = (i) => ({
  user_id: `user-${i}`,
  endpoint: '/api/deployments',
  requests_in_window: i % 1000,
  window: 3600,
});

export const putOf = (i) => ({ op: 'put', namespace: 'limits', key: keyOf(i), json: JSON.stringify(factOf(i)) });
export const requestOf = (writes) => ({ writes, atomic: false, sizeBytes: 200 * writes.length });

/** An engine as a node with the default configuration runs it. */
export async function openFactEngine(b, options = {}) {
  const kv =
    options.kv ?? (await openRocksKv({ directory: options.directory ?? b.directory(), families: dataFamilies }));
  const engine = await openEngine({
    kv,
    origin: '00'.repeat(8),
    durability: 'wal',
    settingsOf: () => ({ strategy: { kind: 'lww' }, historyVersions: 10, historyAgeMs: 86_400_000 }),
    batchWritesMax: 1000,
    flushIntervalMs: 10,
    tombstoneGraceMs: 86_400_000,
    logBytesMax: 1 << 30,
    cacheBytesMax: 64 << 20,
    now: Date.now,
    rng: () => randomInt(2 ** 47) / 2 ** 47,
    ...options,
  });
  return engine;
}

/** Submits and refuses to time what failed. */
export async function submit(engine, writes) {
  const outcome = await engine.submit(requestOf(writes));
  if (!outcome.ok || outcome.results.some(({ ok }) => !ok)) throw new Error(`refused: ${JSON.stringify(outcome)}`);
  return outcome;
}
