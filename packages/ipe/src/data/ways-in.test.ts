import { methods } from '@ipe/client/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DataNode, type Json } from '../testkit/data-node.ts';
import { openTestDoor, type TestDoor } from '../testkit/door.ts';
import { Refused, type WayIn, waysIn } from '../testkit/ways-in.ts';

// What the data plane promises, asked of it from outside, the same by every way in.
let node: DataNode;
let door: TestDoor;
let way: WayIn;
const call = (method: string, params: Json) => way.call(method, params);
const refused = async (method: string, params: Json): Promise<Refused> => {
  try {
    await call(method, params);
  } catch (error) {
    if (error instanceof Refused) return error;
    throw error;
  }
  throw new Error(`\`${method}\` was accepted`);
};
const keysOf = ({ entries }: Json): string[] => entries.map(({ key }: Json) => key);

/** Cases by title, with the methods that each is about, and other things that not every way has a form for. */
const cases: Readonly<Record<string, readonly [methods: readonly string[], body: () => Promise<void>]>> = {
  'a put is read back, replaced and deleted': [
    ['put', 'get', 'delete'],
    async () => {
      const first = await call('put', { key: 'users.alice@example.com', value: { a: [1, null, 'é😀'] } });
      expect(first).toMatchObject({ key: 'users.alice@example.com', version: 1, created: true });
      const second = await call('put', { key: 'users.alice@example.com', value: 2 });
      expect(second).not.toHaveProperty('created');
      expect(await call('get', { key: 'users.alice@example.com' })).toEqual({
        key: 'users.alice@example.com',
        value: 2,
        version: 2,
        etag: second.etag,
        created_at: first.updated_at,
        updated_at: second.updated_at,
      });
      expect(await call('delete', { key: 'users.alice@example.com' })).toMatchObject({ version: 3, tombstone: true });
      expect(await call('get', { key: 'users.alice@example.com' })).toBeNull();
      expect(await call('delete', { key: 'users.nobody' })).toMatchObject({ tombstone: true });
    },
  ],
  'every JSON value and raw bytes come back as they went in': [
    ['put', 'get'],
    async () => {
      for (const value of [null, true, 0, -1.5, 1e21, '', 'x', [], {}, { deep: [[{ a: null }]] }]) {
        await call('put', { key: 'users.v', value });
        expect((await call('get', { key: 'users.v' })).value).toEqual(value);
      }
      const value_base64 = Buffer.from([0, 255, 10, 13]).toString('base64');
      await call('put', { key: 'users.v', value_base64 });
      expect(await call('get', { key: 'users.v' })).toMatchObject({ value_base64 });
    },
  ],
  'conditions on etags and absence hold': [
    ['put', 'delete'],
    async () => {
      const { etag } = await call('put', { key: 'users.a', value: 1, if_version: 0 });
      const again = await refused('put', { key: 'users.a', value: 2, if_version: 0 });
      expect([again.code, again.reason, again.data.state]).toEqual([-32005, 'conflict', 'unchanged']);
      expect(again.data.current).toMatchObject({ value: 1, etag });
      await call('put', { key: 'users.a', value: 2, if_match: etag });
      expect((await refused('put', { key: 'users.a', value: 3, if_match: etag })).reason).toBe('conflict');
      expect((await refused('delete', { key: 'users.a', if_match: etag })).reason).toBe('conflict');
    },
  ],
  'conditions on versions hold': [
    ['put', 'delete', 'a condition on a version'],
    async () => {
      await call('put', { key: 'users.a', value: 1 });
      await call('put', { key: 'users.a', value: 2, if_version: 1 });
      expect((await refused('put', { key: 'users.a', value: 3, if_version: 1 })).data.current.version).toBe(2);
      expect((await refused('delete', { key: 'users.a', if_version: 1 })).reason).toBe('conflict');
      await call('delete', { key: 'users.a', if_version: 2 });
    },
  ],
  'a value lives as long as its ttl': [
    ['put', 'get', 'query'],
    async () => {
      const { updated_at } = await call('put', { key: 'users.a', value: 1, ttl: 5 });
      expect((await call('get', { key: 'users.a' })).expires_at).toBeCloseTo(updated_at + 5, 3);
      node.nowMs += 5_000;
      expect(await call('get', { key: 'users.a' })).toBeNull();
      expect(await call('query', { pattern: 'users.*' })).toEqual({ entries: [], complete: true });
    },
  ],
  'a retry under one request id writes once': [
    ['put', 'get'],
    async () => {
      const put = { key: 'users.a', value: 1, request_id: 'r-1' };
      const first = await call('put', put);
      expect(await call('put', put)).toEqual(first);
      expect((await call('get', { key: 'users.a' })).version).toBe(1);
      expect((await refused('put', { ...put, value: 2 })).reason).toBe('invalid_params');
    },
  ],
  'a query pages through what matches a pattern and a filter': [
    ['put', 'query'],
    async () => {
      for (let i = 0; i < 5; i++) await call('put', { key: `users.team.u${i}`, value: { odd: i % 2 === 1 } });
      await call('put', { key: 'users.other', value: { odd: true } });
      const first = await call('query', { pattern: 'users.team.*', limit: 3 });
      expect([keysOf(first), first.complete]).toEqual([['users.team.u0', 'users.team.u1', 'users.team.u2'], false]);
      const last = await call('query', { pattern: 'users.team.*', limit: 3, cursor: first.cursor });
      expect([keysOf(last), last.complete]).toEqual([['users.team.u3', 'users.team.u4'], true]);
      expect(keysOf(await call('query', { pattern: 'users.*', filter: 'value.odd' })).sort()).toEqual([
        'users.other',
        'users.team.u1',
        'users.team.u3',
      ]);
    },
  ],
  'queries of a held snapshot show the facts as they stood, until it is released': [
    ['put', 'query', 'hold-snapshot', 'release-snapshot'],
    async () => {
      await call('put', { key: 'users.a', value: 1 });
      const { snapshot } = await call('hold-snapshot', {});
      await call('put', { key: 'users.b', value: 2 });
      expect(keysOf(await call('query', { pattern: 'users.*', snapshot }))).toEqual(['users.a']);
      expect(keysOf(await call('query', { pattern: 'users.*' })).sort()).toEqual(['users.a', 'users.b']);
      expect(await call('release-snapshot', { snapshot })).toEqual({});
      expect((await refused('query', { pattern: 'users.*', snapshot })).reason).toBe('not_found');
    },
  ],
  'a read waits for what a token names, or says that it is stale': [
    ['put', 'get'],
    async () => {
      const { token } = await call('put', { key: 'users.a', value: 1 });
      expect((await call('get', { key: 'users.a', fresh_as_of: token })).value).toBe(1);
      const later = token.replace(/~1~/, '~9~');
      expect((await refused('get', { key: 'users.a', fresh_as_of: later })).data).toMatchObject({ stale: true });
      expect((await refused('get', { key: 'users.a', fresh_as_of: 'nonsense' })).reason).toBe('invalid_params');
    },
  ],
  'what is wrong is refused by name and changes nothing': [
    ['put', 'get', 'query'],
    async () => {
      for (const key of ['single', 'Upper.a', 'users..a', 'users.a b', `users.${'x'.repeat(600)}`, '_sys.a'])
        expect((await refused('put', { key, value: 1 })).code, key).toBeGreaterThan(-32700);
      expect((await refused('put', { key: 'users.a', value: 1, ttl: 0 })).data.field).toBe('ttl');
      expect((await refused('query', { pattern: '*' })).data.field).toBe('pattern');
      expect((await refused('query', { pattern: 'users.*', limit: 0 })).data.field).toBe('limit');
      expect((await refused('query', { pattern: 'users.*', cursor: 'x' })).data.field).toBe('cursor');
      expect((await call('query', { pattern: 'users.*' })).entries).toEqual([]);
    },
  ],
  'many puts and gets go in one call, each with its own answer': [
    ['batch-put', 'batch-get'],
    async () => {
      const entries = [
        { key: 'users.a', value: 1 },
        { key: 'nonsense', value: 1 },
        { key: 'users.a', value: 2, if_version: 7 },
        { key: 'users.b', value: 3 },
      ];
      const { results } = await call('batch-put', { entries });
      expect(results.map(({ version, error }: Json) => version ?? error.data.reason)).toEqual([
        1,
        'invalid_params',
        'conflict',
        1,
      ]);
      const { entries: read } = await call('batch-get', { keys: ['users.b', 'users.c', 'users.a'] });
      expect(read.map((entry: Json) => entry?.value)).toEqual([3, undefined, 1]);
    },
  ],
  'a transaction is done whole or not at all': [
    ['transaction', 'batch-get'],
    async () => {
      const operations = [
        { op: 'put', key: 'users.a', value: 1 },
        { op: 'put', key: 'users.b', value: 2 },
      ];
      expect((await call('transaction', { operations })).results).toHaveLength(2);
      const second = [
        { op: 'delete', key: 'users.a' },
        { op: 'put', key: 'users.b', value: 3, if_version: 9 },
      ];
      expect((await refused('transaction', { operations: second })).reason).toBe('conflict');
      const { entries } = await call('batch-get', { keys: ['users.a', 'users.b'] });
      expect(entries.map(({ value }: Json) => value)).toEqual([1, 2]);
      const strangers = [...operations, { op: 'put', key: 'groups.a', value: 1 }];
      expect((await refused('transaction', { operations: strangers })).data.field).toBe('operations[2].key');
    },
  ],
  'history tells what a key held': [
    ['history'],
    async () => {
      for (const value of [1, 2]) await call('put', { key: 'users.a', value });
      await call('delete', { key: 'users.a' });
      const { versions } = await call('history', { key: 'users.a' });
      expect(versions.map(({ value, deleted, version }: Json) => [version, deleted ?? value])).toEqual([
        [3, true],
        [2, 2],
        [1, 1],
      ]);
    },
  ],
  'counters count, in windows too, and sets hold members': [
    ['add', 'set-add', 'set-remove'],
    async () => {
      expect(await call('add', { key: 'counts.a', amount: 2 })).toMatchObject({ key: 'counts.a', value: 2 });
      expect((await call('add', { key: 'counts.a', amount: -5 })).value).toBe(-3);
      expect((await call('add', { key: 'counts.w', amount: 1, window: 10 })).value).toBe(1);
      node.nowMs += 10_000;
      expect((await call('add', { key: 'counts.w', amount: 1, window: 10 })).value).toBe(1);
      expect((await call('set-add', { key: 'groups.a', members: ['x', 'y', 1] })).value).toHaveLength(3);
      expect((await call('set-remove', { key: 'groups.a', members: ['x', 1] })).value).toEqual(['y']);
      expect((await refused('add', { key: 'users.a', amount: 1 })).reason).toBe('invalid_params');
    },
  ],
  'statistics tell what is held': [
    ['stats'],
    async () => {
      await call('put', { key: 'users.a', value: 1 });
      expect(await call('stats', {})).toMatchObject({ entries: 1, namespaces: [{ namespace: 'users', entries: 1 }] });
    },
  ],
  'a subscription starts with what exists, goes on with what happens, and resumes': [
    ['subscribe', 'unsubscribe', 'put', 'delete'],
    async () => {
      await call('put', { key: 'users.a', value: 1 });
      const events = await way.follow!({ pattern: 'users.*', include_existing: true }, 3, async () => {
        await call('put', { key: 'users.b', value: 2 });
        await call('put', { key: 'groups2.x', value: 0 });
        await call('delete', { key: 'users.a' });
      });
      expect(events.map(({ type, key, value }) => [type, key, value])).toEqual([
        ['update', 'users.a', 1],
        ['update', 'users.b', 2],
        ['delete', 'users.a', undefined],
      ]);
      const again = await way.follow!({ pattern: 'users.*', from: events[1]!.token }, 1, async () => {});
      expect(again[0]).toMatchObject({ type: 'delete', key: 'users.a' });
    },
  ],
};

test('every method of the data plane is in a case', () => {
  const covered = new Set(Object.values(cases).flatMap(([names]) => names));
  expect(Object.keys(methods.data).filter((name) => !covered.has(name))).toEqual([]);
});

describe.each(Object.keys(waysIn))('by %s', (name) => {
  beforeEach(async () => {
    node = await DataNode.open();
    door = await openTestDoor(node.service);
    way = waysIn[name]!(door);
  });
  afterEach(async () => {
    way.close();
    await door.close();
    await node.close();
    expect(door.internalErrors).toEqual([]);
  });

  for (const [title, [names, body]] of Object.entries(cases))
    test(title, async ({ skip }) => {
      const has = (method: string) => way.methods === 'all' || way.methods.includes(method) || method === 'unsubscribe';
      const missing = names.filter((method) => !has(method));
      if (missing.length > 0) return skip(`${name} has no form for ${missing.join(', ')}`);
      if (names.includes('subscribe') && way.follow === undefined) {
        expect((await refused('subscribe', { pattern: 'users.*' })).reason).toBe('invalid_request');
        expect((await refused('unsubscribe', { subscription: 'sub-1' })).code).toBeLessThan(-32000);
        return;
      }
      await body();
    });
});
