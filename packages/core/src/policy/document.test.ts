import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parsePolicyDocument } from './document.ts';
import { type Problem, renderProblem } from './problem.ts';
import { yamlLimits } from './yaml-source.ts';

const approval = `description: Production deployments need two senior approvals
matchConditions:                      # any false: the policy does not apply
  - name: production
    expression: resource.properties.environment in ["production", "staging"]
variables:                            # lazy, in order, named variables.<name>
  - name: approvers
    expression: 'resource.id in data.approvals ? data.approvals[resource.id].approvers : []'
  - name: seniors
    expression: variables.approvers.filter(a, a.role == "senior_engineer")
validations:                          # all must hold
  - expression: size(variables.seniors) >= params.required
    message: needs two senior approvals
    messageExpression: '"has " + string(size(variables.seniors)) + " senior approvals"'
    reason: approvals_missing         # stable, for machines
params: {required: 2}
validationActions: [Deny]             # Deny | Warn | Audit: the dry-run switch
failurePolicy: Fail                   # an expression that errors denies; Ignore: not_applicable
`;

const codes = (problems: readonly Problem[]) => problems.map((p) => `${p.line}:${p.column} ${p.code}`);

test('the document of the design is read whole', () => {
  const { document, problems } = parsePolicyDocument(approval);
  expect(problems).toEqual([]);
  expect(document).toEqual({
    description: 'Production deployments need two senior approvals',
    matchConditions: [
      { name: 'production', expression: 'resource.properties.environment in ["production", "staging"]' },
    ],
    variables: [
      {
        name: 'approvers',
        expression: 'resource.id in data.approvals ? data.approvals[resource.id].approvers : []',
      },
      { name: 'seniors', expression: 'variables.approvers.filter(a, a.role == "senior_engineer")' },
    ],
    validations: [
      {
        expression: 'size(variables.seniors) >= params.required',
        message: 'needs two senior approvals',
        messageExpression: '"has " + string(size(variables.seniors)) + " senior approvals"',
        reason: 'approvals_missing',
      },
    ],
    params: { required: 2 },
    validationActions: ['Deny'],
    failurePolicy: 'Fail',
  });
});

test('what is left out has its default: applies to everything, denies, fails closed', () => {
  const { document } = parsePolicyDocument('validations: [{expression: "true"}]');
  expect(document).toEqual({
    matchConditions: [],
    variables: [],
    validations: [{ expression: 'true' }],
    params: {},
    validationActions: ['Deny'],
    failurePolicy: 'Fail',
  });
});

test('every problem of form is told at once, in document order, with its place', () => {
  const { document, problems } = parsePolicyDocument(`descripton: x
matchConditions:
  - expression: 7
  - name: a
variables:
  - name: 1st
    expression: "1"
  - {name: v, expression: "1"}
  - {name: v, expression: "2"}
valdations: []
validations:
  - expresion: "true"
    reason: two words
params: [1]
validationActions: [Deny, deny, Deny]
failurePolicy: 1
`);
  expect(document).toBeUndefined();
  expect(codes(problems)).toEqual([
    '1:1 unknown_field',
    '3:17 wrong_type',
    '4:5 missing_field',
    '6:11 wrong_value',
    '9:12 duplicate',
    '10:1 unknown_field',
    '12:5 missing_field',
    '12:5 unknown_field',
    '13:13 wrong_value',
    '14:9 wrong_type',
    '15:27 wrong_value',
    '15:33 duplicate',
    '16:16 wrong_type',
  ]);
  expect(problems[0]!.hint).toBe('did you mean `description`?');
  expect(problems[1]!.message).toBe('expected text (a CEL expression), got the number `7`');
  expect(problems[1]!.hint).toBe('write "7" in quotes');
  expect(problems[5]!.hint).toBe('did you mean `validations`?');
  expect(problems[9]!.message).toBe('expected a mapping (params), got a list');
  expect(problems[10]!.hint).toBe('did you mean `Deny`?');
});

test.each([
  ['', 'empty'],
  ['# only a comment\n', 'empty'],
  ['just text', 'wrong_type'],
  ['- a list', 'wrong_type'],
  ['validations: []', 'empty'],
  ['validations:', 'wrong_type'],
  ['description: x', 'missing_field'],
  ['validations: [{expression: ""}]', 'empty'],
  ['validations: [{expression: "true"}]\nvalidations: []', 'duplicate_field'],
  ['validations: [{expression: "true"}', 'yaml_syntax'],
  ['a: b: c', 'yaml_syntax'],
  ['validations: [{expression: "true"}]\n---\nvalidations: []', 'yaml_syntax'],
  ['validations: [{expression: "true"}]\nparams: {a: .inf}', 'wrong_type'],
  ['validations: [{expression: "true"}]\nparams: {1: a}', 'wrong_type'],
  ['validations: [{expression: "true"}]\nparams: {id: 9007199254740993}', 'wrong_value'],
  ['validations: [{expression: "true"}]\nparams: !mine {a: 1}', 'yaml_syntax'],
  ['validations: [{expression: "true", reason: evaluation_error}]', 'wrong_value'],
  ['validations: *nowhere', 'yaml_syntax'],
  ['\u0000', 'wrong_type'],
])('%j is refused with %s', (text, code) => {
  const { document, problems } = parsePolicyDocument(text);
  expect(document).toBeUndefined();
  expect(problems.map((p) => p.code)).toContain(code);
});

