import { liveKey, logKey } from '@ipe/core/replica';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DataNode } from '../testkit/data-node.ts';
import { Scrubber } from './scrub.ts';

let node: DataNode;
let scrubber: Scrubber;
const said: string[] = [];

function open(rowsPerSecond = 1_000_000): Scrubber {
  const log = { error: (_: object, message: string) => void said.push(message), warn: () => {}, info: () => {} };
  return new Scrubber({ engine: node.engine, intervalMs: 0, rowsPerSecond, log });
}

beforeEach(async () => {
  said.length = 0;
  node = await DataNode.open();
  for (let i = 0; i < 600; i++) await node.call('put', { key: `users.u${i}`, value: { i } });
  await node.restart();
  scrubber = open();
});
afterEach(async () => {
  await scrubber.close();
  await node.close();
});

async function changeRow(key: string, change: (row: Uint8Array) => Uint8Array): Promise<void> {
  const row = (await node.engine.kv.get('live', liveKey(key)))!;
  await node.engine.kv.write([{ type: 'put', family: 'live', key: liveKey(key), value: change(row) }]);
}

test('a scrub looks at every fact and log record, and finds a sound store sound', async () => {
  await scrubber.start();
  const { state, rows, records, damaged, damaged_records } = scrubber.report();
  expect({ state, rows, damaged, damaged_records }).toEqual({
    state: 'done',
    rows: 600,
    damaged: 0,
    damaged_records: 0,
  });
  expect(records).toBeGreaterThan(0);
});

test('with nobody to mend it damage is reported by name and left, and everything else is served', async () => {
  await changeRow('users.u5', (row) => row.slice(0, 7));
  // Still a row that decodes, but its text is not JSON any more.
  await changeRow('users.u9', (row) => row.map((byte) => (byte === 0x7b ? 0x78 : byte)));
  await scrubber.start();
  expect(scrubber.report()).toMatchObject({ state: 'done', damaged: 2, mended: 0 });
  expect([...scrubber.report().damaged_keys].sort()).toEqual(['users.u5', 'users.u9']);
  expect((await node.refused('get', { key: 'users.u5' })).reason).toBe('corrupt');
  expect((await node.call('get', { key: 'users.u6' })).value).toEqual({ i: 6 });
  await node.call('put', { key: 'users.u9', value: { i: 9 } });
  await scrubber.start();
  expect(scrubber.report().damaged_keys).toEqual(['users.u5']);
});

test('a damaged log record is reported by name, until a sound one is put in its place', async () => {
  const { kv, replica } = node.engine;
  const [source, head] = [...replica.headsOf('users')][0]!;
  const key = logKey('users', source, head);
  const sound = (await kv.get('log', key))!;
  await kv.write([{ type: 'put', family: 'log', key, value: sound.slice(0, 9) }]);
  await scrubber.start();
  expect([...scrubber.records.values()]).toEqual([{ namespace: 'users', sourceId: source.id, seq: head }]);
  expect(said).toContain('a record of the log is damaged');
});

test('a scrub keeps to its rows a second, and a node that stops does not wait for it', async () => {
  await scrubber.close();
  scrubber = open(10);
  const pass = scrubber.start();
  await scrubber.close();
  await pass;
  expect(scrubber.report().rows).toBeLessThan(600);
  expect(said).toEqual([]);
});
