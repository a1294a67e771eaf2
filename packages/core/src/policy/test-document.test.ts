import { expect, test } from 'vitest';
import { parseTestDocument } from './test-document.ts';

const approval = `path: prod.deployment.approval        # default: its own place
now: 2026-01-01T00:00:00Z
data:
  approvals.d1: {approvers: [{role: senior_engineer}]}
request: &req
  subject: {type: user, id: alice}
  action: {name: deploy}
  resource: {type: deployment, id: d1, properties: {environment: production}}
tests:
  - name: one senior is not enough
    expect: {decision: deny, reasons: [approvals_missing]}
  - name: none at all
    data: {approvals.d1: null}        # merges by key; null removes
    expect: {decision: deny}
  - name: another one asks
    request: {subject: {type: user, id: bob}, action: {name: deploy}, resource: {type: deployment, id: d2}}
    data: {approvals.d2: 1}
    now: 7.5
    expect: {decision: not_applicable}
`;

test('the document of the design is read, its settings filled into each test', () => {
  const { document, problems } = parseTestDocument(approval);
  expect(problems).toEqual([]);
  const [one, none, other] = document!.tests;
  expect(one).toMatchObject({
    name: 'one senior is not enough',
    line: 10,
    path: 'prod.deployment.approval',
    now: 1767225600,
    expect: { decision: 'deny', reasons: ['approvals_missing'] },
  });
  expect([...one!.data]).toEqual([['approvals.d1', { approvers: [{ role: 'senior_engineer' }] }]]);
  expect(one!.request.resource.properties).toEqual({ environment: 'production' });
  expect([...none!.data]).toEqual([]);
  expect(none!.expect).toEqual({ decision: 'deny' });
  expect([...other!.data.keys()]).toEqual(['approvals.d1', 'approvals.d2']);
  expect(other!.request.resource.properties, 'a request replaces whole').toEqual({});
  expect(other!.now).toBe(7.5);
});

test('every problem of a test document is told at once', () => {
  const { document, problems } = parseTestDocument(`pth: a
now: yesterday
data: {d1: 1, approvals.d1: 2}
request: {subject: {type: user, id: alice, role: x}, action: {name: a}, resource: {type: t, id: 1}}
tests:
  - name: a
    expect: {decision: denied}
  - name: a
    expect: {decision: allow, reasons: [x], mesage: y}
  - expected: {}
`);
  expect(document).toBeUndefined();
  expect(problems.map((p) => `${p.line} ${p.code}`)).toEqual([
    '1 unknown_field',
    '2 wrong_type',
    '3 wrong_value',
    '4 unknown_field',
    '4 wrong_request',
    '7 wrong_value',
    '8 duplicate',
    '9 wrong_value',
    '9 unknown_field',
    '10 missing_field',
    '10 missing_field',
    '10 unknown_field',
  ]);
});

test.each([
  ['', 'empty'],
  ['tests: []', 'empty'],
  ['now: 1', 'missing_field'],
  ['tests: [{name: a, expect: {decision: allow}}]', 'missing_field'],
  ['tests: {}', 'wrong_type'],
])('%j has no tests that could run, and is refused with %s', (text, code) => {
  const { document, problems } = parseTestDocument(text);
  expect(document).toBeUndefined();
  expect(problems.map((p) => p.code)).toContain(code);
});
