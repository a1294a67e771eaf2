import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dataBackends } from '../testkit/data-backends.ts';
import type { DataNode, Json } from '../testkit/data-node.ts';
import { readPattern } from './pattern.ts';

let node: DataNode;
let destroy: () => Promise<void>;
const call = (method: string, params: unknown): Promise<Json> => node.call(method, params);
const keysOf = (answer: Json): string[] => answer.entries.map((entry: Json) => entry.key);

describe('patterns', () => {
  test.each([
    ['a.*', ['a.b', 'a.b.c'], ['a', 'ab.c', 'a-b.c']],
    ['a.*.c', ['a.b.c'], ['a.c', 'a.b.b.c', 'a.b.c.d']],
    ['a.b.*', ['a.b.c', 'a.b.c.d'], ['a.b', 'a.bc.d']],
    ['a.*.*', ['a.b.c', 'a.b.c.d'], ['a.b']],
    ['a.b', ['a.b'], ['a.bc', 'a.b.c']],
  ])('%s matches %j and not %j', (text, inside, outside) => {
    const pattern = readPattern(text);
    expect(inside.filter((key) => !pattern.matches(key))).toEqual([]);
    expect(outside.filter((key) => pattern.matches(key))).toEqual([]);
  });

  test.each(['*', '*.a', 'a', 'a..b', 'a.b*', 'A.*', 'a. b', ''])('%j is refused', (pattern) => {
    expect(() => readPattern(pattern)).toThrow(expect.objectContaining({ details: { field: 'pattern' } }));
  });
});

