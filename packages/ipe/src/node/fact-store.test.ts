import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadConfig } from '../config/index.ts';
import { createLogger } from '../telemetry/logger.ts';
import { rpc } from '../testkit/door.ts';
import { type RunningNode, startNode } from './start.ts';

let folder: string;
let node: RunningNode | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipe-'));
  await writeFile(join(folder, 'a.key'), 'a1'.repeat(32));
  await writeFile(join(folder, 'b.key'), 'b2'.repeat(32));
});
afterEach(async () => {
  await node?.close();
  node = undefined;
  await rm(folder, { recursive: true, force: true });
});

const log = createLogger({ level: 'silent', format: 'json' });
const sealedBy = (key: string) =>
  `[data_plane.security]\nencrypt_at_rest = true\nencryption_key_path = "${join(folder, key)}"\n`;

async function start(file: string): Promise<void> {
  await node?.close();
  node = undefined;
  node = await startNode({ directory: join(folder, 'state'), config: await loadConfig({ file }), version: '0', log });
}

async function call(plane: 'control' | 'data', method: string, params: unknown = {}) {
  const credentials = JSON.parse(await readFile(node!.credentials.path, 'utf8'));
  const token = plane === 'control' ? credentials.admin : credentials.service;
  const { json } = await rpc(node!.addresses[plane][0]!, token, method, params);
  if (json.error !== undefined) throw Object.assign(new Error(json.error.message), json.error.data);
  return json.result;
}

test('a sealed node answers as any other, leaves nothing in clear, and changes its keys while it works', async () => {
  await start(sealedBy('a.key'));
  const entries = Array.from({ length: 300 }, (_, i) => ({
    key: `approvals.secret-${i}`,
    value: { note: `hidden-${i}` },
  }));
  await call('data', 'batch-put', { entries });
  expect(await call('data', 'get', { key: 'approvals.secret-7' })).toMatchObject({ value: { note: 'hidden-7' } });

  expect(await call('control', 'rekey', { new_key_path: join(folder, 'b.key') })).toMatchObject({ rewrapped: true });
  await call('data', 'put', { key: 'approvals.secret-7', value: { note: 'hidden-later' } });
  expect(await call('control', 'rekey', { start: false, wait: 60 })).toMatchObject({
    state: 'done',
    families_done: 6,
    families: 6,
  });

  await expect(start(sealedBy('a.key'))).rejects.toMatchObject({ reason: 'unavailable', message: /key file/ });
  await expect(start('')).rejects.toMatchObject({ reason: 'unavailable', message: /sealed/ });
  await start(sealedBy('b.key'));
  expect(await call('data', 'get', { key: 'approvals.secret-7' })).toMatchObject({ value: { note: 'hidden-later' } });
  expect(await call('data', 'get', { key: 'approvals.secret-8' })).toMatchObject({ value: { note: 'hidden-8' } });
  await node!.close();
  node = undefined;

  const directory = join(folder, 'state', 'data');
  for (const name of await readdir(directory)) {
    const content = await readFile(join(directory, name));
    for (const secret of ['secret-', 'hidden-', 'approvals'])
      expect(content.includes(secret), `${name} holds \`${secret}\``).toBe(false);
  }
});

test('a node in clear says that there is nothing to rekey', async () => {
  await start('');
  await expect(call('control', 'rekey')).rejects.toMatchObject({ reason: 'invalid_request' });
});

test('an operator has everything stored looked at, and is told what is damaged', async () => {
  await start('');
  await call('data', 'batch-put', {
    entries: [
      { key: 'users.a', value: 1 },
      { key: 'users.b', value: 2 },
    ],
  });
  expect(await call('control', 'scrub', { wait: 60 })).toMatchObject({ state: 'done', damaged: 0, damaged_keys: [] });
  expect((await call('control', 'scrub', { start: false })).rows).toBeGreaterThanOrEqual(2);
  expect((await call('control', 'status')).data.scrub).toMatchObject({ state: 'done', damaged_records: 0 });
});
