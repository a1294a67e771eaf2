import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { methods, type Plane, planes } from '@ipe/client/protocol';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../config/index.ts';
import { createLogger } from '../telemetry/logger.ts';
import { ask } from '../testkit/door.ts';
import { type RunningNode, startNode } from './start.ts';

// Requests that know what a request looks like and get parts of it wrong, against a whole node. Whatever comes back is
// an answer or an error of the registry; never `internal`, a crash or silence. IPE_FUZZ_RUNS=20000 for a long run.

const runs = Number(process.env['IPE_FUZZ_RUNS'] ?? 250);
let folder: string;
let node: RunningNode;
let admin: string;
const internal: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipe-'));
  const file = `
[control_plane]
backend = "memory"
[predicate_service.data_plane]
backend = "memory"
[predicate_service.data_plane.namespaces.limits]
conflict_strategy = "counter"
[predicate_service.data_plane.namespaces.groups]
conflict_strategy = "set"
[predicate_service.data_plane.namespaces.votes]
conflict_strategy = "version-vector"
resolver = "siblings"
`;
  const log = createLogger({ level: 'error', format: 'json', write: (line) => internal.push(line) });
  node = await startNode({ directory: folder, config: await loadConfig({ file }), version: '0', log });
  admin = JSON.parse(await readFile(node.credentials.path, 'utf8')).admin;
  await send('control', [call('put-policy', { path: 'prod.deploy', source: policy })]);
  await send('data', [call('put', { key: 'approvals.d1', value: { approvers: ['a'] } })]);
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

