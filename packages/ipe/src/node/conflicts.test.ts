import { dataFamilies, type ParkedWrite, parkedKey } from '@ipe/core/replica';
import { openMemoryKv } from '@ipe/core/store';
import { afterEach, expect, test } from 'vitest';
import type { CallContext } from '../api/method.ts';
import { type Engine, openEngine, settingsFrom } from '../data/index.ts';
import { alarmsOf } from './alarms.ts';
import { conflictHandlers } from './conflicts.ts';

let engine: Engine | undefined;
afterEach(async () => {
  await engine?.close();
  engine = undefined;
});

async function withParked(...writes: ParkedWrite[]) {
  engine = await openEngine({
    kv: openMemoryKv({ families: dataFamilies }),
    origin: '00112233445566aa',
    durability: 'fsync',
    settingsOf: settingsFrom({
      conflict_strategy: 'lww',
      history_versions: 1,
      history_age: 0,
      namespaces: { counts: { conflict_strategy: 'counter' }, groups: { conflict_strategy: 'set' } },
    }),
    batchWritesMax: 10,
    flushIntervalMs: 0,
    tombstoneGraceMs: 0,
    logBytesMax: 1 << 20,
    cacheBytesMax: 1 << 20,
    now: () => 1_700_000_000_000,
    rng: () => 0.5,
    housekeepingIntervalMs: 0,
  });
  for (const write of writes) await engine.put(parkedKey(write.id), write);
  const handlers = conflictHandlers(engine, undefined);
  const context = { caller: { tokenId: 'admin', kind: 'admin', name: 'admin' } } as CallContext;
  return {
    engine,
    call: async (name: string, params: Record<string, unknown> = {}) =>
      (await handlers[name]!(params, context)) as Record<string, never>,
  };
}

const parked = (id: string, rest: Pick<ParkedWrite, 'key' | 'op'> & Partial<ParkedWrite>): ParkedWrite => ({
  id,
  writtenMs: 1_600_000_000_000,
  expiresMs: 0,
  ...rest,
});

test('parked writes are listed, and each is released as what it was, or discarded', async () => {
  const { engine: facts, call } = await withParked(
    parked('a:1', { key: 'users.a', op: 'put', json: '{"x":1}' }),
    parked('a:2', { key: 'counts.c', op: 'add', amount: 7, windowMs: 0 }),
    parked('a:3', { key: 'groups.g', op: 'set-add', members: ['"m"'] }),
    parked('a:4', { key: 'users.b', op: 'put', json: '2' }),
  );
  const before = await call('conflicts');
  expect(before['parked']).toMatchObject([
    { id: 'a:1', key: 'users.a', value: { x: 1 }, written_at: 1_600_000_000 },
    { id: 'a:2', amount: 7 },
    { id: 'a:3', members: ['m'] },
    { id: 'a:4', value: 2 },
  ]);
  expect((await call('conflicts', { namespace: 'counts' }))['parked']).toHaveLength(1);
  expect((await facts.get('users.a')).view).toBeUndefined();
  for (const id of ['a:1', 'a:2', 'a:3']) await call('conflict-release', { id });
  await call('conflict-discard', { id: 'a:4' });
  expect((await facts.get('users.a')).value).toEqual({ x: 1 });
  expect((await facts.get('counts.c')).value).toBe(7);
  expect((await facts.get('groups.g')).value).toEqual(['m']);
  expect((await facts.get('users.b')).view).toBeUndefined();
  expect((await call('conflicts'))['parked']).toEqual([]);
});

test('a parked write whose value has expired is not released, and stays listed', async () => {
  const { call } = await withParked(parked('a:1', { key: 'users.a', op: 'put', json: '1', expiresMs: 1 }));
  await expect(call('conflict-release', { id: 'a:1' })).rejects.toMatchObject({ reason: 'conflict' });
  expect((await call('conflicts'))['parked']).toHaveLength(1);
});

test('what is neither parked nor held back is not found', async () => {
  const { call } = await withParked();
  for (const name of ['conflict-release', 'conflict-discard'])
    await expect(call(name, { id: 'x' })).rejects.toMatchObject({ reason: 'not_found' });
});

test('alarms tell of what does not mend by itself, and of nothing else', () => {
  const calm = { clockAheadMs: 12, heldBack: 0, mismatched: [], repair: undefined } as const;
  const { repair: _, ...withoutRepair } = calm;
  expect(alarmsOf(withoutRepair, { lapsed: [], waitsFor: null }, 'active')).toEqual([]);
  const loud = alarmsOf(
    { clockAheadMs: -900, heldBack: 3, mismatched: ['users'] },
    { lapsed: ['b'], waitsFor: 'the cluster key' },
    'evicted',
  );
  expect(loud.map(({ alarm }) => alarm)).toEqual(['evicted', 'lease', 'skew', 'quarantine', 'strategy']);
  expect(loud[2]!.message).toBe("the clock is 900 ms behind its peers'");
});
