import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../config/index.ts';
import { createLogger } from '../telemetry/logger.ts';
import { ask, rpc } from '../testkit/door.ts';
import { type RunningNode, startNode } from './start.ts';

// Decisions of a whole node: policies put through the control socket, facts through the data socket, both on disk.

const examples = join(import.meta.dirname, '../../../../examples/policies');
const todo = join(import.meta.dirname, '../../../../../shared/conformance/authzen/todo');

let folder: string;
let node: RunningNode;
let tokens: { admin: string; service: string; application: string };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipe-'));
  const log = createLogger({ level: 'silent', format: 'json' });
  const file = '[evaluation_plane.search.user]\nnamespace = "users"\n';
  node = await startNode({ directory: folder, config: await loadConfig({ file }), version: '0', log });
  tokens = JSON.parse(await readFile(node.credentials.path, 'utf8'));
  const changes = [];
  for (const name of await readdir(examples, { recursive: true }))
    if (name.endsWith('.policy.yaml')) {
      const path = name.slice(0, -'.policy.yaml'.length).replaceAll('/', '.');
      changes.push({ path, source: await readFile(join(examples, name), 'utf8') });
    }
  await control('apply', { changes });
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

const answerOf = async (reply: ReturnType<typeof rpc>) => {
  const { json } = await reply;
  if (json.error !== undefined) throw new Error(JSON.stringify(json.error));
  return json.result;
};
const control = (method: string, params: object) =>
  answerOf(rpc(node.addresses.control[0]!, tokens.admin, method, params));
const data = (method: string, params: object) => answerOf(rpc(node.addresses.data[0]!, tokens.service, method, params));
const evaluate = (params: object, token = tokens.application) =>
  answerOf(rpc(node.addresses.evaluation[0]!, token, 'evaluate', params));
const authzen = async (kind: string, request: unknown) =>
  (
    await ask(node.addresses.evaluation[0]!, {
      path: `/access/v1/${kind}`,
      token: tokens.application,
      body: JSON.stringify(request),
      headers: { 'content-type': 'application/json' },
    })
  ).json;

const deployment = (id: string, more: object = {}) => ({
  path: 'prod.deployment.approval',
  subject: { type: 'user', id: 'alice' },
  action: { name: 'deploy' },
  resource: { type: 'deployment', id, properties: { environment: 'production' } },
  ...more,
});
const seniors = (...users: string[]) => ({ approvers: users.map((user) => ({ user, role: 'senior_engineer' })) });

test('a deny turns to allow when the approval is written, and a decision can insist on having seen the write', async () => {
  const before = await evaluate(deployment('d1'));
  expect(before).toMatchObject({ decision: 'deny', reasons: [{ reason: 'approvals_missing' }] });
  expect(before.receipt.reads).toEqual([{ key: 'approvals.d1', absent: true }]);
  const { token } = await data('put', { key: 'approvals.d1', value: seniors('bo', 'cy') });
  const after = await evaluate(deployment('d1', { fresh_as_of: token }));
  expect(after.decision).toBe('allow');
  expect(after.receipt.reads).toMatchObject([{ key: 'approvals.d1', dots: [expect.any(String)] }]);
  await data('delete', { key: 'approvals.d1' });
  expect((await evaluate(deployment('d1'))).decision).toBe('deny');
});

test('a fact expires by the time of the decision', async () => {
  const { updated_at } = await data('put', { key: 'approvals.d2', value: seniors('bo', 'cy'), ttl: 1000 });
  const at = async (now: number) => (await evaluate(deployment('d2', { now }), tokens.admin)).decision;
  expect([await at(updated_at + 999), await at(updated_at + 1001)]).toEqual(['allow', 'deny']);
});

