import { IpeError } from '@ipe/core';
import { dataFamilies } from '@ipe/core/replica';
import { openMemoryKv } from '@ipe/core/store';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Caller } from '../api/method.ts';
import { DataNode, type Json, TestSession } from '../testkit/data-node.ts';

const caller: Caller = { kind: 'service', tokenId: 't1', name: 'deploy', namespaces: ['approvals', 'other', 'counts'] };

let node: DataNode;
const call = (method: string, params: unknown): Promise<Json> => node.call(method, params, { caller });
const refused = (method: string, params: unknown) => node.refused(method, params, { caller });

beforeEach(async () => {
  node = await DataNode.open();
});
afterEach(() => node.close());

describe('put, get and delete', () => {
  test('a value written is read with its version, etag and times', async () => {
    const put = await call('put', { key: 'approvals.d1', value: { by: ['alice'] } });
    expect(put).toMatchObject({ key: 'approvals.d1', version: 1, updated_at: 1_700_000_000 });
    expect(await call('get', { key: 'approvals.d1' })).toEqual({
      key: 'approvals.d1',
      value: { by: ['alice'] },
      version: 1,
      etag: put.etag,
      created_at: 1_700_000_000,
      updated_at: 1_700_000_000,
    });
  });

  test('an absent key reads as null, and versions go on from a deletion', async () => {
    expect(await call('get', { key: 'approvals.none' })).toBeNull();
    await call('put', { key: 'approvals.d1', value: 1 });
    const deleted = await call('delete', { key: 'approvals.d1' });
    expect(deleted).toMatchObject({ key: 'approvals.d1', version: 2, tombstone: true, deleted_at: 1_700_000_000 });
    expect(await call('get', { key: 'approvals.d1' })).toBeNull();
    expect((await call('put', { key: 'approvals.d1', value: 2 })).version).toBe(3);
  });

  test('deleting nothing still succeeds', async () => {
    expect(await call('delete', { key: 'approvals.none' })).toMatchObject({ version: 1, tombstone: true });
  });

  test('null is a value, and bytes come back as they were', async () => {
    await call('put', { key: 'approvals.null', value: null });
    expect(await call('get', { key: 'approvals.null' })).toMatchObject({ value: null });
    await call('put', { key: 'approvals.bytes', value_base64: 'AAECAw==' });
    expect(await call('get', { key: 'approvals.bytes' })).toMatchObject({ value_base64: 'AAECAw==' });
  });

  test('conditions see writes that are not durable yet', async () => {
    const first = call('put', { key: 'approvals.d1', value: 1, if_version: 0 });
    const second = refused('put', { key: 'approvals.d1', value: 2, if_version: 0 });
    expect((await first).version).toBe(1);
    const conflict = await second;
    expect(conflict.reason).toBe('conflict');
    expect(conflict.details).toMatchObject({ key: 'approvals.d1', current: { version: 1, value: 1 } });
  });

  test('if_match takes the etag that was read, and no other', async () => {
    const { etag } = await call('put', { key: 'approvals.d1', value: 1 });
    expect((await refused('put', { key: 'approvals.d1', value: 2, if_match: 'other' })).reason).toBe('conflict');
    expect((await call('put', { key: 'approvals.d1', value: 2, if_match: etag })).version).toBe(2);
    expect((await refused('delete', { key: 'approvals.d1', if_match: etag })).reason).toBe('conflict');
  });

  test('a value lives as long as its ttl, and a put without one clears it', async () => {
    await call('put', { key: 'approvals.d1', value: 1, ttl: 10 });
    expect((await call('get', { key: 'approvals.d1' })).expires_at).toBe(1_700_000_010);
    node.nowMs += 9_999;
    expect(await call('get', { key: 'approvals.d1' })).not.toBeNull();
    node.nowMs += 1;
    expect(await call('get', { key: 'approvals.d1' })).toBeNull();
    node.nowMs -= 5_000;
    expect(await call('get', { key: 'approvals.d1' }), 'the clock of readers never goes back').toBeNull();
    await call('put', { key: 'approvals.d1', value: 2 });
    expect(await call('get', { key: 'approvals.d1' })).not.toHaveProperty('expires_at');
  });

  test('a retry under the same request_id answers the same and writes nothing', async () => {
    const put = { key: 'approvals.d1', value: 1, request_id: 'r1' };
    const [first, racing] = await Promise.all([call('put', put), call('put', put)]);
    expect(racing).toEqual(first);
    await node.restart();
    expect(await call('put', put)).toEqual(first);
    expect((await call('get', { key: 'approvals.d1' })).version).toBe(1);
    expect((await refused('put', { ...put, value: 2 })).details).toMatchObject({ field: 'request_id' });
    node.nowMs += 600_001;
    await node.engine.housekeep();
    expect((await call('put', put)).version).toBe(2);
  });
});

