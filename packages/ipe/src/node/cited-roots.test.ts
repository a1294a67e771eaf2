import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { loadConfig } from '../config/index.ts';
import { createLogger } from '../telemetry/logger.ts';
import { rpc } from '../testkit/door.ts';
import { type RunningNode, startNode } from './start.ts';

// What collection leaves to the decision log, in a whole node. Only the calendar is set by the test.

const dayMs = 86_400_000;
const begin = Date.UTC(2026, 0, 1);
const log = createLogger({ level: 'silent', format: 'json' });
let folder: string;
let node: RunningNode;
let tokens: { admin: string };

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: begin });
  folder = await mkdtemp(join(tmpdir(), 'ipe-'));
  await start();
});
afterEach(async () => {
  await node.close();
  vi.useRealTimers();
  await rm(folder, { recursive: true, force: true });
});

async function start(): Promise<void> {
  const config = await loadConfig({ flags: { 'evaluation_plane.decision_log': 'all' } });
  node = await startNode({ directory: folder, config, version: '0', log });
  tokens = JSON.parse(await readFile(join(folder, 'credentials.json'), 'utf8'));
}
const at = (day: number) => vi.setSystemTime(begin + day * dayMs);
const call = async (plane: 'control' | 'evaluation', method: string, params: object) => {
  const { json } = await rpc(node.addresses[plane][0]!, tokens.admin, method, params);
  if (json.error !== undefined) throw new Error(json.error.data.reason);
  return json.result;
};
const put = (expression: string) =>
  call('control', 'put-policy', { path: 'a.gate', source: `validations: [{expression: "${expression}"}]` });
const collect = () => call('control', 'gc', { retention_days: 30, grace_seconds: 0 });
const request = {
  path: 'a.gate',
  subject: { type: 'user', id: 'alice' },
  action: { name: 'open' },
  resource: { type: 'door', id: '1' },
  receipt: 'full',
};

test('a logged decision keeps its root through collection and restarts until retention has passed, and is replayed', async () => {
  const { commit: first } = await put('false');
  at(1);
  await put('1 > 2');
  at(2);
  await put('true');
  at(100);
  const { receipt } = await call('evaluation', 'evaluate', { ...request, root: first });
  const replay = () => call('evaluation', 'replay', { receipt });
  expect((await collect()).cited_roots).toBe(1);
  expect((await collect()).deleted).toBeGreaterThan(0);
  expect(await replay()).toMatchObject({ decision: 'deny', same: true });
  await node.close();
  await start();
  at(129);
  await collect();
  await collect();
  expect(await replay()).toMatchObject({ decision: 'deny', same: true });
  at(131);
  expect((await collect()).cited_roots).toBe(0);
  expect((await collect()).deleted).toBeGreaterThan(0);
  await expect(replay()).rejects.toThrow('not_found');
});
