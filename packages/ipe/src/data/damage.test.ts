import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@ipe/client';
import { dataFamilies } from '@ipe/core/replica';
import { createMemoryDisk, openMemoryKv } from '@ipe/core/store';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dataLayouts, Keyring, sealKv } from '../stores/sealed/index.ts';
import { dataBackends } from '../testkit/data-backends.ts';
import { DataNode, type Json, TestSession } from '../testkit/data-node.ts';
import { openTestDoor } from '../testkit/door.ts';
import { openFacts } from './facts.ts';

/** Cuts the stored row of a key short, and starts again so that it is read. */
async function damage(node: DataNode, key: string): Promise<void> {
  const row = Buffer.from(key);
  const value = (await node.engine.kv.get('live', row))!;
  await node.engine.kv.write([{ type: 'put', family: 'live', key: row, value: value.subarray(0, 5) }]);
  await node.engine.kv.sync();
  await node.restart();
}

const keysOf = ({ entries }: Json): string[] => entries.map(({ key }: Json) => key).sort();

describe.each(Object.keys(dataBackends))('a damaged row in %s', (backend) => {
  let node: DataNode;
  let destroy: () => Promise<void>;
  beforeEach(async () => {
    ({ node, destroy } = await dataBackends[backend]!());
    for (const name of ['a', 'b', 'c', 'd']) await node.call('put', { key: `users.${name}`, value: name });
    await damage(node, 'users.b');
  });
  afterEach(() => destroy());

  test('fails no query: it is named, the others are served, and the query is not complete', async () => {
    const page = await node.call('query', { pattern: 'users.*' });
    expect(keysOf(page)).toEqual(['users.a', 'users.c', 'users.d']);
    expect(page).toMatchObject({
      complete: false,
      damaged: [{ key: 'users.b', message: expect.stringContaining('does not decode') }],
    });
    expect(page.cursor).toBeUndefined();
    expect(await node.call('query', { pattern: 'votes.*' })).toEqual({ entries: [], complete: true });
  });

  test('makes a query of many pages incomplete to the end', async () => {
    const found: string[] = [];
    const named: string[] = [];
    let last: Json = {};
    for (let cursor: string | undefined; ; cursor = last.cursor) {
      last = await node.call('query', { pattern: 'users.*', limit: 1, ...(cursor !== undefined && { cursor }) });
      found.push(...keysOf(last));
      named.push(...(last.damaged ?? []).map(({ key }: Json) => key));
      if (last.cursor === undefined) break;
    }
    expect(found.sort()).toEqual(['users.a', 'users.c', 'users.d']);
    expect([...new Set(named)]).toEqual(['users.b']);
    expect(last.complete).toBe(false);
  });

  test('fails reads, writes and decisions of its key alone, also when many keys are read at once', async () => {
    const keys = ['users.a', 'users.b', 'users.c'];
    const [a, b, c] = await Promise.allSettled(keys.map((key) => node.call('get', { key })));
    expect([a!.status, b!.status, c!.status]).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((await node.refused('put', { key: 'users.b', value: 1 })).details).toMatchObject({ key: 'users.b' });
    expect((await node.refused('batch-get', { keys })).reason).toBe('corrupt');
    await node.restart();
    const facts = openFacts(node.engine, node.nowMs);
    await expect(facts.load([{ namespace: 'users', key: 'b' }])).rejects.toMatchObject({ reason: 'corrupt' });
    await facts.load([{ namespace: 'users', key: 'a' }]);
    expect(facts.lookup('users', 'a')).toMatchObject({ kind: 'value', value: 'a' });
    facts.release();
  });

  test('is told once to whoever mends it, counted, and forgotten once a sound state is in its place', async () => {
    const met: unknown[] = [];
    node.engine.damage.onMet(({ namespace, key }) => met.push([namespace, key]));
    await node.call('query', { pattern: 'users.*' });
    await node.refused('get', { key: 'users.b' });
    await node.refused('get', { key: 'users.b' });
    expect(met).toEqual([['users', 'users.b']]);
    expect((await node.call('stats', {})).damaged_rows).toBe(1);
    const peer = await DataNode.open({ origin: 'ffeeddccbbaa9988', seed: 3 });
    await peer.call('put', { key: 'users.b', value: 'mended' });
    await node.engine.joinStates('users', [{ key: 'users.b', state: (await peer.engine.get('users.b')).state! }]);
    await peer.close();
    expect(node.engine.damage.count).toBe(0);
    expect((await node.call('get', { key: 'users.b' })).value).toBe('mended');
    expect((await node.call('query', { pattern: 'users.*' })).complete).toBe(true);
  });

  test('is not taken for absent by a subscription that begins with what exists', async () => {
    const session = new TestSession();
    await node.call('subscribe', { pattern: 'users.*', include_existing: true }, { session });
    const events = await session.received(4);
    expect(events.map(({ type, key }) => `${type} ${key}`).sort()).toEqual([
      'damaged users.b',
      'update users.a',
      'update users.c',
      'update users.d',
    ]);
    session.end();
  });
});

test('the SDK gives everything that can be read, then says what cannot', async () => {
  const node = await DataNode.open();
  for (const name of ['a', 'b', 'c']) await node.call('put', { key: `users.${name}`, value: name });
  await damage(node, 'users.b');
  const door = await openTestDoor(node.service);
  const client = createClient({ socket: door.socketPath, token: door.tokens.service });
  const given: string[] = [];
  const iterate = async () => {
    for await (const { key } of client.data.query('users.*', { limit: 1 })) given.push(key);
  };
  await expect(iterate()).rejects.toMatchObject({ reason: 'corrupt', message: expect.stringContaining('`users.b`') });
  expect(given).toEqual(['users.a', 'users.c']);
  client.close();
  await door.close();
  await node.close();
});

test('a sealed row that does not open is reported without its key, and the others are served', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ipe-damage-'));
  const disk = createMemoryDisk();
  const keyring = await Keyring.create(join(folder, 'KEYRING'), Buffer.alloc(32, 7));
  const inner = openMemoryKv({ families: dataFamilies, disk });
  const node = await DataNode.open({ openKv: async () => sealKv({ inner, keyring, layouts: dataLayouts }) });
  for (const name of ['a', 'b', 'c']) await node.call('put', { key: `users.${name}`, value: name });
  const rows: [Uint8Array, Uint8Array][] = [];
  for await (const [key, value] of inner.entries('live')) rows.push([key, value]);
  const [key, value] = rows[1]!;
  value[30]! ^= 1;
  await inner.write([{ type: 'put', family: 'live', key, value }]);
  const page = await node.call('query', { pattern: 'users.*' });
  expect(page.entries).toHaveLength(2);
  expect(page.complete).toBe(false);
  expect(page.damaged).toEqual([{ message: expect.stringContaining('does not open') }]);
  expect(node.engine.damage.list()).toMatchObject([{ namespace: 'users', key: undefined }]);
  await node.close();
  await rm(folder, { recursive: true, force: true });
});
