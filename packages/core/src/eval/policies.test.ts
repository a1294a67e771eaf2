import { expect, test } from 'vitest';
import { primitives } from '../../test/node-runtime.ts';
import { compilePolicy, parseTestDocument, planPolicy, readRequest } from '../policy/index.ts';
import { decide, type Outcome, type PolicyAt } from './decide.ts';
import { type Facts, factsFromMap } from './facts.ts';
import { makeReceipt, receiptBytes, sameReceipt } from './receipt.ts';
import { compareReceipts, factsOfReceipt } from './replay.ts';
import { runTests } from './run-tests.ts';

/** The policy of DESIGN §3, and its tests. */
const source = `description: Production deployments need two senior approvals
matchConditions:
  - name: production
    expression: resource.properties.environment in ["production", "staging"]
variables:
  - name: approvers
    expression: 'resource.id in data.approvals ? data.approvals[resource.id].approvers : []'
  - name: seniors
    expression: variables.approvers.filter(a, a.role == "senior_engineer")
validations:
  - expression: size(variables.seniors) >= params.required
    message: needs two senior approvals
    messageExpression: '"has " + string(size(variables.seniors)) + " senior approvals"'
    reason: approvals_missing
params: {required: 2}
`;

function policy(path = 'prod.deployment.approval', text = source): PolicyAt {
  const result = compilePolicy(text, { primitives });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return { path, id: `tree-${path}`, planned: planPolicy(result.compiled.program, primitives) };
}

function requestFor(id: string, environment = 'production') {
  const read = readRequest({
    subject: { type: 'user', id: 'alice' },
    action: { name: 'deploy' },
    resource: { type: 'deployment', id, properties: { environment } },
  });
  if (!read.ok) throw new Error(read.problem.message);
  return read.request;
}

const seniors = (...names: string[]) => ({ approvers: names.map((name) => ({ name, role: 'senior_engineer' })) });
const facts = factsFromMap(
  new Map<string, unknown>([
    ['approvals.d1', seniors('bo')],
    ['approvals.d2', seniors('bo', 'cy')],
  ]),
);

function ask(id: string, environment?: string, from: Facts = facts): Outcome {
  return decide({
    policies: [policy()],
    request: requestFor(id, environment),
    facts: from,
    now: 1698765000.123,
  }) as Outcome;
}

test('the approval policy denies, allows and does not apply as its facts say', () => {
  expect(ask('d1').reasons).toEqual([
    { path: 'prod.deployment.approval', reason: 'approvals_missing', message: 'has 1 senior approvals' },
  ]);
  expect(ask('d2').decision).toBe('allow');
  expect(ask('d3').reasons[0]!.message).toBe('has 0 senior approvals');
  expect(ask('d2', 'test').decision).toBe('not_applicable');
});

test('a namespace that is not held denies: it is an error, never an absence', () => {
  const ban = policy('ban', 'validations: [{expression: "!(subject.id in data.banned)"}]');
  const away: Facts = { ...facts, lookup: () => ({ kind: 'error', message: 'namespace `banned` is not held here' }) };
  const outcome = decide({ policies: [ban], request: requestFor('d1'), facts: away, now: 0 }) as Outcome;
  expect(outcome.decision).toBe('deny');
  expect(outcome.reasons[0]!.reason).toBe('evaluation_error');
  expect(outcome.errors[0]!.message).toContain('not held');
});

test('the tests of the design pass, and a wrong expectation names what differs', () => {
  const parsed = parseTestDocument(`now: 2026-01-01T00:00:00Z
data:
  approvals.d1: {approvers: [{role: senior_engineer}]}
request:
  subject: {type: user, id: alice}
  action: {name: deploy}
  resource: {type: deployment, id: d1, properties: {environment: production}}
tests:
  - name: one senior is not enough
    expect: {decision: deny, reasons: [approvals_missing]}
  - name: none at all
    data: {approvals.d1: null}
    expect: {decision: deny}
  - name: wrong
    expect: {decision: deny, reasons: [other]}
  - name: elsewhere
    path: prod.nothing
    expect: {decision: allow}
`);
  const results = runTests(parsed.document!, {
    path: 'prod.deployment.approval',
    policiesAt: (path) => (path === 'prod.deployment.approval' ? [policy()] : undefined),
  });
  expect(results.map((r) => r.passed)).toEqual([true, true, false, false]);
  expect(results[2]!.differences).toEqual([
    'reasons expected and not given: other',
    'reasons given and not expected: approvals_missing',
  ]);
  expect(results[3]!.differences).toEqual(['no policy or directory at `prod.nothing`']);
});

