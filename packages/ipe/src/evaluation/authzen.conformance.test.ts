import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Json } from '@ipe/core/policy';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, ask, openTestDoor, type TestDoor } from '../testkit/door.ts';
import { type EvaluationFixtureOptions, evaluationFixture } from '../testkit/evaluation.ts';

/**
 * Vectors that nobody at IPE wrote: the OpenID Foundation's conformance modules and the working group's interop
 * scenarios. Users and records are facts, the scenarios' rules are policies, requests go through the real door.
 */
const shared = join(import.meta.dirname, '../../../../../shared/conformance/authzen');
const examples = join(import.meta.dirname, '../../../../examples/policies/todo');
const present = existsSync(shared);
const read = (path: string) => JSON.parse(readFileSync(join(shared, path), 'utf8'));

interface Vector {
  readonly name: string;
  readonly set: string;
  readonly endpoint: string;
  readonly method: string;
  readonly contentType: string;
  readonly request: { readonly page?: object } | null;
  readonly rawBody: string | null;
  readonly expectedStatus: readonly number[];
  readonly expected: { decision?: boolean; evaluations?: { decision: boolean }[]; results?: object[] } | null;
  readonly xRequestId: boolean;
  readonly skipAuth: boolean;
  readonly corruptAuth: boolean;
  readonly idempotency: boolean;
}

const vectors: readonly Vector[] = present ? read('oidf-conformance-suite-vectors.json').vectors : [];
const scenario = vectors.filter((vector) => vector.set === 'scenarios');
const interop = (endpoint: RegExp) =>
  vectors.filter((vector) => vector.set === 'interop' && endpoint.test(vector.endpoint));

const certification = `matchConditions:
  - expression: subject.type == "user" && resource.type == "record"
variables:
  - name: archived
    expression: has(resource.properties.status) && resource.properties.status == "archived"
  - name: admin
    expression: has(subject.properties.role) && subject.properties.role == "admin"
  - name: soft
    expression: has(action.properties.soft) && action.properties.soft == true
validations:
  - expression: |
      (action.name == "read" && subject.id in ["alice", "bob"]) ||
      (action.name == "write" && (variables.archived ? variables.admin : subject.id == "alice")) ||
      (action.name == "delete" && subject.id == "alice" && variables.soft)
`;
const records = `matchConditions:
  - expression: subject.type == "user" && resource.type == "record"
variables:
  - {name: user, expression: "data.users[subject.id]"}
  - {name: record, expression: "data.records[resource.id]"}
  - {name: owns, expression: variables.record.owner == subject.id}
  - {name: near, expression: variables.record.department == variables.user.department}
validations:
  - expression: |
      variables.owns ||
      (action.name == "view" && (variables.near || variables.user.role == "manager")) ||
      (action.name == "edit" && variables.near && variables.user.role == "manager")
`;
const gateway = `matchConditions:
  - expression: resource.type == "route"
variables:
  - {name: roles, expression: "data.users[subject.id].roles"}
validations:
  - expression: |
      (action.name == "GET" && resource.id in ["/users/{userId}", "/todos"]) ||
      (action.name in ["POST", "PUT", "DELETE"] && resource.id in ["/todos", "/todos/{todoId}"] &&
        variables.roles.exists(role, role in ["editor", "admin", "evil_genius"]))
`;

let door: TestDoor;

async function open(options: EvaluationFixtureOptions): Promise<void> {
  const { service } = await evaluationFixture(options);
  door = await openTestDoor(service);
}

async function send(vector: Vector, body = vector.rawBody ?? JSON.stringify(vector.request)): Promise<Answer> {
  const token = vector.corruptAuth ? 'wrong' : door.tokens.application;
  return ask(door.socketPath, {
    method: vector.method,
    path: vector.endpoint,
    body,
    ...(vector.skipAuth ? {} : { token }),
    headers: { 'content-type': vector.contentType, ...(vector.xRequestId ? { 'x-request-id': 'id-7' } : {}) },
  });
}

