import { expect, test } from 'vitest';
import { compileText } from './compile-text.ts';

const source = `
matchConditions: [{expression: action.name == "deploy"}]
validations:
  - expression: subject.id == "alice"
    reason: not_alice
`;
const request = '{subject: {type: user, id: ID}, action: {name: deploy}, resource: {type: d, id: d1}}';
const testOf = (id: string, decision: string) =>
  `now: 2026-01-01T00:00:00Z\nrequest: ${request.replace('ID', id)}\ntests:\n  - name: t\n    expect: {decision: ${decision}}\n`;

test('a policy whose tests pass has its files, tests included', () => {
  const compiled = compileText({ path: 'prod.deploy', source, test: testOf('alice', 'allow') });
  expect(compiled.problems).toEqual([]);
  expect(compiled.tests).toMatchObject([{ name: 't', passed: true, file: 'prod.deploy.test.yaml' }]);
  expect(Buffer.from(compiled.files!.source).toString()).toBe(source);
  expect(Buffer.from(compiled.files!.test!).toString()).toContain('decision: allow');
});

test('a failed test says what was expected, a problem where it stands', () => {
  expect(compileText({ path: 'prod.deploy', source, test: testOf('bob', 'allow') }).tests).toMatchObject([
    { passed: false, message: expect.stringContaining('expected allow, got deny') },
  ]);
  const broken = compileText({
    path: 'a.b',
    source: 'validations: [{expression: subjct.id == "a"}]',
    sourceFile: 'x.yaml',
  });
  expect(broken.files).toBeUndefined();
  expect(broken.problems[0]).toMatchObject({ file: 'x.yaml', path: 'a.b', severity: 'error', line: 1 });
});

test('a damaged test document keeps the policy out', () => {
  const compiled = compileText({ path: 'a.b', source, test: 'tests: []' });
  expect(compiled.files).toBeUndefined();
  expect(compiled.problems[0]).toMatchObject({ file: 'a.b.test.yaml', severity: 'error' });
});