describe('batches', () => {
  test('entries of a batch stand alone and keep their order', async () => {
    const { results } = await call('batch-put', {
      entries: [
        { key: 'approvals.a', value: 1 },
        { key: 'bad key', value: 1 },
        { key: 'secret.a', value: 1 },
        { key: 'approvals.b', value: 2, if_version: 7 },
        { key: 'approvals.c', value: 3 },
      ],
    });
    expect(results.map((each: Json) => each.version ?? each.error.data.reason)).toEqual([
      1,
      'invalid_params',
      'forbidden',
      'conflict',
      1,
    ]);
    expect(results[1].error.data.field).toBe('entries[1].key');
    const { entries } = await call('batch-get', { keys: ['approvals.c', 'approvals.b', 'approvals.a'] });
    expect(entries.map((entry: Json) => entry?.value ?? null)).toEqual([3, null, 1]);
  });
});

describe('what a caller may not do', () => {
  test.each([
    ['get', { key: 'secret.a' }, 'forbidden'],
    ['put', { key: '_sys.tokens.a', value: 1 }, 'forbidden'],
    ['get', { key: '_sys.tokens.a' }, 'forbidden'],
    ['put', { key: 'approvals', value: 1 }, 'invalid_params'],
    ['put', { key: 'approvals..a', value: 1 }, 'invalid_params'],
    ['put', { key: 'approvals.a b', value: 1 }, 'invalid_params'],
    ['put', { key: 'approvals.a*', value: 1 }, 'invalid_params'],
    ['put', { key: 'Approvals.a', value: 1 }, 'invalid_params'],
    ['put', { key: 'approvals.\ud800', value: 1 }, 'invalid_params'],
    ['put', { key: `approvals.${'é'.repeat(252)}`, value: 1 }, 'invalid_params'],
    ['put', { key: 'approvals.a' }, 'invalid_params'],
    ['put', { key: 'approvals.a', value: 1, ttl: 0 }, 'invalid_params'],
    ['put', { key: 'approvals.a', value: 1, tll: 5 }, 'invalid_params'],
    ['put', { key: 'approvals.a', value: 'x'.repeat(1024 * 1024) }, 'too_large'],
    ['put', { key: 'approvals.a', value: 1, ack: 'peers:1' }, 'unavailable'],
    ['put', { key: 'counts.a', value: 1 }, 'invalid_params'],
    ['get', { key: 'approvals.a', fresh_as_of: 'yesterday' }, 'invalid_params'],
    [
      'transaction',
      {
        operations: [
          { op: 'put', key: 'approvals.a', value: 1 },
          { op: 'delete', key: 'other.a' },
        ],
      },
      'invalid_params',
    ],
  ])('%s %j is %s and changes nothing', async (method, params, reason) => {
    expect((await refused(method, params)).reason).toBe(reason);
    expect(node.engine.replica.appliedCommit).toBe(0);
  });
});