/** All pages of a search, following the tokens. */
async function allResults(vector: Vector): Promise<{ first: Answer; results: object[] }> {
  const first = await send(vector);
  const results: object[] = [...(first.json.results ?? [])];
  for (let token: string = first.json.page?.next_token ?? ''; token !== ''; ) {
    const page = { ...vector.request?.page, token };
    const answer = await send(vector, JSON.stringify({ ...vector.request, page }));
    results.push(...answer.json.results);
    token = answer.json.page.next_token;
  }
  return { first, results };
}

const sorted = (results: readonly object[]) =>
  results.map((result) => JSON.stringify(Object.entries(result).sort())).sort();
const decisionsOf = (items: readonly { decision: boolean }[]) => items.map(({ decision }) => decision);

async function check(vector: Vector): Promise<void> {
  const { first, results } = await allResults(vector);
  expect(vector.expectedStatus, first.text).toContain(first.status);
  if (vector.xRequestId) expect(first.headers['x-request-id']).toBe('id-7');
  if (first.status === 401) expect(first.headers['www-authenticate']).toContain('Bearer');
  if (first.status !== 200 || vector.expected === null) return;
  const { decision, evaluations, results: expected } = vector.expected;
  if (decision !== undefined) expect(first.json.decision).toBe(decision);
  if (evaluations !== undefined) expect(decisionsOf(first.json.evaluations)).toEqual(decisionsOf(evaluations));
  if (expected !== undefined && vector.set === 'interop') expect(sorted(results)).toEqual(sorted(expected));
  if (expected !== undefined) expect(sorted(results)).toEqual(expect.arrayContaining(sorted(expected)));
  if (vector.idempotency) expect((await send(vector)).json).toEqual(first.json);
}

const entries = (namespace: string, items: readonly { id: string | number }[]): [string, Json][] =>
  items.map((item) => [`${namespace}.${item.id}`, item as Json]);

const search = {
  user: { namespace: 'users', idField: 'id' },
  record: { namespace: 'records', idField: 'id', actions: ['view', 'edit', 'delete'] },
};

