import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadConfig } from '../config/index.ts';
import { verifyAudit } from '../security/audit.ts';
import { createLogger } from '../telemetry/logger.ts';
import { ask, rpc } from '../testkit/door.ts';
import { type OpenParts, type Parts, type RunningNode, startNode } from './start.ts';

let folder: string;
let node: RunningNode | undefined;
let closed: string[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipe-'));
  closed = [];
});
afterEach(async () => {
  await node?.close();
  node = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** Parts that answer just enough to see the node around them. */
const openParts: OpenParts = async ({ controlExtra, describe, onClose }) => {
  onClose('first part', () => closed.push('first'));
  onClose('second part', () => closed.push('second'));
  const missing = () => [];
  const services: Parts['services'] = {
    control: { plane: 'control', missing, handlers: { ...controlExtra, status: () => describe() } },
    data: { plane: 'data', missing, handlers: { get: () => null } },
    evaluation: { plane: 'evaluation', missing, handlers: { evaluate: () => ({ decision: 'allow' }) } },
  };
  return { services };
};

const log = createLogger({ level: 'silent', format: 'json' });
const start = async (file = '', options: { directory?: string; openParts?: OpenParts } = {}) =>
  startNode({
    directory: options.directory ?? folder,
    config: await loadConfig({ file }),
    version: '0',
    log,
    openParts: options.openParts ?? openParts,
  });
const tokens = async () => JSON.parse(await readFile(join(folder, 'credentials.json'), 'utf8'));

test('a first start writes credentials that open their planes, a second start keeps them', async () => {
  node = await start();
  expect(node.credentials.isNew).toBe(true);
  expect((await stat(node.credentials.path)).mode & 0o777).toBe(0o600);
  const first = await tokens();
  const { control, data, evaluation } = node.addresses;
  expect((await rpc(control[0]!, first.admin, 'status')).json.result).toMatchObject({
    process: process.pid,
    planes: node.addresses,
  });
  expect((await rpc(data[0]!, first.service, 'get', { key: 'a.b' })).json.result).toBeNull();
  expect((await rpc(evaluation[0]!, first.application, 'evaluate')).json.result).toEqual({ decision: 'allow' });
  expect([(await stat(control[0]!)).mode & 0o777, (await stat(data[0]!)).mode & 0o777]).toEqual([0o600, 0o660]);
  await node.close();
  expect(closed).toEqual(['second', 'first']);
  node = await start();
  expect([node.credentials.isNew, await tokens()]).toEqual([false, first]);
});

test('a token made over the control plane works at once, and its revocation too; both are in the audit log', async () => {
  node = await start();
  const { admin } = await tokens();
  const control = node.addresses.control[0]!;
  const created = (await rpc(control, admin, 'token-create', { kind: 'service', name: 'x' })).json.result;
  expect((await rpc(node.addresses.data[0]!, created.token, 'get', { key: 'a.b' })).status).toBe(200);
  await rpc(control, admin, 'token-revoke', { id: created.id });
  expect((await rpc(node.addresses.data[0]!, created.token, 'get', { key: 'a.b' })).status).toBe(401);
  await node.close();
  const trail = await readFile(join(folder, 'audit', 'audit-000000000001.ndjson'), 'utf8');
  expect(
    trail
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).method ?? JSON.parse(line).event),
  ).toEqual(['start', 'token-create', 'token-revoke', 'stop']);
  expect(trail).not.toContain(created.token);
  expect((await verifyAudit(join(folder, 'audit'))).problems).toEqual([]);
});

test('what a killed process was about to put in place is removed, and nothing else', async () => {
  await mkdir(join(folder, 'keys'));
  const drafts = ['replication.json.0a1b2c3d.tmp', 'keys/members.json.ffffffff.tmp'].map((name) => join(folder, name));
  const other = join(folder, 'mine.tmp');
  for (const path of [...drafts, other]) await writeFile(path, '{');
  node = await start();
  for (const path of drafts) await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
  expect(await readFile(other, 'utf8')).toBe('{');
});

test('a directory that another node has open is refused, and that node goes on', async () => {
  node = await start();
  await expect(start()).rejects.toMatchObject({
    reason: 'unavailable',
    message: expect.stringContaining('open in another node'),
  });
  expect((await ask(node.addresses.data[0]!, { path: '/readyz' })).status).toBe(200);
});

test('a socket that is taken fails the start and leaves nothing open', async () => {
  const other = createServer();
  const socket = join(folder, 'taken.sock');
  await new Promise<void>((resolve) => other.listen(socket, resolve));
  await expect(start(`[evaluation_plane]\nsocket = "${socket}"`)).rejects.toMatchObject({ reason: 'unavailable' });
  expect(closed).toEqual(['second', 'first']);
  await new Promise((resolve) => other.close(resolve));
  node = await start();
});

test('a directory too long for its sockets fails the start with the limit', async () => {
  await expect(start('', { directory: join(folder, 'x'.repeat(100)) })).rejects.toMatchObject({
    message: expect.stringContaining('the system allows'),
  });
});

test('a part that cannot be opened fails the start and closes those before it', async () => {
  const failing: OpenParts = async ({ onClose }) => {
    onClose('first part', () => closed.push('first'));
    throw new Error('no disk');
  };
  await expect(start('', { openParts: failing })).rejects.toThrow('no disk');
  expect(closed).toEqual(['first']);
  node = await start();
});

test("without require_auth a unix socket gives its own plane's privilege, no more", async () => {
  node = await start('[data_plane.auth]\nrequire_auth = false');
  const get = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'get', params: { key: 'a.b' } });
  expect((await ask(node.addresses.data[0]!, { path: '/rpc', body: get })).json.result).toBeNull();
  expect((await ask(node.addresses.control[0]!, { path: '/rpc', body: get })).status).toBe(401);
});

test('metrics and health have a listener of their own, without the rest of the control plane', async () => {
  node = await start('[observability]\nmetrics_listen = "127.0.0.1:0"');
  const { admin } = await tokens();
  await rpc(node.addresses.control[0]!, admin, 'status');
  const base = `http://${node.metricsAddress}`;
  const text = await (await fetch(`${base}/metrics`)).text();
  expect(text).toContain('ipe_requests_total{plane="control",method="status",outcome="ok"} 1');
  expect(text).toContain('ipe_request_duration_seconds_count{plane="control",method="status"} 1');
  expect((await fetch(`${base}/readyz`)).status).toBe(200);
  expect((await fetch(`${base}/rpc`, { method: 'POST', body: '{}' })).status).toBe(404);
});

test('reload takes in token files, and a bad one takes nothing from the others', async () => {
  const own = join(folder, 'own');
  await mkdir(own);
  node = await start(`[data_plane.auth]\ntokens_path = "${own}"`);
  const token = 'our-own-token-0123456789-abcdef';
  await writeFile(join(own, 'deploy'), token);
  const status = async () => (await rpc(node!.addresses.data[0]!, token, 'get', { key: 'a.b' })).status;
  expect(await status()).toBe(401);
  await node.reload();
  expect(await status()).toBe(200);
  await writeFile(join(own, 'bad'), 'x');
  await expect(node.reload()).rejects.toMatchObject({ reason: 'invalid_params' });
  expect(await status()).toBe(200);
});