describe('transactions', () => {
  test('all operations apply together, the later ones seeing the earlier', async () => {
    const { results, version } = await call('transaction', {
      operations: [
        { op: 'put', key: 'approvals.a', value: 1 },
        { op: 'put', key: 'approvals.a', value: 2, if_version: 1 },
        { op: 'delete', key: 'approvals.b' },
      ],
    });
    expect(results.map((each: Json) => each.version)).toEqual([1, 2, 1]);
    expect(version).toBe(2);
    expect((await call('get', { key: 'approvals.a' })).value).toBe(2);
    expect(node.engine.replica.appliedCommit).toBe(1);
  });

  test('one failed condition and nothing is applied', async () => {
    await call('put', { key: 'approvals.b', value: 0 });
    const error = await refused('transaction', {
      operations: [
        { op: 'put', key: 'approvals.a', value: 1 },
        { op: 'put', key: 'approvals.b', value: 1, if_version: 0 },
      ],
    });
    expect(error.reason).toBe('conflict');
    expect(error.details).toMatchObject({ key: 'approvals.b', current: { value: 0 } });
    expect(await call('get', { key: 'approvals.a' })).toBeNull();
  });
});

test('a put says whether it created its key, also when it is repeated, and in a batch or transaction', async () => {
  const put = { key: 'approvals.a', value: 1, request_id: 'r1' };
  expect((await call('put', put)).created).toBe(true);
  expect(await call('put', { key: 'approvals.a', value: 2 })).not.toHaveProperty('created');
  expect((await call('put', put)).created).toBe(true);
  await node.restart();
  expect((await call('put', put)).created).toBe(true);
  await call('delete', { key: 'approvals.a' });
  expect((await call('put', { key: 'approvals.a', value: 3, ttl: 5 })).created).toBe(true);
  node.nowMs += 5_000;
  const entries = [
    { key: 'approvals.a', value: 4 },
    { key: 'approvals.a', value: 5 },
  ];
  const created = ({ results }: Json) => results.map((result: Json) => result.created);
  expect(created(await call('batch-put', { entries }))).toEqual([true, undefined]);
  const operations = ['approvals.b', 'approvals.a', 'approvals.b'].map((key) => ({ op: 'put', key, value: 1 }));
  expect(created(await call('transaction', { operations }))).toEqual([true, undefined, undefined]);
});

