import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  errorCodes,
  type MethodRow,
  methods,
  type Plane,
  planes,
  type TokenKind,
  tokenKinds,
} from '@ipe/client/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../config/index.ts';
import { createLogger } from '../telemetry/logger.ts';
import { ask, rpc } from '../testkit/door.ts';
import { TestSession } from '../testkit/session.ts';
import { type RunningNode, startNode } from './start.ts';

// Who may do what, walked over a running node: every method of every plane, on every plane, with every kind of token,
// over every way in.

let folder: string;
let node: RunningNode;
let tokens: Record<TokenKind, string>;
/** Rows of the table that this build does not serve, as `plane method`; told by the last test. */
const unserved = new Set<string>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipe-'));
  const file = '[control_plane]\nbackend = "memory"\n[predicate_service.data_plane]\nbackend = "memory"\n';
  const log = createLogger({ level: 'silent', format: 'json' });
  node = await startNode({ directory: folder, config: await loadConfig({ file }), version: '0', log });
  tokens = JSON.parse(await readFile(node.credentials.path, 'utf8'));
  for (const plane of planes)
    for (const method of Object.keys(methods[plane])) {
      const answer = await rpc(socketOf(plane), tokens.admin, method, wrong);
      if (answer.json.error?.code === errorCodes.method_not_found.code) unserved.add(`${plane} ${method}`);
    }
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

/** Parameters that no method takes: what is let through answers `invalid_params`, and nothing is changed. */
const wrong = { 'no-such-parameter': true };

const socketOf = (plane: Plane) => node.addresses[plane][0]!;
const rowOf = (plane: Plane, method: string): MethodRow | undefined =>
  Object.hasOwn(methods[plane], method) ? (methods[plane] as Record<string, MethodRow>)[method] : undefined;
const everyMethod = [...new Set(planes.flatMap((plane) => Object.keys(methods[plane])))];
const allCells = planes.flatMap((plane) =>
  everyMethod.flatMap((method) => tokenKinds.map((kind) => ({ plane, method, kind }))),
);

/** What the table says of one cell: the code of the refusal, or undefined where the method itself answers. */
function refusal(plane: Plane, method: string, kind: TokenKind): number | undefined {
  const row = rowOf(plane, method);
  if (row === undefined) return errorCodes.method_not_found.code;
  return row.tokens.includes(kind) ? undefined : errorCodes.forbidden.code;
}

const refusals: readonly number[] = [
  errorCodes.method_not_found.code,
  errorCodes.forbidden.code,
  errorCodes.unauthenticated.code,
];

test('the table has a row for every method of every plane', () => {
  expect(allCells.length).toBe(planes.length * everyMethod.length * tokenKinds.length);
  expect(everyMethod.length).toBeGreaterThan(45);
});

describe.each(planes)('on the %s plane', (plane) => {
  test.for(allCells.filter((cell) => cell.plane === plane))(
    '$method with a token of kind $kind',
    async ({ method, kind }, context) => {
      context.skip(unserved.has(`${plane} ${method}`), 'not served');
      const expected = refusal(plane, method, kind);
      const overRpc = (await rpc(socketOf(plane), tokens[kind], method, wrong)).json;
      if (expected !== undefined) expect(overRpc.error?.code).toBe(expected);
      else if (rowOf(plane, method)?.streaming === true)
        expect(overRpc.error?.code).toBe(errorCodes.invalid_request.code);
      else expect(refusals).not.toContain(overRpc.error?.code);
      expect(overRpc.error?.code).not.toBe(errorCodes.internal.code);

      const session = new TestSession(socketOf(plane), { token: tokens[kind] });
      session.send(method, '1', { params: wrong });
      const frame = await session.next();
      session.close();
      if (expected !== undefined) expect(frame?.data.error?.code).toBe(expected);
      else expect(refusals).not.toContain(frame?.data.error?.code);
    },
  );

  test.each(['', 'ipe_admin_0000000000000000_0000000000000000000000000000000000000000000', 'x'])(
    'no method answers the token %j',
    async (token) => {
      for (const method of Object.keys(methods[plane])) {
        const answer = await rpc(socketOf(plane), token, method, wrong);
        expect([answer.status, answer.json.error.code]).toEqual([401, errorCodes.unauthenticated.code]);
      }
      const answer = await ask(socketOf(plane), { path: '/stream', method: 'POST', token });
      expect(answer.status).toBe(401);
    },
  );
});

