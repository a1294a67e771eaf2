import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dataBackends } from '../testkit/data-backends.ts';
import { DataNode, type Json, testService } from '../testkit/data-node.ts';
import { backupMethods } from './backup.ts';

let node: DataNode;
let destroy: () => Promise<void>;
let target: DataNode;

const context = { caller: { ...testService, kind: 'admin' as const }, signal: new AbortController().signal };
const control = (on: DataNode, method: string, params: unknown): Promise<Json> =>
  Promise.resolve(backupMethods(on.engine)[method]!(params, context));

async function backup(on: DataNode): Promise<string[]> {
  const methods = backupMethods(on.engine);
  const lines: string[] = [];
  let cursor: string | undefined;
  do {
    const piece = (await methods['data-backup']!(cursor === undefined ? {} : { cursor }, context)) as Json;
    lines.push(...piece.lines.split('\n'));
    cursor = piece.next;
  } while (cursor !== undefined);
  return lines;
}

const restore = (on: DataNode, lines: readonly string[]) => control(on, 'data-restore', { lines: lines.join('\n') });
const all = async (on: DataNode) =>
  (await on.call('batch-get', { keys: ['data.a', 'data.gone', 'votes.a', 'counts.a', 'groups.a', 'data.b'] })).entries;

describe.each(Object.entries(dataBackends))('on %s', (_, open) => {
  beforeEach(async () => {
    ({ node, destroy } = await open());
    target = await DataNode.open({ origin: 'ffeeddccbbaa0099', seed: 5 });
    await node.call('put', { key: 'data.a', value: { n: 1 }, ttl: 100 });
    await node.call('put', { key: 'data.gone', value: 1 });
    await node.call('delete', { key: 'data.gone' });
    await node.call('put', { key: 'votes.a', value: 'yes' });
    await node.call('add', { key: 'counts.a', amount: 7 });
    await node.call('set-add', { key: 'groups.a', members: ['x', 'y'] });
  });
  afterEach(async () => {
    await target.close();
    await destroy();
  });

  test('a backup restored elsewhere reads the same, to the last etag', async () => {
    const lines = await backup(node);
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({ end: true, entries: 5 });
    expect(await restore(target, lines)).toEqual({ entries: 5, skipped: 0, done: true });
    expect(await all(target)).toEqual(await all(node));
    expect((await target.call('put', { key: 'data.gone', value: 2 })).version).toBe(3);
    const { token } = await node.call('put', { key: 'data.b', value: 2 });
    expect(target.engine.replica.hasSeen(token)).toBe(false);
  });

  test('shows one moment, whatever is written meanwhile', async () => {
    const before = await all(node);
    const methods = backupMethods(node.engine);
    const racing = node.call('put', { key: 'data.a', value: 'racing' });
    const first = (await methods['data-backup']!({}, context)) as Json;
    await racing;
    expect(first.next).toBeUndefined();
    await restore(target, first.lines.split('\n'));
    expect(await all(target)).toEqual(before);
  });
});

test('restoring an old backup undoes nothing newer and brings back nothing that was deleted and forgotten', async () => {
  const node = await DataNode.open();
  await node.call('put', { key: 'data.a', value: 'old' });
  await node.call('put', { key: 'data.b', value: 'to be deleted' });
  const lines = await backup(node);
  await node.call('put', { key: 'data.a', value: 'new' });
  await node.call('delete', { key: 'data.b' });
  node.nowMs += 60_001;
  await node.engine.housekeep();
  expect(await restore(node, lines)).toEqual({ entries: 2, skipped: 2, done: true });
  expect((await node.call('get', { key: 'data.a' })).value).toBe('new');
  expect(await node.call('get', { key: 'data.b' })).toBeNull();
  await node.close();
});

test('a damaged row is mended from a backup', async () => {
  const node = await DataNode.open();
  await node.call('put', { key: 'data.a', value: 1 });
  const lines = await backup(node);
  await node.engine.kv.write([{ type: 'put', family: 'live', key: Buffer.from('data.a'), value: new Uint8Array(3) }]);
  await node.engine.kv.sync();
  await node.restart();
  expect((await node.refused('get', { key: 'data.a' })).reason).toBe('corrupt');
  await restore(node, lines);
  expect((await node.call('get', { key: 'data.a' })).value).toBe(1);
  await node.close();
});

test('large backups come in pieces, each of which can be asked for again', async () => {
  const node = await DataNode.open();
  const entries = Array.from({ length: 6_000 }, (_, i) => ({ key: `data.k${i}`, value: i }));
  await node.call('batch-put', { entries });
  const methods = backupMethods(node.engine);
  const first = (await methods['data-backup']!({}, context)) as Json;
  const second = (await methods['data-backup']!({ cursor: first.next }, context)) as Json;
  expect([first.entries, second.entries, second.next]).toEqual([5_000, 6_000, undefined]);
  expect(await methods['data-backup']!({ cursor: first.next }, context)).toEqual(second);
  await expect(Promise.resolve(methods['data-backup']!({ cursor: 'x.1.YQ' }, context))).rejects.toMatchObject({
    reason: 'not_found',
  });
  await node.close();
});

test.each([
  ['{', 'line 1'],
  ['{"key":"data.a"}', 'line 1'],
  ['{"key":"data.a","row":"AAAA"}', 'data.a'],
  ['{"ipe_facts":2}', 'format'],
  ['{"ipe_facts":1,"strategies":{"counts":"lww"}}', 'counts'],
  ['{"end":true,"namespaces":{"data":{"heads":{"x":1}}}}', 'not a source'],
])('%s is refused and changes nothing', async (line, told) => {
  const node = await DataNode.open();
  await expect(restore(node, [line])).rejects.toMatchObject({
    reason: 'invalid_params',
    message: expect.stringContaining(told),
  });
  expect(node.engine.replica.appliedCommit).toBe(0);
  await node.close();
});