describe.each(Object.entries(dataBackends))('on %s', (_, open) => {
  beforeEach(async () => {
    ({ node, destroy } = await open());
  });
  afterEach(() => destroy());

  describe('query', () => {
    beforeEach(async () => {
      await call('batch-put', {
        entries: [
          { key: 'approvals.d1', value: { deployment_id: 'd1', by: { role: 'senior' }, count: 2 } },
          { key: 'approvals.d2', value: { deployment_id: 'd2', by: { role: 'junior' }, count: 1 } },
          { key: 'approvals.team.d3', value: { deployment_id: 'd3', by: { role: 'senior' }, count: 3 } },
          { key: 'approvals.d4', value: 'text', ttl: 5 },
          { key: 'approvals-2.d5', value: 1 },
        ],
      });
      await call('delete', { key: 'approvals.d2' });
      await call('put', { key: 'approvals.d2', value: { deployment_id: 'd2', by: { role: 'junior' }, count: 1 } });
      await call('put', { key: 'approvals.gone', value: 1 });
      await call('delete', { key: 'approvals.gone' });
    });

    test('gives what matches, without what is deleted or expired', async () => {
      const all = keysOf(await call('query', { pattern: 'approvals.*' })).sort();
      expect(all).toEqual(['approvals.d1', 'approvals.d2', 'approvals.d4', 'approvals.team.d3']);
      node.nowMs += 5_000;
      const later = await call('query', { pattern: 'approvals.*' });
      expect(keysOf(later).sort()).toEqual(['approvals.d1', 'approvals.d2', 'approvals.team.d3']);
      expect(later.complete).toBe(true);
      expect(keysOf(await call('query', { pattern: 'approvals.team.d3' }))).toEqual(['approvals.team.d3']);
    });

    test('pages follow one another, and only the last says that it is complete', async () => {
      const seen: string[] = [];
      let cursor: string | undefined;
      for (let pages = 1; ; pages++) {
        const page: Json = await call('query', { pattern: 'approvals.*', limit: 2, ...(cursor && { cursor }) });
        seen.push(...keysOf(page));
        expect(page.complete).toBe(page.cursor === undefined);
        if (page.complete) {
          expect(pages).toBe(2);
          break;
        }
        cursor = page.cursor;
      }
      expect(seen.sort()).toEqual(['approvals.d1', 'approvals.d2', 'approvals.d4', 'approvals.team.d3']);
      expect((await node.refused('query', { pattern: 'other.*', cursor })).details).toMatchObject({ field: 'cursor' });
    });

    test.each([
      [{ deployment_id: 'd1' }, ['approvals.d1']],
      [{ 'by.role': 'senior' }, ['approvals.d1', 'approvals.team.d3']],
      [{ by: { role: 'senior' }, count: 3 }, ['approvals.team.d3']],
      [{ constructor: 1 }, []],
      ['value.by.role == "senior" && value.count > 2', ['approvals.team.d3']],
      ['key.endsWith("d4")', ['approvals.d4']],
      ['value.missing == 1', []],
    ])('the filter %j passes %j', async (filter, keys) => {
      expect(keysOf(await call('query', { pattern: 'approvals.*', filter })).sort()).toEqual(keys);
    });

    test.each([['value.by ==', 'unknown(value)', '1 + 1', 7, ['a']]].flat())(
      'the filter %j is refused',
      async (filter) => {
        const error = await node.refused('query', { pattern: 'approvals.*', filter });
        expect([error.reason, error.details['field']]).toEqual(['invalid_params', 'filter']);
      },
    );
  });

  describe('history', () => {
    test('gives versions newest first, as many as are kept, deletions included', async () => {
      for (const value of [1, 2, 3]) await call('put', { key: 'approvals.d1', value });
      await call('delete', { key: 'approvals.d1' });
      for (const value of [5, 6]) await call('put', { key: 'approvals.d1', value });
      const { versions } = await call('history', { key: 'approvals.d1' });
      expect(versions.map((each: Json) => [each.version, each.value ?? each.deleted])).toEqual([
        [6, 6],
        [5, 5],
        [4, true],
        [3, 3],
        [2, 2],
      ]);
      expect(versions[0]).not.toHaveProperty('replaced_at');
      expect(versions[0].dots).toHaveLength(1);
      expect((await call('history', { key: 'approvals.d1', limit: 2 })).versions).toHaveLength(2);
      expect((await call('history', { key: 'approvals.none' })).versions).toEqual([]);
    });

    test('versions past their age are neither told nor kept', async () => {
      await call('put', { key: 'approvals.d1', value: 1 });
      await call('put', { key: 'approvals.d1', value: 2 });
      node.nowMs += 3_600_001;
      expect((await call('history', { key: 'approvals.d1' })).versions).toHaveLength(1);
      await node.engine.housekeep();
      const left: unknown[] = [];
      for await (const row of node.engine.kv.entries('versions')) left.push(row);
      expect(left).toEqual([]);
    });

    test('versions are not looked through before one of them can be past its age', async () => {
      const { kv } = node.engine;
      const entries = kv.entries.bind(kv);
      let walks = 0;
      kv.entries = (family, range) => {
        if (family === 'versions') walks++;
        return entries(family, range);
      };
      const left = async () => {
        let rows = 0;
        for await (const _ of entries('versions')) rows++;
        return rows;
      };
      const write = async () => void (await call('put', { key: 'approvals.d1', value: node.nowMs }));
      await write();
      await write();
      await node.engine.housekeep();
      node.nowMs += 1_800_000;
      await write();
      await node.engine.housekeep();
      expect([walks, await left()]).toEqual([1, 2]);
      node.nowMs += 1_800_001;
      await node.engine.housekeep();
      expect([walks, await left()]).toEqual([2, 1]);
      await node.engine.housekeep();
      expect(walks).toBe(2);
      node.nowMs += 1_800_000;
      await node.engine.housekeep();
      expect([walks, await left()]).toEqual([3, 0]);
    });
  });

  describe('counters', () => {
    test('amounts add up, across restarts too', async () => {
      expect(await call('add', { key: 'counts.a', amount: 5 })).toMatchObject({ key: 'counts.a', value: 5 });
      const [two, three] = await Promise.all([
        call('add', { key: 'counts.a', amount: 2 }),
        call('add', { key: 'counts.a', amount: -3 }),
      ]);
      expect([two.value, three.value]).toEqual([7, 4]);
      await node.restart();
      expect((await call('add', { key: 'counts.a', amount: 1 })).value).toBe(5);
      expect((await call('get', { key: 'counts.a' })).value).toBe(5);
      await call('delete', { key: 'counts.a' });
      expect(await call('get', { key: 'counts.a' })).toBeNull();
      expect((await call('add', { key: 'counts.a', amount: 1 })).value).toBe(1);
    });

    test('a window starts again at nothing, and is absent once it has ended', async () => {
      const add = () => call('add', { key: 'counts.a', amount: 1, window: 60 });
      await add();
      expect((await add()).value).toBe(2);
      const entry = await call('get', { key: 'counts.a' });
      expect(entry.expires_at % 60).toBe(0);
      expect((await node.refused('add', { key: 'counts.a', amount: 1, window: 30 })).details).toMatchObject({
        field: 'window',
      });
      node.nowMs = entry.expires_at * 1000;
      expect(await call('get', { key: 'counts.a' })).toBeNull();
      expect((await add()).value).toBe(1);
      expect((await node.refused('add', { key: 'counts.a', amount: 0.5 })).details).toMatchObject({ field: 'amount' });
      expect((await node.refused('add', { key: 'approvals.a', amount: 1 })).reason).toBe('invalid_params');
    });

    test('a retried add counts once', async () => {
      const add = { key: 'counts.a', amount: 1, request_id: 'r' };
      expect([(await call('add', add)).value, (await call('add', add)).value]).toEqual([1, 1]);
    });
  });

  describe('sets', () => {
    test.each(['groups', 'bans'])('members of %s are added and removed', async (namespace) => {
      const key = `${namespace}.g1`;
      expect((await call('set-add', { key, members: ['bob', 'alice', 7, 'bob'] })).value).toEqual(['alice', 'bob', 7]);
      expect((await call('set-remove', { key, members: ['bob', 'carol'] })).value).toEqual(['alice', 7]);
      expect((await call('get', { key })).value).toEqual(['alice', 7]);
      expect((await call('set-add', { key, members: ['bob'] })).value).toEqual(['alice', 'bob', 7]);
      await call('delete', { key });
      expect(await call('get', { key })).toBeNull();
      expect((await node.refused('set-add', { key, members: [null] })).details).toMatchObject({ field: 'members[0]' });
      expect((await node.refused('set-add', { key: 'approvals.a', members: ['a'] })).reason).toBe('invalid_params');
    });

    test('members long removed are forgotten, those that stay are not', async () => {
      await call('set-add', { key: 'groups.g1', members: ['a', 'b'] });
      await call('set-remove', { key: 'groups.g1', members: ['b'] });
      node.nowMs += 60_001;
      await node.engine.housekeep();
      const cell = await node.engine.get('groups.g1');
      expect(cell.state).toMatchObject({ members: [{ member: '"a"' }] });
      expect((await call('get', { key: 'groups.g1' })).value).toEqual(['a']);
    });
  });

  describe('housekeeping', () => {
    test('expired values and old tombstones leave the store, and versions never go back', async () => {
      await call('put', { key: 'approvals.a', value: 1 });
      await call('put', { key: 'approvals.a', value: 2, ttl: 10 });
      await call('put', { key: 'approvals.b', value: 1 });
      await call('delete', { key: 'approvals.b' });
      await call('put', { key: 'approvals.c', value: 1 });
      node.nowMs += 59_999;
      await node.engine.housekeep();
      expect((await call('stats', {})).namespaces[0]).toMatchObject({ entries: 1, tombstones: 1 });
      node.nowMs += 1;
      await node.engine.housekeep();
      expect((await call('stats', {})).namespaces[0]).toMatchObject({ entries: 1, tombstones: 0 });
      const rows: string[] = [];
      for await (const [key] of node.engine.kv.entries('live')) rows.push(Buffer.from(key).toString());
      expect(rows).toEqual(['approvals.c']);
      for await (const row of node.engine.kv.entries('expiry')) expect(row).toBeUndefined();
      await node.restart();
      expect((await call('put', { key: 'approvals.a', value: 3 })).version).toBe(3);
      expect((await call('put', { key: 'approvals.new', value: 3 })).version).toBe(3);
    });

    test('a key that is written again in time is not purged', async () => {
      await call('put', { key: 'approvals.a', value: 1, ttl: 10 });
      node.nowMs += 10_000;
      const put = call('put', { key: 'approvals.a', value: 2 });
      await Promise.all([put, node.engine.housekeep()]);
      expect((await call('get', { key: 'approvals.a' })).value).toBe(2);
    });
  });

  test('the 65th namespace is refused by name', async () => {
    for (let i = 0; i < 64; i++) await call('put', { key: `n${i}.a`, value: 1 });
    const error = await node.refused('put', { key: 'n64.a', value: 1 });
    expect([error.reason, error.details['namespace']]).toEqual(['too_large', 'n64']);
    expect((await call('put', { key: 'n3.b', value: 1 })).version).toBe(1);
  });

  test('concurrent writes that an instance made stand side by side only where the namespace says so', async () => {
    const first = await call('put', { key: 'drafts.a', value: 1 });
    expect((await call('put', { key: 'drafts.a', value: 2, if_match: first.etag })).version).toBe(2);
    expect(await call('get', { key: 'drafts.a' })).toMatchObject({ value: 2, version: 2 });
  });
});
