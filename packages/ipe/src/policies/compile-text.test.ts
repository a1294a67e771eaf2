import { expect, test } from 'vitest';
import { nodePrimitives } from '../repository/primitives.ts';
import { textCompiler } from './compile-text.ts';
import { createNodeCompiler } from './node-compiler.ts';
import type { CompiledPolicy, PolicyText } from './types.ts';

const { compileText } = textCompiler(nodePrimitives);

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

const validation = (expression: string, reason: string) =>
  `validations: [{expression: '${expression}', reason: ${reason}}]`;
const asking = (path: string, decision: string) => `path: ${path}\n${testOf('alice', decision)}`;

test('a test that asks a directory sees the policies of the set and those that stay beside it', async () => {
  const compiler = createNodeCompiler('0.0.0');
  const compiled = compileText({ path: 'other.bob', source: validation('subject.id == "bob"', 'not_bob') });
  const texts: PolicyText[] = [
    { path: 'prod.alice', source, test: asking('prod', 'deny') },
    { path: 'prod.carol', source: validation('subject.id == "carol"', 'not_carol') },
    { path: 'top', source, test: asking('other', 'deny') },
  ];
  const surroundings = {
    programsAt: async (path: string) =>
      path === 'other' ? [{ path: 'other.bob', program: compiled.files!.program }] : [],
  };
  const results = await compiler.compile(texts, { surroundings });
  expect(results.map(({ tests }) => tests.map(({ passed, decision }) => [passed, decision]))).toEqual([
    [[true, 'deny']],
    [],
    [[true, 'deny']],
  ]);
  const alone = await compiler.compile(texts);
  expect(alone[2]!.tests[0]).toMatchObject({ passed: false, message: 'no policy or directory at `other`' });
  await compiler.close();
});

test('the worker gives what compiling in place gives, byte for byte', async () => {
  const compiler = createNodeCompiler('0.0.0');
  const texts: PolicyText[] = Array.from({ length: 100 }, (_, i) => ({
    path: `p.q${i}`,
    source: i % 10 === 3 ? 'validations: [{expression: subjct.id == "a"}]' : source,
    ...(i % 2 === 0 && { test: i % 20 === 0 ? asking('p', 'allow') : testOf('alice', 'allow') }),
  }));
  const many = await compiler.compile(texts);
  const few: CompiledPolicy[] = [];
  for (let at = 0; at < texts.length; at += 10) few.push(...(await compiler.compile(texts.slice(at, at + 10))));
  expect(JSON.parse(JSON.stringify(many))).toEqual(JSON.parse(JSON.stringify(few)));
  await compiler.close();
});
