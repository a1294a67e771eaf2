import { dataFamilies } from '@ipe/core/replica';
import { openMemoryKv } from '@ipe/core/store';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Engine, openEngine, settingsFrom } from '../data/index.ts';
import { startJsonMirror } from './json-mirror.ts';

const origin = '00112233445566aa';
let engine: Engine;
let sent: { namespace: string; [field: string]: unknown }[];
let errors: unknown[];

beforeEach(async () => {
  sent = [];
  errors = [];
  engine = await openEngine({
    kv: openMemoryKv({ families: dataFamilies }),
    origin,
    durability: 'fsync',
    settingsOf: settingsFrom({ conflict_strategy: 'lww', history_versions: 3, history_age: 60_000, namespaces: {} }),
    batchWritesMax: 100,
    flushIntervalMs: 10,
    tombstoneGraceMs: 60_000,
    logBytesMax: 1_000_000,
    cacheBytesMax: 1_000_000,
    now: () => 1_700_000_000_000,
    rng: Math.random,
    housekeepingIntervalMs: 0,
  });
});
afterEach(() => engine.close());

function start(
  mirror = async (namespace: string, json: Uint8Array): Promise<void> => {
    sent.push({ namespace, ...JSON.parse(Buffer.from(json).toString()) });
  },
  as = origin,
) {
  return startJsonMirror({
    onApplied: (listener) => engine.onApplied(listener),
    mirror,
    origin: as,
    instance: 'ipe-a',
    onError: (error) => errors.push(error),
  });
}
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("updates and deletes go out in order, in RFC-005's form", async () => {
  const stop = start();
  await engine.put('approvals.d1', { approvers: ['a'] }, { ttlMs: 60_000 });
  await engine.delete('approvals.d1');
  await settle();
  const common = {
    namespace: 'approvals',
    key: 'approvals.d1',
    source_instance: 'ipe-a',
    timestamp: expect.any(Number),
  };
  expect(sent).toEqual([
    { ...common, type: 'data.update', value: { approvers: ['a'] }, version: 1, expires_at: expect.any(Number) },
    { ...common, type: 'data.delete', version: 2, tombstone: true },
  ]);
  stop();
  await engine.put('approvals.d2', 1);
  await settle();
  expect(sent).toHaveLength(2);
});

test('reserved namespaces and the writes of other instances stay out', async () => {
  start();
  await engine.put('_sys.tokens.x', { secret: true });
  const stop = start(undefined, 'ffffffffffffffff');
  await engine.put('approvals.d1', 1);
  await settle();
  expect(sent).toHaveLength(1);
  stop();
});

test('a broker that refuses is told once, and what comes later goes out again', async () => {
  let isUp = false;
  const refuse = async (namespace: string, json: Uint8Array): Promise<undefined> => {
    if (!isUp) throw new Error('down');
    sent.push({ namespace, ...JSON.parse(Buffer.from(json).toString()) });
  };
  start(refuse);
  await engine.put('approvals.d1', 1);
  await engine.put('approvals.d2', 2);
  await settle();
  isUp = true;
  await engine.put('approvals.d3', 3);
  await settle();
  expect([errors.length, sent.map(({ key }) => key)]).toEqual([1, ['approvals.d3']]);
});
