import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Config, loadConfig } from '../config/index.ts';
import { createLogger } from '../telemetry/logger.ts';
import { ask, rpc } from '../testkit/door.ts';
import { type RunningNode, startNode } from './start.ts';
import { callStoppedTokens } from './stopped-tokens.ts';

// A whole node on disk, in this process.

let folder: string;
let config: Config;
let node: RunningNode;
let tokens: { admin: string; service: string; application: string };
const log = createLogger({ level: 'silent', format: 'json' });

async function start(): Promise<void> {
  node = await startNode({ directory: folder, config, version: '0', log });
  tokens = JSON.parse(await readFile(join(folder, 'credentials.json'), 'utf8'));
}
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipe-'));
  config = await loadConfig();
  await start();
});
afterEach(async () => {
  await node.close();
  await rm(folder, { recursive: true, force: true });
});

const control = (method: string, params: unknown = {}, token = tokens.admin) =>
  rpc(node.addresses.control[0]!, token, method, params);
const data = (method: string, params: unknown = {}, token = tokens.service) =>
  rpc(node.addresses.data[0]!, token, method, params);
const evaluate = async () => {
  const params = {
    path: 'prod.deploy',
    subject: { type: 'user', id: 'alice' },
    action: { name: 'deploy' },
    resource: { type: 'deployment', id: 'd1' },
  };
  return (await rpc(node.addresses.evaluation[0]!, tokens.application, 'evaluate', params)).json;
};
const source = `
validations:
  - expression: 'resource.id in data.approvals && size(data.approvals[resource.id].approvers) >= 2'
    reason: approvals_missing
`;

test('a policy and an approval turn a deny into an allow, before and after a restart', async () => {
  expect((await evaluate()).error.data.reason).toBe('not_found');
  expect((await control('put-policy', { path: 'prod.deploy', source })).json.result.path).toBe('prod.deploy');
  expect((await evaluate()).result).toMatchObject({ decision: 'deny', reasons: [{ reason: 'approvals_missing' }] });
  await data('put', { key: 'approvals.d1', value: { approvers: ['a', 'b'] } });
  const allowed = (await evaluate()).result;
  expect(allowed.decision).toBe('allow');
  const { root } = (await control('status')).json.result;
  await node.close();
  await start();
  expect((await evaluate()).result).toMatchObject({
    decision: 'allow',
    receipt: { root, reads: allowed.receipt.reads },
  });
});

test('status tells what each tier of the policies holds: planned, indexed, on disk', async () => {
  await control('put-policy', { path: 'prod.deploy', source });
  const before = (await control('status')).json.result.planned_policies;
  expect(before).toMatchObject({ entries: 0, bytes: 0, max_bytes: 10 * 1024 * 1024, max_age: 300 });
  await evaluate();
  await evaluate();
  const { planned_policies: planned, tree, policies, disk } = (await control('status')).json.result;
  expect(planned).toMatchObject({ entries: 1, misses: before.misses + 1 });
  expect(planned.hits).toBeGreaterThan(before.hits);
  expect(planned.bytes).toBeGreaterThan(0);
  expect(policies).toBe(1);
  expect(tree.cache.max_bytes).toBeGreaterThan(0);
  expect(disk.policies_bytes).toBeGreaterThan(0);
  expect(disk.data_bytes).toBeGreaterThan(0);
});

test('tokens and revocations outlive a restart, and are made and revoked on a stopped directory too', async () => {
  const made = (await control('token-create', { kind: 'service', name: 'first' })).json.result;
  const gone = (await control('token-create', { kind: 'service', name: 'second' })).json.result;
  await control('token-revoke', { id: gone.id });
  await node.close();
  const offline = (method: 'token-create' | 'token-list' | 'token-revoke', params: unknown = {}) =>
    callStoppedTokens({ directory: folder, config, method, params, now: Date.now }) as Promise<Record<string, never>>;
  const third = await offline('token-create', { kind: 'service', name: 'third', namespaces: ['approvals'] });
  expect((await offline('token-list'))['tokens']).toHaveLength(5);
  await offline('token-revoke', { id: made.id });
  await start();
  const status = async (token: string) => (await data('get', { key: 'approvals.x' }, token)).status;
  expect([await status(made.token), await status(gone.token), await status(third['token']!)]).toEqual([401, 401, 200]);
  await expect(offline('token-list')).rejects.toMatchObject({ reason: 'unavailable' });
});

test('no token is found in any file but credentials.json', async () => {
  await control('token-create', { kind: 'service', name: 'x' });
  await node.close();
  const secrets = Object.values(tokens).map((token) => token.slice(-43));
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === 'credentials.json') continue;
    const bytes = await readFile(join(entry.parentPath, entry.name), 'latin1');
    for (const secret of secrets) expect(bytes.includes(secret), entry.name).toBe(false);
  }
  await start();
});

test('facts written over REST are what decisions read, and conditions hold', async () => {
  const socket = node.addresses.data[0]!;
  const put = (body: string, headers: Record<string, string> = {}) =>
    ask(socket, { method: 'PUT', path: '/data/approvals.d1', token: tokens.service, body, headers });
  await control('put-policy', { path: 'prod.deploy', source });
  const created = await put('{"approvers":["a"]}', { 'if-none-match': '*' });
  expect(created.status).toBe(201);
  expect((await put('{}', { 'if-none-match': '*' })).status).toBe(412);
  const replaced = await put('{"approvers":["a","b"]}', { 'if-match': created.headers['etag'] as string });
  expect([replaced.status, replaced.headers['ipe-version']]).toEqual([200, '2']);
  expect((await evaluate()).result.decision).toBe('allow');
  expect((await ask(socket, { method: 'DELETE', path: '/data/approvals.d1', token: tokens.service })).status).toBe(204);
  expect((await evaluate()).result.decision).toBe('deny');
  expect((await ask(socket, { path: '/data/approvals.d1', token: tokens.service })).status).toBe(404);
});

test('policies are read and written as YAML over REST', async () => {
  const socket = node.addresses.control[0]!;
  const at = (method: string, path: string, body?: string, headers: Record<string, string> = {}) =>
    ask(socket, { method, path, token: tokens.admin, headers, ...(body === undefined ? {} : { body }) });
  const created = await at('PUT', '/policies/prod.deploy', source, { 'if-none-match': '*' });
  expect([created.status, created.json.path]).toEqual([201, 'prod.deploy']);
  const read = await at('GET', '/policies/prod.deploy');
  expect([read.headers['content-type'], read.text, read.headers['etag']]).toEqual([
    'application/yaml',
    source,
    created.headers['etag'],
  ]);
  expect((await at('PUT', '/policies/prod.deploy', source, { 'if-none-match': '*' })).status).toBe(412);
  expect((await at('PUT', '/policies/prod.deploy', 'validations: 5')).status).toBe(422);
  expect((await at('GET', '/policies?prefix=prod')).json.policies).toHaveLength(1);
  expect((await at('GET', '/tree/prod')).json.nodes).toHaveLength(2);
  expect((await at('GET', '/root')).json.root).toBe((await at('GET', '/log')).json.commits[0].root);
  expect((await at('GET', '/policies/prod.deploi')).json.error.data.nearest).toBe('prod.deploy');
  expect((await at('DELETE', '/policies/prod.deploy')).status).toBe(200);
  expect((await at('GET', '/policies/prod.deploy')).status).toBe(404);
});