describe.skipIf(!present)(`AuthZEN vectors${present ? '' : ` (skipped: no ${shared})`}`, () => {
  describe('certification scenario', () => {
    beforeAll(() =>
      open({
        policies: { 'record.access': certification },
        facts: [
          ['users.alice', {}],
          ['users.bob', { role: 'admin' }],
          ['records.record-1', { status: 'active' }],
          ['records.record-2', { status: 'archived' }],
        ],
        config: {
          authzenPath: '{resource.type}',
          search: {
            user: { namespace: 'users' },
            record: { namespace: 'records', actions: ['read', 'write', 'delete'] },
          },
        },
      }),
    );
    afterAll(() => door.close());

    test('the set has its 127 modules', () => expect(scenario).toHaveLength(127));
    test.each(scenario)('$name', check);

    const texts = present
      ? (read('vectors.json').vectors as {
          id: string;
          title: string;
          path: string;
          request: unknown;
          expectedStatus?: number | number[];
          expected?: unknown;
        }[])
      : [];
    test.each(
      texts.filter(
        ({ expectedStatus, request }) =>
          expectedStatus !== undefined && !JSON.stringify(request).includes('<next_token'),
      ),
    )('$id $title', async ({ path, request, expectedStatus }) => {
      const answer = await ask(door.socketPath, {
        path,
        token: door.tokens.application,
        body: JSON.stringify(request),
        headers: { 'content-type': 'application/json' },
      });
      expect([expectedStatus].flat()).toContain(answer.status);
    });

    test('the metadata names every endpoint under the address asked', async () => {
      const answer = await ask(door.socketPath, {
        path: '/.well-known/authzen-configuration',
        headers: { host: 'pdp.example.com' },
      });
      expect(answer.json).toMatchObject({
        policy_decision_point: 'https://pdp.example.com',
        access_evaluation_endpoint: 'https://pdp.example.com/access/v1/evaluation',
        search_action_endpoint: 'https://pdp.example.com/access/v1/search/action',
      });
    });
  });

  describe('todo interop', () => {
    const todo = present ? read('todo/decisions-authorization-api-1_0-02.json') : { evaluation: [], evaluations: [] };
    beforeAll(() => {
      const policies = Object.fromEntries(
        ['read', 'create', 'update', 'delete'].map((name) => [
          `todo.${name}`,
          readFileSync(join(examples, `${name}.policy.yaml`), 'utf8'),
        ]),
      );
      const users = Object.entries(read('todo/users.json')).map(([id, user]): [string, Json] => [
        `users.${id}`,
        user as Json,
      ]);
      return open({ policies, facts: users });
    });
    afterAll(() => door.close());

    test('43 of 43 decisions are equal', async () => {
      let equal = 0;
      for (const [kind, cases] of [
        ['evaluation', todo.evaluation],
        ['evaluations', todo.evaluations],
      ] as const)
        for (const { request, expected } of cases) {
          const { json } = await ask(door.socketPath, {
            path: `/access/v1/${kind}`,
            token: door.tokens.application,
            body: JSON.stringify(request),
            headers: { 'content-type': 'application/json' },
          });
          if (kind === 'evaluation') expect(json.decision, JSON.stringify(request)).toBe(expected);
          else expect(decisionsOf(json.evaluations)).toEqual(decisionsOf(expected));
          equal++;
        }
      expect(equal).toBe(43);
    });
    test.each(interop(/evaluation/))('$name', check);
  });

  test('gateway interop: 25 of 25', async () => {
    const users = Object.entries(read('todo/users.json')).map(([id, user]): [string, Json] => [
      `users.${id}`,
      user as Json,
    ]);
    const { rest } = await evaluationFixture({ policies: { gateway }, facts: users });
    const cases = read('gateway/decisions.json').evaluation as { request: unknown; expected: boolean }[];
    expect(cases).toHaveLength(25);
    for (const { request, expected } of cases)
      expect((await rest('/access/v1/evaluation', request)).body.decision, JSON.stringify(request)).toBe(expected);
  });

  describe('search interop', () => {
    beforeAll(() =>
      open({
        policies: { 'record.rules': records },
        facts: [...entries('users', read('search/users.json')), ...entries('records', read('search/records.json'))],
        config: { search },
      }),
    );
    afterAll(() => door.close());

    test.each(interop(/search/).filter(({ name }) => !/idp/.test(name)))('$name', check);
    test('198 of 198 results are equal sets', async () => {
      let equal = 0;
      for (const kind of ['subject', 'resource', 'action'])
        for (const { request, expected } of read(`search/${kind}/results.json`).evaluation) {
          const { json } = await ask(door.socketPath, {
            path: `/access/v1/search/${kind}`,
            token: door.tokens.application,
            body: JSON.stringify(request),
            headers: { 'content-type': 'application/json' },
          });
          expect(sorted(json.results), JSON.stringify(request)).toEqual(sorted(expected.results));
          equal++;
        }
      expect(equal).toBe(198);
    });
  });

  test('identity provider interop: 6 of 6', async () => {
    const { rest } = await evaluationFixture({
      policies: { owner: 'validations: [{expression: "data.records[resource.id].owner == subject.id"}]' },
      facts: [...entries('users', read('idp/users.json')), ...entries('records', read('idp/records.json'))],
      config: { search },
    });
    const cases = read('idp/results.json').search as { request: unknown; expected: { results: object[] } }[];
    expect(cases).toHaveLength(6);
    for (const { request, expected } of cases)
      expect(sorted((await rest('/access/v1/search/resource', request)).body.results)).toEqual(
        sorted(expected.results),
      );
  });
});