const policy = `
validations:
  - expression: 'resource.id in data.approvals && size(data.approvals[resource.id].approvers) >= 2'
    reason: approvals_missing
`;
const call = (method: unknown, params: unknown, id: unknown = 1) => ({ jsonrpc: '2.0', id, method, params });
const send = (plane: Plane, body: unknown) =>
  ask(node.addresses[plane][0]!, {
    path: '/rpc',
    token: admin,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

/** Values that have broken programs before. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -0,
    -1,
    1,
    1.5,
    1e308,
    -1e308,
    2 ** 31,
    2 ** 53,
    5e-324,
    '',
    ' ',
    '.',
    '..',
    'a',
    'a.',
    '.a',
    'a..b',
    'a.b',
    'a.b.c',
    '*',
    'a.*',
    '*.*',
    '_sys.x',
    '_sys.*',
    'A.B',
    'ä.ö',
    '\u0000',
    'a.\u0000',
    '\ud800',
    'a.\ud800',
    '\u202e',
    'constructor',
    'constructor.x',
    'toString.x',
    'hasOwnProperty',
    'main',
    'HEAD',
    'peers:1',
    'local',
    '0'.repeat(64),
    'f'.repeat(64),
    [],
    {},
    [[]],
    [null],
    [{}],
    { a: null },
    'x'.repeat(600),
    'a.'.repeat(300),
    '💥'.repeat(140),
  ),
  fc.jsonValue({ maxDepth: 3 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
const good: Record<string, fc.Arbitrary<unknown>> = {
  key: fc.constantFrom('approvals.d1', 'approvals.d2', 'limits.a', 'groups.g', 'votes.v', 'new.k.l'),
  keys: fc.constantFrom<unknown>(['approvals.d1', 'limits.a'], []),
  pattern: fc.constantFrom('approvals.*', 'approvals.d1', 'limits.*.*', '*.d1'),
  value: fc.jsonValue({ maxDepth: 3 }),
  entries: fc.constantFrom<unknown>(
    [{ key: 'approvals.d3', value: 1 }],
    [{ key: 'bad' }, { key: 'approvals.d4', value: 2 }],
  ),
  operations: fc.constantFrom<unknown>(
    [
      { op: 'put', key: 'approvals.d5', value: 1 },
      { op: 'delete', key: 'approvals.d3' },
    ],
    [],
  ),
  members: fc.constantFrom<unknown>(['a', 'b'], [1, null, { x: 1 }]),
  amount: fc.constantFrom<unknown>(1, -5, 0.5),
  path: fc.constantFrom('prod.deploy', 'prod', '', 'prod.other', 'staging.x.y'),
  source: fc.constantFrom(
    policy,
    'validations: []',
    ': : :',
    'validations: [{expression: "1 +"}]',
    '- a\n- b',
    '&a [*a]',
    'x: !!js/function y',
  ),
  test: fc.constantFrom('tests: []', 'x'),
  changes: fc.constantFrom<unknown>(
    [{ path: 'prod.second', source: policy }],
    [{ path: 'prod.second', delete: true }],
    [{ path: 'prod', source: policy }],
  ),
  subject: fc.constant({ type: 'user', id: 'alice' }),
  action: fc.constant({ name: 'deploy' }),
  resource: fc.constant({ type: 'deployment', id: 'd1' }),
  evaluations: fc.constantFrom<unknown>(
    [
      {
        id: 1,
        path: 'prod',
        subject: { type: 'u', id: 'a' },
        action: { name: 'x' },
        resource: { type: 'd', id: 'd1' },
      },
    ],
    [{}],
  ),
  receipt: fc.constantFrom('none', 'plain', 'signed', 'full'),
  limit: fc.constantFrom<unknown>(1, 10, 0, 1e9),
  kind: fc.constantFrom('service', 'admin'),
  name: fc.constantFrom('svc', 'x y'),
  level: fc.constantFrom('quick', 'connectivity', 'full'),
  ref: fc.constantFrom('main', 'staging', 'nope'),
  from: fc.constantFrom('main', 'staging', '0'),
  to: fc.constantFrom('main', 'staging', 'prod.deploy'),
  retention_days: fc.constantFrom<unknown>(0, 30),
};
const extra = [
  'ttl',
  'if_version',
  'if_match',
  'ack',
  'request_id',
  'fresh_as_of',
  'cursor',
  'filter',
  'window',
  'root',
  'expected_root',
  'expected_version',
  'message',
  'dry_run',
  'depth',
  'order',
  'prefix',
  'context',
  'explain',
  'now',
  'paths',
  'subscription',
  'id',
  'namespaces',
  'verbs',
  'expires_at',
  'include_existing',
  'since',
  'repository',
  'commit',
];
const names = [...Object.keys(good), ...extra];
const params = fc
  .array(fc.tuple(fc.constantFrom(...names), fc.boolean(), odd), { maxLength: 7 })
  .chain((fields) =>
    fc.tuple(
      ...fields.map(([name, isOdd, value]) =>
        isOdd || good[name] === undefined
          ? fc.constant([name, value] as const)
          : good[name].map((each) => [name, each] as const),
      ),
    ),
  )
  .map((pairs) => Object.fromEntries(pairs as readonly (readonly [string, unknown])[]));

/** Parameters that are right for the method, so that what lies behind the checks is reached too. */
const shaped: Record<string, readonly string[]> = {
  put: ['key', 'value'],
  'batch-put': ['entries'],
  get: ['key'],
  'batch-get': ['keys'],
  delete: ['key'],
  transaction: ['operations'],
  query: ['pattern', 'limit'],
  history: ['key', 'limit'],
  add: ['key', 'amount'],
  'set-add': ['key', 'members'],
  'set-remove': ['key', 'members'],
  'put-policy': ['path', 'source'],
  'delete-policy': ['path'],
  apply: ['changes'],
  check: ['changes'],
  'get-policy': ['path'],
  'list-children': ['path'],
  'get-subtree': ['path', 'limit'],
  diff: ['from', 'to'],
  promote: ['from', 'to'],
  verify: ['level'],
  gc: ['retention_days'],
  evaluate: ['path', 'subject', 'action', 'resource', 'receipt'],
  'evaluate-batch': ['evaluations'],
  'token-create': ['kind', 'name'],
  prove: ['path'],
};

test.each(planes)('no request makes the %s plane fail', async (plane) => {
  // Mirrors would reach for repositories; everything else is fair game.
  const every = Object.keys(methods[plane]).filter(
    (method) => !method.startsWith('sync-') && method !== 'token-revoke',
  );
  const request = fc.constantFrom(...every).chain((method) => {
    const fields = shaped[method] ?? [];
    const base = fc.record(
      Object.fromEntries(fields.map((name) => [name, fc.oneof({ weight: 6, arbitrary: good[name]! }, odd)])),
    );
    const own = fc
      .tuple(base, fc.option(fc.tuple(fc.constantFrom(...extra), odd)))
      .map(([given, more]) => (more === null ? given : { ...given, [more[0]]: more[1] }));
    return fc.oneof({ weight: 3, arbitrary: own }, params, odd).map((each) => call(method, each));
  });
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 4 }), async (batch) => {
      const answer = await send(plane, batch);
      if (JSON.stringify(batch).includes('"__proto__":')) {
        expect(answer.status, 'a member of this name is refused at the door').toBe(400);
        return;
      }
      expect(answer.status).toBe(200);
      for (const [i, each] of (answer.json as { error?: { code: number; message: string } }[]).entries())
        expect(each.error?.code, `${JSON.stringify(batch[i])}: ${each.error?.message}\n${internal.at(-1)}`).not.toBe(
          -32603,
        );
    }),
    { numRuns: runs },
  );
  expect(internal).toEqual([]);
  expect((await ask(node.addresses[plane][0]!, { path: '/readyz' })).status).toBe(200);
});
