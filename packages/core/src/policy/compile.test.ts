import { expect, test } from 'vitest';
import { primitives } from '../../test/node-runtime.ts';
import { compilePolicy, isCompiledFrom } from './compile.ts';
import { planPolicy } from './plan.ts';
import { decodeProgram } from './program.ts';

const text = (bytes: Uint8Array) => primitives.utf8Decode(bytes);

const approval = `description: Production deployments need two senior approvals
matchConditions:
  - name: production
    expression: resource.properties.environment in ["production", "staging"]
  - expression: resource.type == "deployment" && action.name in ["deploy", "rollback"]
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

function compiled(source: string) {
  const result = compilePolicy(source, { primitives });
  if (!result.ok) throw new Error(result.problems.map((p) => `${p.line}:${p.column} ${p.message}`).join('\n'));
  return result.compiled;
}

function problemsOf(source: string): readonly string[] {
  const result = compilePolicy(source, { primitives });
  return (result.ok ? result.compiled.warnings : result.problems).map((p) => `${p.line}:${p.column} ${p.code}`);
}

test('a policy compiles to its source, a canonical program and a manifest of what it reads', () => {
  const { source, program, manifest, warnings } = compiled(approval);
  expect(text(source)).toBe(approval);
  expect(text(manifest)).toBe('{"language":1,"namespaces":["approvals"]}');
  expect(warnings).toEqual([]);
  expect(decodeProgram(program, primitives).params).toEqual({ required: 2 });
});

test('layout, comments and descriptions do not change the program', () => {
  const rewritten = approval
    .replace(/^description.*\n/, '# told elsewhere\n')
    .replace(
      'expression: size(variables.seniors) >= params.required',
      'expression: |\n      size(variables.seniors)\n        >= params.required',
    );
  expect(text(compiled(rewritten).program)).toBe(text(compiled(approval).program));
});

test('a program is accepted only with the source it was compiled from', () => {
  const one = compiled(approval);
  const other = compiled(approval.replace('required: 2', 'required: 1'));
  expect(isCompiledFrom(one, primitives)).toBe(true);
  expect(isCompiledFrom({ ...one, program: other.program }, primitives)).toBe(false);
  expect(isCompiledFrom({ ...one, source: new Uint8Array([0xff]) }, primitives)).toBe(false);
  expect(isCompiledFrom({ ...one, source: primitives.utf8Encode('validations: []') }, primitives)).toBe(false);
});

test('a planned policy knows its literal tests and evaluates those conditions first', () => {
  const planned = planPolicy(compiled(approval).program, primitives);
  expect(planned.literalTests).toEqual({
    resourceType: new Set(['deployment']),
    actionName: new Set(['deploy', 'rollback']),
    subjectType: null,
  });
  expect(planned.matchConditions.map((c) => c.label)).toEqual([
    'matchConditions[1]',
    'matchConditions[0] (production)',
  ]);
  expect(planned.namespaces).toEqual(['approvals']);
});

test('problems of form and of every expression are told at once, placed inside the YAML', () => {
  expect(
    problemsOf(`matchConditions:
  - expression: 'resource.type =='
variables:
  - name: a
    expression: |
      1 +
        + )
valdations: []
validations:
  - expression: "size(variables.a) > \\u0031 )"
  - expression: >-
      true &&
      nosuch.name
`),
  ).toEqual(['2:32 cel_syntax', '7:11 cel_syntax', '8:1 unknown_field', '10:45 cel_syntax', '13:7 cel_unknown_name']);
});

test.each([
  ['validations:\n  - expression: resource.id != "a #b"\n', 'YAML comment'],
  ['validations:\n  - {expression: matches(subject.id, params.a)}\n', 'comma'],
])('an expression that YAML cuts off in %j is answered with how to quote it', (source, hint) => {
  const result = compilePolicy(source, { primitives });
  expect(result.ok).toBe(false);
  if (!result.ok) expect(result.problems.map((problem) => problem.hint).join()).toContain(hint);
});

test.each([
  ['7', 'cel_wrong_type'],
  ['subject.idd == "a"', 'cel_unknown_field'],
  ['params.requird > 1.0', 'cel_unknown_field'],
  ['variables.later', 'cel_unknown_name'],
  ['subject.id + 1 == "a"', 'cel_no_overload'],
  ['data.size() > 0', 'cel_data_misuse'],
])('the expression %j is refused with %s', (expression, code) => {
  const source = `validations: [{expression: ${JSON.stringify(expression)}}]\nparams: {required: 2}`;
  expect(problemsOf(source).map((p) => p.split(' ')[1])).toContain(code);
});

test('an expression that would cost too much is refused before it runs', () => {
  const nested = `${'[1,2,3,4,5,6,7,8,9,10].all(a, '.repeat(8)}true${')'.repeat(8)}`;
  expect(problemsOf(`validations: [{expression: ${JSON.stringify(nested)}}]`).join()).toContain('cel_too_costly');
});

test('a loop in a loop over facts may be written, three may not', () => {
  const loop = (inner: string, name: string) => `data.a["k"].list.all(${name}, ${inner})`;
  const two = loop(loop('x.user != y.user', 'y'), 'x');
  expect(problemsOf(`validations: [{expression: ${JSON.stringify(two)}}]`)).toEqual([]);
  expect(problemsOf(`validations: [{expression: ${JSON.stringify(loop(two, 'z'))}}]`).join()).toContain('too_costly');
});

test('a variable that nothing reads is a warning, not an error', () => {
  expect(problemsOf('variables: [{name: v, expression: "1"}]\nvalidations: [{expression: "true"}]')).toEqual([
    '1:35 unused_variable',
  ]);
});

test('bytes that no compiler makes are refused as corrupt', () => {
  const { program } = compiled(approval);
  const json = JSON.parse(text(program));
  const spoiled = [
    'x',
    '[]',
    JSON.stringify({ ...json, language: 2 }),
    JSON.stringify({ ...json, params: [] }),
    JSON.stringify({ ...json, validationActions: ['Allow'] }),
    JSON.stringify({ ...json, failurePolicy: null }),
    JSON.stringify({ ...json, validations: [{ expression: ['nonsense'] }] }),
    JSON.stringify({ ...json, namespaces: 7 }),
  ];
  for (const bytes of [...spoiled.map((s) => primitives.utf8Encode(s)), new Uint8Array([0xc0])])
    expect(() => planPolicy(bytes, primitives)).toThrow('cannot be used');
});