test('a full receipt is replayed to the same decision, also after facts and policies have changed', async () => {
  await data('put', { key: 'approvals.d3', value: seniors('bo') });
  const { receipt } = await evaluate(deployment('d3', { receipt: 'full' }));
  await data('put', { key: 'approvals.d3', value: seniors('bo', 'cy') });
  const { version } = await control('get-policy', { path: 'prod.deployment.approval' });
  const source = 'validations: [{expression: "true"}]';
  await control('put-policy', { path: 'prod.deployment.approval', source, expected_version: version });
  const replay = (params: object) => answerOf(rpc(node.addresses.evaluation[0]!, tokens.admin, 'replay', params));
  expect(await replay({ receipt })).toMatchObject({ decision: 'deny', same: true, signature: 'valid' });
  expect(await replay({ receipt, root: 'main' })).toMatchObject({ decision: 'allow', same: false });
  await control('restore', { root: receipt.root });
  expect((await evaluate(deployment('d3'))).decision).toBe('allow');
});

test('all of a batch sees the facts of one moment, whatever is written meanwhile', async () => {
  const evaluations = Array.from({ length: 200 }, (_, id) => ({ id, ...deployment('d5', { receipt: 'none' }) }));
  let writing = true;
  const writes = (async () => {
    for (let n = 0; writing; n++)
      await data('put', { key: 'approvals.d5', value: n % 2 === 0 ? seniors('bo', 'cy') : seniors('bo') });
  })();
  const seen = new Set<string>();
  for (let batch = 0; batch < 20; batch++) {
    const params = { evaluations };
    const { results } = await answerOf(
      rpc(node.addresses.evaluation[0]!, tokens.application, 'evaluate-batch', params),
    );
    const decisions = new Set<string>(results.map((result: { decision: string }) => result.decision));
    expect([...decisions]).toHaveLength(1);
    for (const decision of decisions) seen.add(decision);
  }
  writing = false;
  await writes;
  expect(['allow', 'deny']).toEqual(expect.arrayContaining([...seen]));
});

test('a plain receipt is replayed with the versions it names, as long as those are held', async () => {
  await data('put', { key: 'approvals.d4', value: seniors('bo') });
  const request = deployment('d4');
  const { receipt } = await evaluate(request);
  const { receipt: full } = await evaluate(deployment('d4', { receipt: 'full' }));
  await data('put', { key: 'approvals.d4', value: seniors('bo', 'cy') });
  expect((await evaluate(request)).decision).toBe('allow');
  const replayed = await answerOf(
    rpc(node.addresses.evaluation[0]!, tokens.admin, 'replay', { receipt: { ...receipt, input: full.input } }),
  );
  expect(replayed).toMatchObject({ decision: 'deny', same: true, facts: 'versions' });
});

test.skipIf(!existsSync(todo))(
  `43 of 43 Todo decisions are equal${existsSync(todo) ? '' : ` (skipped: no ${todo})`}`,
  async () => {
    const users = JSON.parse(await readFile(join(todo, 'users.json'), 'utf8')) as Record<string, object>;
    const entries = Object.entries(users).map(([id, value]) => ({ key: `users.${id}`, value }));
    await data('batch-put', { entries });
    const cases = JSON.parse(await readFile(join(todo, 'decisions-authorization-api-1_0-02.json'), 'utf8'));
    let equal = 0;
    for (const { request, expected } of cases.evaluation) {
      expect((await authzen('evaluation', request)).decision, JSON.stringify(request)).toBe(expected);
      equal++;
    }
    for (const { request, expected } of cases.evaluations) {
      const { evaluations } = await authzen('evaluations', request);
      expect(evaluations.map((e: { decision: boolean }) => e.decision)).toEqual(
        expected.map((e: { decision: boolean }) => e.decision),
      );
      equal++;
    }
    expect(equal).toBe(43);
    const editors = await authzen('search/subject', {
      subject: { type: 'user' },
      action: { name: 'can_create_todo' },
      resource: { type: 'todo', id: 'new' },
    });
    expect(editors.results).toHaveLength(3);
  },
);