describe('REST asks the same table', () => {
  const routes = [
    ['data', 'GET', '/data/a.b', 'get'],
    ['data', 'PUT', '/data/a.b', 'put'],
    ['data', 'DELETE', '/data/a.b', 'delete'],
    ['data', 'GET', '/data?pattern=a.*', 'query'],
    ['data', 'GET', '/events?pattern=a.*', 'subscribe'],
    ['control', 'GET', '/policies', 'list-policies'],
    ['control', 'GET', '/policies/a.b', 'get-policy'],
    ['control', 'PUT', '/policies/a.b', 'put-policy'],
    ['control', 'DELETE', '/policies/a.b', 'delete-policy'],
    ['control', 'GET', '/tree/', 'get-subtree'],
    ['control', 'GET', '/log', 'log'],
    ['control', 'GET', '/diff/a/b', 'diff'],
    ['control', 'GET', '/root', 'status'],
    ['evaluation', 'POST', '/access/v1/evaluation', 'evaluate'],
    ['evaluation', 'POST', '/access/v1/evaluations', 'evaluate'],
    ['evaluation', 'POST', '/access/v1/search/subject', 'evaluate'],
    ['evaluation', 'POST', '/access/v1/search/resource', 'evaluate'],
    ['evaluation', 'POST', '/access/v1/search/action', 'evaluate'],
  ] as const;

  test.each(routes)('%s %s %s', async (plane, method, path, row) => {
    expect((await ask(socketOf(plane), { method, path })).status).toBe(401);
    for (const kind of tokenKinds) {
      if (refusal(plane, row, kind) === undefined || unserved.has(`${plane} ${row}`)) continue;
      expect((await ask(socketOf(plane), { method, path, token: tokens[kind] })).status, kind).toBe(403);
    }
    for (const other of planes) {
      if (other === plane) continue;
      expect(
        (await ask(socketOf(other), { method, path: path.replace('/events', '/data/x.y'), token: tokens.admin }))
          .status,
        other,
      ).toBeOneOf([400, 404]);
    }
  });

  test('health needs no token, on any plane', async () => {
    for (const plane of planes)
      for (const path of ['/livez', '/readyz', '/healthz'])
        expect((await ask(socketOf(plane), { path })).status).toBe(200);
  });
});

describe('namespaces of service tokens', () => {
  const scoped = async (grant: object) => {
    const params = { kind: 'service', name: 'scoped', ...grant };
    return (await rpc(socketOf('control'), tokens.admin, 'token-create', params)).json.result.token as string;
  };
  /** Every data method, with parameters that touch the namespace `ns`. */
  const touching = (ns: string): [string, unknown][] => [
    ['put', { key: `${ns}.k`, value: 1 }],
    ['batch-put', { entries: [{ key: `${ns}.k`, value: 1 }] }],
    ['get', { key: `${ns}.k` }],
    ['batch-get', { keys: [`${ns}.k`] }],
    ['delete', { key: `${ns}.k` }],
    ['transaction', { operations: [{ op: 'put', key: `${ns}.k`, value: 1 }] }],
    ['query', { pattern: `${ns}.*` }],
    ['history', { key: `${ns}.k` }],
    ['add', { key: `${ns}.k`, amount: 1 }],
    ['set-add', { key: `${ns}.k`, members: ['a'] }],
    ['set-remove', { key: `${ns}.k`, members: ['a'] }],
    ['subscribe', { pattern: `${ns}.*` }],
  ];
  const served = (ns: string) => touching(ns).filter(([method]) => !unserved.has(`data ${method}`));
  const isWrite = (method: string) => rowOf('data', method)?.verb === 'write';

  /** The reason each method refused with over a session, `ok` where it did not. */
  async function outcomes(token: string, ns: string): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    const session = new TestSession(socketOf('data'), { token });
    for (const [method, params] of served(ns)) {
      session.send(method, method, { params });
      const frame = await session.next();
      const entries = frame?.data.result?.results as { error?: { data: { reason: string } } }[] | undefined;
      const inner = entries?.[0]?.error?.data.reason;
      found[method] = frame?.data.error?.data.reason ?? inner ?? 'ok';
    }
    session.close();
    return found;
  }

  test('methods cover the whole plane', () => {
    const covered = new Set(touching('a').map(([method]) => method));
    expect(Object.keys(methods.data).filter((method) => !covered.has(method))).toEqual([
      'hold-snapshot',
      'release-snapshot',
      'unsubscribe',
      'stats',
    ]);
  });

  test('a token for one namespace is forbidden every method in another', async () => {
    const found = await outcomes(await scoped({ namespaces: ['mine'] }), 'other');
    expect(new Set(Object.values(found))).toEqual(new Set(['forbidden']));
  });

  test('a token with the verb read is forbidden every write, one with write every read', async () => {
    const reader = await outcomes(await scoped({ verbs: ['read'] }), 'mine');
    const writer = await outcomes(await scoped({ verbs: ['write'] }), 'mine');
    for (const [method] of served('mine')) {
      expect(reader[method] === 'forbidden', `reader ${method}: ${reader[method]}`).toBe(isWrite(method));
      expect(writer[method] === 'forbidden', `writer ${method}: ${writer[method]}`).toBe(!isWrite(method));
    }
  });

  test('reserved namespaces are closed to everyone, admins included', async () => {
    for (const token of [tokens.admin, tokens.service, await scoped({})]) {
      const found = await outcomes(token, '_sys');
      for (const [method, reason] of Object.entries(found))
        expect(['forbidden', 'invalid_params'], `${method}: ${reason}`).toContain(reason);
    }
  });
});

test('every row of the table is served', () => {
  expect([...unserved]).toEqual([]);
});
