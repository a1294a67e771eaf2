import { describe, expect, test } from 'vitest';
import { codec, primitives } from '../../test/node-runtime.ts';
import { createMemoryDisk, openMemoryKv } from '../store/index.ts';
import { treeFixture } from '../testkit/tree-fixture.ts';
import { policyFamilies as families, type UpdateEvent } from './types.ts';

const { apply, open, put } = treeFixture({ primitives, codec });

/** A store of `a.b` and a pin, whose next updates meet a full disk. */
async function filled() {
  const disk = createMemoryDisk();
  const kv = openMemoryKv({ families, disk });
  const store = await open(kv);
  await apply(store, [put('a.b', 'one'), put('c', 'stays')]);
  await store.pin('kept', 'main');
  const events: UpdateEvent[] = [];
  store.watch((event) => events.push(event));
  return { disk, kv, store, events };
}

const sourceOf = async (store: Awaited<ReturnType<typeof filled>>['store'], path: string) =>
  new TextDecoder().decode((await store.current().readPolicy(path))?.files.source);

describe('a policy store that lacked room', () => {
  test.each([
    ['is there by then', 1, 'two'],
    ['is not there', 0, 'one'],
  ])('takes writes again once there is some: the update that was refused %s', async (_, kept, source) => {
    const { disk, kv, store, events } = await filled();
    const before = store.current();
    disk.fullAtSync = true;
    disk.keptAtRecovery = kept;
    await expect(apply(store, [put('a.b', 'two'), { path: 'c', delete: true }])).rejects.toMatchObject({
      reason: 'unavailable',
      state: 'unknown',
    });
    expect(store.current().commit).toBe(before.commit);
    expect(await sourceOf(store, 'a.b')).toBe('one');
    await expect(apply(store, [put('a.b', 'three')])).rejects.toMatchObject({ reason: 'unavailable' });
    await expect(store.recover()).rejects.toMatchObject({ reason: 'unavailable' });
    expect(store.status().refusesWrites).not.toBe(null);
    expect(events).toEqual([]);

    disk.fullAtSync = false;
    await store.recover();
    expect(store.status().refusesWrites).toBe(null);
    expect(await sourceOf(store, 'a.b')).toBe(source);
    expect(store.current().index()!.lookup('c') === undefined).toBe(kept === 1);
    const told = events.map(({ changed, previousRoot }) => ({ previousRoot, paths: changed.map(({ path }) => path) }));
    expect(told).toEqual(kept === 1 ? [{ previousRoot: before.root, paths: ['a.b', 'c'] }] : []);

    await apply(store, [put('a.b', 'four')]);
    expect(await sourceOf(store, 'a.b')).toBe('four');
    expect((await store.history('a.b')).items).toHaveLength(2 + kept);
    expect((await store.verify()).problems).toEqual([]);
    const again = await open(kv);
    expect(again.status().indexRebuilt).toBe(null);
    expect(await again.current().getSubtree('')).toEqual(await store.current().getSubtree(''));
    expect(again.refs()).toEqual(store.refs());
  });

  test('knows a pin again that was refused and is there', async () => {
    const { disk, store } = await filled();
    disk.fullAtSync = true;
    disk.keptAtRecovery = 1;
    await expect(store.pin('second', 'main')).rejects.toMatchObject({ reason: 'unavailable' });
    expect(store.refs().map(({ name }) => name)).toEqual(['kept', 'main']);
    disk.fullAtSync = false;
    await store.recover();
    expect(store.refs().map(({ name }) => name)).toEqual(['kept', 'main', 'second']);
    await store.unpin('second');
    expect((await store.verify()).problems).toEqual([]);
  });

  test('refuses writes for good where the disk failed otherwise', async () => {
    const { disk, store } = await filled();
    disk.failNextSync = true;
    await expect(apply(store, [put('a.b', 'two')])).rejects.toMatchObject({ state: 'unknown' });
    await expect(store.recover()).rejects.toMatchObject({ reason: 'unavailable' });
    await expect(apply(store, [put('a.b', 'three')])).rejects.toMatchObject({ reason: 'unavailable' });
    expect(await sourceOf(store, 'a.b')).toBe('one');
  });
});
