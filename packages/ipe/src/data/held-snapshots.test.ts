import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { dataBackends } from '../testkit/data-backends.ts';
import { DataNode, type Json } from '../testkit/data-node.ts';
import { snapshotIdleMs, snapshotsMax } from './held-snapshots.ts';

describe.each(Object.entries(dataBackends))('on %s', (_, open) => {
  let node: DataNode;
  let destroy: () => Promise<void>;
  const call = (method: string, params: unknown): Promise<Json> => node.call(method, params);

  beforeEach(async () => {
    ({ node, destroy } = await open());
    await call('put', { key: 'data.a', value: 1 });
    await call('put', { key: 'data.b', value: 1 });
    await call('put', { key: 'data.short', value: 1, ttl: 5 });
    await call('put', { key: 'users.a', value: 1 });
  });
  afterEach(() => destroy());

  const shown = async (pattern: string, snapshot?: string) => {
    const found: [string, unknown][] = [];
    let cursor: string | undefined;
    do {
      const page = await call('query', { pattern, limit: 1, ...(snapshot && { snapshot }), ...(cursor && { cursor }) });
      found.push(...page.entries.map(({ key, value }: Json) => [key, value]));
      cursor = page.cursor;
    } while (cursor !== undefined);
    return found.sort();
  };

  test('queries of a held snapshot show it, pages and namespaces together, whatever is written meanwhile', async () => {
    const racing = call('put', { key: 'data.a', value: 'racing' });
    const { snapshot, at } = await call('hold-snapshot', {});
    expect(at).toBe(node.engine.readMs() / 1000);
    await racing;
    await call('put', { key: 'data.c', value: 2 });
    await call('put', { key: 'users.a', value: 2 });
    await call('delete', { key: 'data.b' });
    node.nowMs += 10_000;

    expect(await shown('data.*', snapshot)).toEqual([
      ['data.a', 1],
      ['data.b', 1],
      ['data.short', 1],
    ]);
    expect(await shown('users.*', snapshot)).toEqual([['users.a', 1]]);
    expect(await shown('data.*')).toEqual([
      ['data.a', 'racing'],
      ['data.c', 2],
    ]);
  });

  test('a snapshot that was released or never held is refused', async () => {
    const { snapshot } = await call('hold-snapshot', {});
    expect(await call('release-snapshot', { snapshot })).toEqual({});
    expect(await call('release-snapshot', { snapshot })).toEqual({});
    for (const gone of [snapshot, 'none'])
      expect(await node.refused('query', { pattern: 'data.*', snapshot: gone })).toMatchObject({
        reason: 'not_found',
        details: { field: 'snapshot' },
      });
  });

  test('there is a bound on snapshots, and one released makes room', async () => {
    const held = await Promise.all(Array.from({ length: snapshotsMax }, () => call('hold-snapshot', {})));
    expect((await node.refused('hold-snapshot', {})).reason).toBe('unavailable');
    await call('release-snapshot', { snapshot: held[3].snapshot });
    expect(await call('hold-snapshot', {})).toMatchObject({ idle_seconds: snapshotIdleMs / 1000 });
  });
});

test('a snapshot is held for its full time after each query, and not beyond', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const node = await DataNode.open();
  try {
    await node.call('put', { key: 'data.a', value: 1 });
    const { snapshot } = await node.call('hold-snapshot', {});
    const ask = () => node.call('query', { pattern: 'data.*', snapshot });
    for (let i = 0; i < 3; i++) {
      vi.advanceTimersByTime(snapshotIdleMs - 1);
      expect((await ask()).entries).toHaveLength(1);
    }
    vi.advanceTimersByTime(snapshotIdleMs);
    await expect(ask()).rejects.toMatchObject({ reason: 'not_found' });
  } finally {
    vi.useRealTimers();
    await node.close();
  }
});
