import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import {
  matchConditionFields,
  parsePolicyDocument,
  policyFields,
  validationFields,
  variableFields,
} from './document.ts';
import { expectFields, parseTestDocument, testDocumentFields, testFields } from './test-document.ts';

/** The keywords of JSON Schema that the published schemas use; any other makes the test fail, so that none goes unchecked. */
interface Schema {
  readonly [keyword: string]: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

const load = (name: string): Schema =>
  JSON.parse(readFileSync(new URL(`../../schema/${name}.schema.json`, import.meta.url), 'utf8'));

const typeOf = (value: unknown) => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value);
const isObject = (value: unknown): value is Record<string, unknown> => typeOf(value) === 'object';

/** A keyword says nothing about values of other types than its own, as the specification has it. */
const keywords: Record<string, (rule: never, value: unknown, root: Schema, schema: Schema) => boolean> = {
  type: (rule: string | string[], value) => [rule].flat().includes(typeOf(value)),
  enum: (rule: unknown[], value) => rule.includes(value),
  const: (rule, value) => rule === value,
  not: (rule: Schema, value, root) => !accepts(rule, value, root),
  pattern: (rule: string, value) => typeof value !== 'string' || new RegExp(rule, 'u').test(value),
  minLength: (rule: number, value) => typeof value !== 'string' || value.length >= rule,
  maxLength: (rule: number, value) => typeof value !== 'string' || value.length <= rule,
  minimum: (rule: number, value) => typeof value !== 'number' || value >= rule,
  minItems: (rule: number, value) => !Array.isArray(value) || value.length >= rule,
  maxItems: (rule: number, value) => !Array.isArray(value) || value.length <= rule,
  uniqueItems: (_rule, value) => !Array.isArray(value) || new Set(value).size === value.length,
  items: (rule: Schema, value, root) => !Array.isArray(value) || value.every((item) => accepts(rule, item, root)),
  required: (rule: string[], value) => !isObject(value) || rule.every((name) => Object.hasOwn(value, name)),
  properties: (rule: Record<string, Schema>, value, root) =>
    !isObject(value) ||
    Object.entries(value).every(([name, part]) => !Object.hasOwn(rule, name) || accepts(rule[name]!, part, root)),
  additionalProperties: (rule: false | Schema, value, root, schema) =>
    !isObject(value) ||
    Object.entries(value).every(
      ([name, part]) => Object.hasOwn(schema.properties ?? {}, name) || (rule !== false && accepts(rule, part, root)),
    ),
  propertyNames: (rule: Schema, value, root) =>
    !isObject(value) || Object.keys(value).every((name) => accepts(rule, name, root)),
  $ref: (rule: string, value, root) =>
    accepts((root['$defs'] as Record<string, Schema>)[rule.slice('#/$defs/'.length)]!, value, root),
};
const annotations = ['$schema', '$id', '$defs', 'title', 'description', 'default'];

function accepts(schema: Schema, value: unknown, root: Schema): boolean {
  return Object.entries(schema).every(([keyword, rule]) => {
    if (annotations.includes(keyword)) return true;
    const check = keywords[keyword];
    if (check === undefined) throw new Error(`the test does not know the keyword ${keyword}`);
    return check(rule as never, value, root, schema);
  });
}

const policySchema = load('policy');
const testSchema = load('test');
const item = (schema: Schema, field: string) => schema.properties![field]!.items!;

test('the schemas name exactly the fields that the readers know', () => {
  const names = (schema: Schema) => Object.keys(schema.properties!).sort();
  expect(names(policySchema)).toEqual([...policyFields].sort());
  expect(names(item(policySchema, 'matchConditions'))).toEqual([...matchConditionFields].sort());
  expect(names(item(policySchema, 'variables'))).toEqual([...variableFields].sort());
  expect(names(item(policySchema, 'validations'))).toEqual([...validationFields].sort());
  expect(names(testSchema)).toEqual([...testDocumentFields].sort());
  expect(names(item(testSchema, 'tests'))).toEqual([...testFields].sort());
  expect(names(item(testSchema, 'tests').properties!['expect']!)).toEqual([...expectFields].sort());
});

/** A value of the shape, or now and then something else in its place. */
const junk = fc.constantFrom<unknown[]>(null, 7, true, '', ' ', [], {}, ['x'], { a: 1 });
const mostly = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ arbitrary: arbitrary as fc.Arbitrary<unknown>, weight: 80 }, { arbitrary: junk, weight: 1 });
const shape = (fields: Record<string, fc.Arbitrary<unknown>>, required: string[]) =>
  fc
    .tuple(
      fc.record(Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, mostly(value)])), {
        requiredKeys: required as never[],
      }),
      fc.nat({ max: 150 }),
    )
    .map(([object, dice]) => {
      const entries = Object.entries(object);
      if (dice === 0) return Object.fromEntries([...entries, ['unknown', 1]]);
      return Object.fromEntries(dice === 1 ? entries.slice(1) : entries);
    });