test('CEL that YAML reads as something else is answered with how to write it', () => {
  const { problems } = parsePolicyDocument('validations:\n  - expression: has(a) ? b : c\n');
  expect(problems[0]).toMatchObject({ code: 'yaml_syntax', line: 2 });
  expect(problems[0]!.hint).toContain('quotes');
});

test('a document that would cost much to read is refused before it does', () => {
  const bomb = `params:\n  a0: &a0 [x]\n${Array.from({ length: 30 }, (_, i) => `  a${i + 1}: &a${i + 1} [*a${i}, *a${i}, *a${i}]\n`).join('')}validations: [{expression: "true"}]\n`;
  expect(parsePolicyDocument(bomb).problems.map((p) => p.code)).toContain('too_large');
  expect(parsePolicyDocument('['.repeat(50_000)).problems.map((p) => p.code)).toContain('too_deep');
  expect(parsePolicyDocument('a:\n'.repeat(1)).document).toBeUndefined();
  const stairs = Array.from({ length: 200 }, (_, i) => `${' '.repeat(i)}a:`).join('\n');
  expect(parsePolicyDocument(stairs).problems.map((p) => p.code)).toContain('too_deep');
  expect(parsePolicyDocument('x'.repeat(yamlLimits.policyLengthMax + 1)).problems.map((p) => p.code)).toEqual([
    'too_large',
  ]);
  const many = `validations: [${'{expression: "true"},'.repeat(300)}]`;
  expect(parsePolicyDocument(many).problems.map((p) => p.code)).toContain('too_large');
  expect(parsePolicyDocument('params: &p {a: *p}\nvalidations: [{expression: "true"}]').document).toBeUndefined();
});

test('anchors and aliases may be used, also in params', () => {
  const { document, problems } = parsePolicyDocument(
    'params: {a: &r [1, {b: null}], c: *r}\nvalidations: [&v {expression: "true"}, *v]',
  );
  expect(problems).toEqual([]);
  expect(document?.params).toEqual({ a: [1, { b: null }], c: [1, { b: null }] });
  expect(document?.validations).toHaveLength(2);
});

test('a parameter named __proto__ stays a plain member', () => {
  const { document } = parsePolicyDocument('params: {__proto__: {admin: true}}\nvalidations: [{expression: "true"}]');
  expect(Object.keys(document!.params)).toEqual(['__proto__']);
  expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
});

test('a problem is shown with its line underlined', () => {
  const text = 'validations:\n  - expresion: "true"\n';
  const { problems } = parsePolicyDocument(text);
  const unknown = problems.find((p) => p.code === 'unknown_field')!;
  expect(renderProblem(unknown, 'a.policy.yaml', text)).toBe(
    [
      'a.policy.yaml:2:5: error: a validation has no field `expresion`',
      '  2 |   - expresion: "true"',
      '    |     ^^^^^^^^^',
      '    = did you mean `expression`?',
    ].join('\n'),
  );
});

test('no text makes the reader throw, and problems lie inside it', () => {
  const token = fc.constantFrom(
    'validations:',
    '- ',
    'expression:',
    ' ',
    '\n',
    '\n  ',
    '"',
    "'",
    '|',
    '>',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '&a ',
    '*a',
    '!t ',
    '#',
    '\t',
    '\r',
    '---',
    '...',
    '%YAML 1.2',
    '? ',
    'é',
    '😀',
    '\ud800',
    'params',
    '<<',
    '.nan',
    '~',
  );
  fc.assert(
    fc.property(fc.array(token, { maxLength: 40 }), (tokens) => {
      const text = tokens.join('');
      const lines = text.split(/\r\n|\n/);
      for (const problem of parsePolicyDocument(text).problems) {
        expect(problem.line).toBeGreaterThanOrEqual(1);
        expect(problem.line).toBeLessThanOrEqual(lines.length);
        expect(problem.endColumn).toBeGreaterThan(problem.column);
        expect(renderProblem(problem, 'x', text)).toContain(problem.message);
      }
    }),
    { seed: 11, numRuns: 3000 },
  );
});