describe('the store', () => {
  test('what was acknowledged is there after a crash, and what was not is told to its writer', async () => {
    await call('put', { key: 'approvals.a', value: 1 });
    await node.crash();
    expect((await call('get', { key: 'approvals.a' })).value).toBe(1);
  });

  test('a full disk refuses writes, keeps reads going, and writes go on once there is room', async () => {
    await call('put', { key: 'approvals.a', value: 1 });
    node.disk.full = true;
    const [first, second] = await Promise.all([
      refused('put', { key: 'approvals.a', value: 2 }),
      refused('put', { key: 'approvals.a', value: 3, if_version: 2 }),
    ]);
    expect([first.reason, second.reason]).toEqual(['unavailable', 'unavailable']);
    expect((await call('get', { key: 'approvals.a' })).value).toBe(1);
    expect(node.service.missing()).toHaveLength(1);
    const before = node.engine.replica.source;
    node.disk.full = false;
    await node.engine.housekeep();
    expect(node.service.missing()).toEqual([]);
    expect((await call('put', { key: 'approvals.a', value: 4 })).version).toBe(2);
    expect(node.engine.replica.source).not.toBe(before);
  });

  test('that fails in the middle of a large batch fails the entries that it did not take, and those alone', async () => {
    let writes = 0;
    const kv = new Proxy(openMemoryKv({ families: dataFamilies }), {
      get: (target, name) => {
        if (name === 'write' && ++writes === 2)
          return async () => {
            throw new IpeError('unavailable', 'no room');
          };
        const member = Reflect.get(target, name);
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
    const failing = await DataNode.open({ openKv: async () => kv });
    const entries = Array.from({ length: 2_000 }, (_, i) => ({ key: `approvals.k${i}`, value: i }));
    const { results } = await failing.call('batch-put', { entries });
    expect(results.map(({ error }: Json) => error?.data.reason)).toEqual([
      ...Array(1_000).fill(undefined),
      ...Array(1_000).fill('unavailable'),
    ]);
    expect((await failing.call('get', { key: 'approvals.k999' })).value).toBe(999);
    expect(await failing.call('get', { key: 'approvals.k1000' })).toBeNull();
    expect((await failing.refused('batch-put', { entries })).reason).toBe('unavailable');
    await failing.close();
  });

  describe('that runs out of room while it syncs', () => {
    beforeEach(async () => {
      await call('put', { key: 'approvals.a', value: 1 });
      node.disk.fullAtSync = true;
      const error = await refused('put', { key: 'approvals.a', value: 2, request_id: 'r1' });
      expect([error.reason, error.state]).toEqual(['unavailable', 'unknown']);
      await node.engine.housekeep();
      expect(node.service.missing()).toHaveLength(1);
      expect((await call('get', { key: 'approvals.a' })).value).toBe(1);
    });

    test('goes on from what it holds once there is room: a write that is there after all is seen and told', async () => {
      const session = new TestSession();
      await node.call('subscribe', { pattern: 'approvals.*' }, { session });
      node.disk.fullAtSync = false;
      node.disk.keptAtRecovery = 1;
      await node.engine.housekeep();
      expect(node.service.missing()).toEqual([]);
      expect(await call('get', { key: 'approvals.a' })).toMatchObject({ value: 2, version: 2 });
      expect((await session.received(1))[0]).toMatchObject({ type: 'update', value: 2, version: 2 });
      const again = await call('put', { key: 'approvals.a', value: 2, request_id: 'r1' });
      expect(again.version).toBe(2);
      expect((await call('put', { key: 'approvals.a', value: 3, if_version: 2 })).version).toBe(3);
      expect((await call('stats', {})).entries).toBe(1);
      await node.crash();
      expect((await call('get', { key: 'approvals.a' })).value).toBe(3);
      session.end();
    });

    test('goes on without a write that is not there, under another epoch', async () => {
      const before = node.engine.replica.source;
      node.disk.fullAtSync = false;
      await node.engine.housekeep();
      expect(node.service.missing()).toEqual([]);
      expect(await call('get', { key: 'approvals.a' })).toMatchObject({ value: 1, version: 1 });
      expect(await call('put', { key: 'approvals.a', value: 2, request_id: 'r1' })).toMatchObject({ version: 2 });
      expect(node.engine.replica.source).not.toBe(before);
      await node.crash();
      expect((await call('get', { key: 'approvals.a' })).value).toBe(2);
    });
  });

  test('a store that lost what readers have seen is not written to again', async () => {
    const written = await DataNode.open({ durability: 'wal' });
    await written.call('put', { key: 'approvals.a', value: 1 });
    written.disk.fullAtSync = true;
    await expect(written.engine.housekeep()).rejects.toMatchObject({ reason: 'unavailable' });
    expect(written.service.missing()).toHaveLength(1);
    written.disk.fullAtSync = false;
    for (let round = 0; round < 2; round++) {
      await written.engine.housekeep();
      expect(written.service.missing()).toEqual([expect.stringContaining('lost commits 1 to 1')]);
    }
    expect((await written.refused('put', { key: 'approvals.b', value: 1 })).reason).toBe('unavailable');
    await written.close();
  });

  test('a failed sync fences writes until the store is opened again', async () => {
    node.disk.failNextSync = true;
    const error = await refused('put', { key: 'approvals.a', value: 1 });
    expect([error.reason, error.state]).toEqual(['unavailable', 'unknown']);
    await node.engine.housekeep();
    expect((await refused('put', { key: 'approvals.b', value: 1 })).reason).toBe('unavailable');
    expect(await call('get', { key: 'approvals.b' })).toBeNull();
  });
});
