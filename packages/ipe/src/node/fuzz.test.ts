import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { methods, type Plane, planes } from '@ipe/client/protocol';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeMsgpack, encodeMsgpack } from '../api/msgpack.ts';
import { loadConfig } from '../config/index.ts';
import { createLogger } from '../telemetry/logger.ts';
import { ask } from '../testkit/door.ts';
import { TestSession } from '../testkit/session.ts';
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

/** Requests of one plane, right in most parts. Mirrors would reach for repositories; everything else is fair game. */
function requestsOf(plane: Plane): fc.Arbitrary<{ readonly method: unknown; readonly params: unknown }> {
  const every = Object.keys(methods[plane]).filter(
    (method) => !method.startsWith('sync-') && method !== 'token-revoke',
  );
  return fc.constantFrom(...every).chain((method) => {
    const fields = shaped[method] ?? [];
    const base = fc.record(
      Object.fromEntries(fields.map((name) => [name, fc.oneof({ weight: 6, arbitrary: good[name]! }, odd)])),
    );
    const own = fc
      .tuple(base, fc.option(fc.tuple(fc.constantFrom(...extra), odd)))
      .map(([given, more]) => (more === null ? given : { ...given, [more[0]]: more[1] }));
    return fc.oneof({ weight: 3, arbitrary: own }, params, odd).map((each) => ({ method, params: each }));
  });
}

test.each(planes)('no request makes the %s plane fail', async (plane) => {
  const request = requestsOf(plane).map((each) => call(each.method, each.params));
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

const isHealthy = async (plane: Plane) => {
  expect(internal).toEqual([]);
  expect((await ask(node.addresses[plane][0]!, { path: '/readyz' })).status).toBe(200);
};

test.each(planes)('no request in MessagePack makes the %s plane fail', async (plane) => {
  const headers = { 'content-type': 'application/msgpack' };
  await fc.assert(
    fc.asyncProperty(fc.array(requestsOf(plane), { minLength: 1, maxLength: 4 }), async (batch) => {
      const body = encodeMsgpack(batch.map((each) => call(each.method, each.params)));
      const answer = await ask(node.addresses[plane][0]!, { path: '/rpc', token: admin, headers, body });
      if (answer.status === 400) return;
      expect(answer.status).toBe(200);
      for (const [i, each] of (decodeMsgpack(answer.bytes, 64) as { error?: { code: number } }[]).entries())
        expect(each.error?.code, JSON.stringify(batch[i])).not.toBe(-32603);
    }),
    { numRuns: runs },
  );
  await isHealthy(plane);
});

test.each(planes)('no frame of a session makes the %s plane fail, and each gets its answer in order', async (plane) => {
  await fc.assert(
    fc.asyncProperty(fc.array(requestsOf(plane), { minLength: 1, maxLength: 12 }), async (frames) => {
      const session = new TestSession(node.addresses[plane][0]!, { token: admin });
      for (const [i, { method, params: given }] of frames.entries())
        session.send(typeof method === 'string' ? method : 'x', String(i), { method, params: given });
      for (let i = 0; i < frames.length; ) {
        const frame = await session.next();
        // A frame that is no frame ends the session, with an error that says so.
        if (frame === undefined || (frame.event === 'error' && frame.id === undefined)) break;
        if (frame.event !== 'result' && frame.event !== 'error') continue;
        expect(frame.id).toBe(String(i));
        expect(frame.data.error?.code, JSON.stringify(frames[i])).not.toBe(-32603);
        i++;
      }
      session.close();
    }),
    { numRuns: runs },
  );
  await isHealthy(plane);
});

test.each(['control', 'data'] as const)('no REST request makes the %s plane fail', async (plane) => {
  const segment = fc.oneof(
    good['key']!.map(String),
    good['path']!.map(String),
    odd.map((value) => (typeof value === 'string' ? value : JSON.stringify(value))),
  );
  const place = fc.constantFrom(
    ...(plane === 'data' ? ['data', 'events'] : ['policies', 'tree', 'log', 'diff', 'root', 'nowhere']),
  );
  const name = fc.constantFrom('pattern', 'limit', 'cursor', 'filter', 'from', 'fresh_as_of', 'prefix', 'depth', 'ref');
  const header = fc.constantFrom('if-match', 'if-none-match', 'ipe-ttl', 'ipe-ack', 'idempotency-key', 'last-event-id');
  const ascii = segment.map((text) => text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 200));
  const wellFormed = (text: string) => encodeURIComponent(text.replaceAll(/[\ud800-\udfff]/g, '?'));
  const request = fc.record({
    method: fc.constantFrom('GET', 'PUT', 'DELETE', 'POST', 'PATCH', 'HEAD'),
    place,
    segments: fc.array(segment, { maxLength: 2 }),
    query: fc.array(fc.tuple(name, segment), { maxLength: 3 }),
    headers: fc.array(fc.tuple(header, ascii), { maxLength: 2 }),
    body: fc.option(fc.oneof(fc.json({ maxDepth: 3 }), fc.constant(policy), fc.string()), { nil: undefined }),
  });
  await fc.assert(
    fc.asyncProperty(request, async ({ method, place: first, segments, query, headers, body }) => {
      // A subscription that is accepted does not end by itself.
      const isFollowing = first === 'events' && method === 'GET';
      const pairs = isFollowing ? query.filter(([each]) => each !== 'pattern') : query;
      const search = pairs.map(([each, value]) => `${each}=${wellFormed(value)}`).join('&');
      const path = `/${[first, ...segments.map(wellFormed)].join('/')}${search === '' ? '' : `?${search}`}`;
      const given = method === 'GET' || method === 'HEAD' ? {} : { body: body ?? '' };
      const answer = await ask(node.addresses[plane][0]!, {
        method,
        path,
        token: admin,
        headers: Object.fromEntries(headers),
        ...given,
      });
      expect(answer.status, `${method} ${path}: ${answer.text}\n${internal.at(-1)}`).not.toBe(500);
      expect(answer.status).toBeGreaterThanOrEqual(200);
    }),
    { numRuns: runs },
  );
  await isHealthy(plane);
});

test('memory does not grow with what is refused', async () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const usedBytes = async () => {
    // Whatever waits for its turn to be given up is given it.
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      gc();
    }
    return process.memoryUsage().heapUsed;
  };
  const refused = requestsOf('data').map(({ method, params: given }) =>
    call(method, typeof given === 'object' && given !== null ? { ...given, no_such_field: 1 } : given),
  );
  const round = async (seed: number) => {
    for (const batch of fc.sample(fc.array(refused, { minLength: 4, maxLength: 4 }), { seed, numRuns: 300 }))
      await send('data', batch);
  };
  await round(1);
  const before = await usedBytes();
  for (let seed = 2; seed < 5; seed++) await round(seed);
  expect((await usedBytes()) - before).toBeLessThan(8 * 1024 * 1024);
});