/** One of the good values, seldom a bad one. */
const either = (good: readonly unknown[], bad: readonly unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof({ arbitrary: fc.constantFrom(...good), weight: 30 }, { arbitrary: fc.constantFrom(...bad), weight: 1 });
/** Names are unique in the arrays made here: that is a rule the schema cannot state. */
const named = (value: unknown) =>
  Array.isArray(value)
    ? value.map((each, i) =>
        isObject(each) && typeof each['name'] === 'string' && each['name'].trim() !== ''
          ? { ...each, name: `${each['name']}${i}` }
          : each,
      )
    : value;

const policies = shape(
  {
    description: fc.constant('x'),
    matchConditions: fc
      .array(mostly(shape({ name: fc.constant('n'), expression: fc.constant('true') }, ['expression'])), {
        maxLength: 3,
      })
      .map(named),
    variables: fc
      .array(
        mostly(
          shape({ name: either(['v', '_v'], ['1v', 'a b']), expression: fc.constant('1') }, ['name', 'expression']),
        ),
        { maxLength: 3 },
      )
      .map(named),
    validations: fc.array(
      mostly(
        shape(
          {
            expression: fc.constant('true'),
            message: fc.constant('m'),
            messageExpression: fc.constant('"m"'),
            reason: either(['r', 'r-1'], ['two words', 'evaluation_error']),
          },
          ['expression'],
        ),
      ),
      { maxLength: 3 },
    ),
    params: fc.constantFrom({}, { a: [1, { b: null }] }),
    validationActions: either([['Deny'], ['Warn', 'Audit']], [[], ['deny'], ['Deny', 'Deny']]),
    failurePolicy: either(['Fail', 'Ignore'], ['fail']),
  },
  ['validations'],
);

const entity = shape({ type: fc.constant('t'), id: fc.constant('i'), properties: fc.constant({ a: 1 }) }, [
  'type',
  'id',
]);
const request = shape(
  {
    subject: entity,
    action: shape({ name: fc.constant('n'), properties: fc.constant({}) }, ['name']),
    resource: entity,
    context: fc.constant({ a: 1 }),
  },
  ['subject', 'action', 'resource'],
);
const settings = {
  path: either(['a', 'prod.a-b.c'], ['Prod', 'a..b']),
  now: fc.constantFrom<unknown[]>(0, 1.5, '2026-01-01T00:00:00Z'),
  data: either([{ 'a.b': 1 }, { 'a.b.c': null }, {}], [{ a: 1 }, { 'A.b': 1 }, { 'a.*': 1 }]),
  staleness_ms: either([{ a: 5 }, {}], [{ a: -1 }, { A: 1 }]),
};
const tests = shape(
  {
    description: fc.constant('x'),
    ...settings,
    request,
    tests: fc
      .array(
        mostly(
          shape(
            {
              name: fc.constant('n'),
              ...settings,
              request,
              expect: shape(
                {
                  decision: either(['deny'], ['maybe']),
                  reasons: either([[], ['a']], [[1]]),
                  warnings: fc.constant(['w']),
                },
                ['decision'],
              ),
            },
            ['name', 'expect', 'request'],
          ),
        ),
        { maxLength: 2 },
      )
      .map(named),
  },
  ['tests'],
);

/** Whether YAML can hold what JSON can: `null` stands where the schema would have a value left out. */
const nowIsATime = (text: string) => !/now: (?!\d|"?2026)/.test(text);

describe.each([
  ['policy', policies, policySchema, (text: string) => parsePolicyDocument(text).document !== undefined],
  ['test', tests, testSchema, (text: string) => parseTestDocument(text).document !== undefined],
] as const)('the %s schema', (_name, documents, schema, reads) => {
  test('accepts a document exactly when the reader does', () => {
    const counts = { accepted: 0, refused: 0 };
    fc.assert(
      fc.property(documents, (document) => {
        const text = stringify(document);
        // That `now` is a time and not any text is told by the reader; the schema has no format for it.
        fc.pre(nowIsATime(text));
        const accepted = accepts(schema, document, schema);
        counts[accepted ? 'accepted' : 'refused']++;
        expect(reads(text), `schema ${accepted ? 'accepts' : 'refuses'}:\n${text}`).toBe(accepted);
      }),
      { seed: 13, numRuns: 500 },
    );
    expect(Math.min(counts.accepted, counts.refused), 'both outcomes were met').toBeGreaterThan(50);
  });
});