const receiptOf = (outcome: Outcome, kind: 'plain' | 'signed' | 'full', instance = 'i1') =>
  makeReceipt(
    {
      kind,
      id: `id-${instance}`,
      path: 'prod.deployment.approval',
      root: 'r',
      commit: `c-${instance}`,
      scope: { kind: 'policy', id: 'tree-prod.deployment.approval' },
      request: requestFor('d1'),
      outcome,
      engine: '0.1.0',
      instance,
      signer: { key: 'k1', sign: (bytes) => `signed:${bytes.length}` },
    },
    primitives,
  );

test('a receipt names everything the decision depended on', () => {
  const receipt = receiptOf(ask('d1'), 'plain');
  expect(receipt).toMatchObject({
    v: 1,
    path: 'prod.deployment.approval',
    applied: [{ path: 'prod.deployment.approval', id: 'tree-prod.deployment.approval', outcome: 'deny' }],
    now: 1698765000.123,
    staleness_ms: { approvals: 0 },
    decision: 'deny',
    language: 1,
    signature: null,
  });
  expect(receipt.reads).toEqual([{ key: 'approvals.d1', dots: [], sha256: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
  expect(receiptOf(ask('d3'), 'plain').reads).toEqual([{ key: 'approvals.d3', absent: true }]);
});

test('receipts of one decision are the same whatever the instance, the kind and the day', () => {
  const plain = receiptOf(ask('d1'), 'plain');
  const full = receiptOf(ask('d1'), 'full', 'i2');
  expect(sameReceipt(plain, full)).toBe(true);
  expect(full.reads[0]).toMatchObject({ value: seniors('bo') });
  expect(full.input.value).toEqual(requestFor('d1'));
  expect(sameReceipt(plain, receiptOf(ask('d2'), 'plain'))).toBe(false);
  const signed = receiptOf(ask('d1'), 'signed');
  expect(signed.signature).toEqual({ key: 'k1', algorithm: 'Ed25519', value: expect.stringMatching(/^signed:\d+$/) });
  expect(receiptBytes(signed, primitives)).toEqual(receiptBytes({ ...signed, signature: null }, primitives));
});

test('a full receipt is replayed from itself; a different answer names what differs', () => {
  const full = receiptOf(ask('d1'), 'full');
  const again = ask('d1', 'production', factsOfReceipt(full));
  expect(compareReceipts(full, receiptOf(again, 'plain', 'i9'))).toEqual([]);
  const other = receiptOf(ask('d2'), 'plain');
  expect(compareReceipts(full, other).map((d) => d.field)).toEqual([
    'applied',
    'decision',
    'reads.approvals.d1',
    'reads.approvals.d2',
    'reasons',
  ]);
  expect(factsOfReceipt(receiptOf(ask('d1'), 'plain'))).toBeUndefined();
});

test('the same policies planned again and again in any order give the same decision', () => {
  const texts = [
    source,
    'matchConditions: [{expression: resource.type == "deployment"}]\nvalidations: [{expression: subject.id != "mallory", reason: banned}]',
    'validations: [{expression: \'action.name in ["deploy", "read"]\', reason: no_such_action}]\nvalidationActions: [Warn]',
  ];
  const request = requestFor('d1');
  const first = JSON.stringify(receiptOf(ask('d1'), 'plain').reads);
  for (let round = 0; round < 20; round++) {
    const order = [0, 1, 2].sort((a, b) => ((a * 7 + round) % 5) - ((b * 7 + round) % 5));
    const made = new Map(order.map((i) => [i, policy(`p${i}`, texts[i])]));
    const outcome = decide({ policies: [made.get(0)!, made.get(1)!, made.get(2)!], request, facts, now: 1 }) as Outcome;
    expect(outcome.decision).toBe('deny');
    expect(outcome.applied.map((a) => `${a.path} ${a.outcome}`)).toEqual(['p0 deny', 'p1 allow', 'p2 pass']);
    expect(JSON.stringify(receiptOf(outcome, 'plain').reads)).toBe(first);
  }
});
