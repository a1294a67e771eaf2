import { describe, expect, test } from 'vitest';
import { Activation, type FactReader } from './activation.ts';
import { policyEnvironment } from './environment.ts';
import { formatExpression } from './format-expression.ts';
import { patternSize } from './functions/pattern-size.ts';
import { defaultLimits } from './limits.ts';
import { parseExpression } from './parse.ts';
import { type PlannedExpression, planExpression } from './plan.ts';
import { toJson } from './to-json.ts';
import { dyn } from './types.ts';

const variables = Array.from({ length: 60 }, (_, i) => ({ name: `v${i}`, type: dyn }));
const env = policyEnvironment({ variables });
const roots = [{}, {}, {}, {}, {}, null];

function plan(text: string): PlannedExpression {
  const parsed = parseExpression(text);
  if (!parsed.ok) throw new Error(parsed.problems[0]!.message);
  return planExpression(parsed.expression, env);
}

function holding(value: unknown): FactReader {
  return { lookup: () => ({ kind: 'value', value }), stalenessMs: () => 0 };
}

function nested(levels: number): unknown {
  let value: unknown = 'x';
  for (let i = 0; i < levels; i++) value = i % 2 === 0 ? [value] : { k: value };
  return value;
}

describe('limits', () => {
  test('an expression of the greatest depth parses, checks, prints and evaluates', () => {
    const levels = defaultLimits.maxDepth - 2;
    const text = `${'['.repeat(levels)}1${']'.repeat(levels)}`;
    const program = plan(text);
    expect(formatExpression(program.expression)).toBe(text);
    expect(toJson(program.evaluate(new Activation(roots, holding(null))))).toBeInstanceOf(Array);
  });

  test('values of any depth are walked to a bound, not to the end of the stack', () => {
    const deep = nested(100_000);
    const other = nested(100_000);
    const run = (text: string): unknown =>
      plan(text).evaluate(new Activation([deep, {}, {}, other, {}, null], holding(deep)));
    expect(run('subject == context')).toMatchObject({ reason: 'invalid_argument' });
    expect(run('[1, subject].exists(x, x == context)')).toMatchObject({ reason: 'invalid_argument' });
    expect(run('"%s".format([subject])')).toMatchObject({ reason: 'invalid_argument' });
    expect(run('[[subject]].flatten(200).size() > 0')).toBe(true);
    expect(JSON.stringify(toJson(deep))).toContain('"..."');
  });

  test('chains of variables are followed to a bound that does not depend on the stack', () => {
    const levels = 200;
    const programs = variables.map((_, i) =>
      plan(i === 0 ? '1' : `${'['.repeat(levels)}variables.v${i - 1}${']'.repeat(levels)}`),
    );
    const activation = new Activation(roots, holding(null), programs);
    expect(plan('variables.v3 == 1').evaluate(activation)).toBe(false);
    expect(plan('variables.v59 == 1').evaluate(new Activation(roots, holding(null), programs))).toMatchObject({
      reason: 'budget_exceeded',
    });
  });

  test('patterns that would compile to large programs are refused at once', () => {
    for (const pattern of [
      `(${'abc|'.repeat(200)}x){1000}`,
      '[a-zA-Z0-9]{1000}'.repeat(10),
      '(\\\\pL{500}){2}',
      '((a{100}){10}){5}',
    ]) {
      expect(plan(`"aaa".matches("${pattern}")`).evaluate(new Activation(roots, holding(null)))).toMatchObject({
        reason: 'invalid_argument',
      });
      expect(
        plan('"aaa".matches(data.p.x)').evaluate(new Activation(roots, holding(pattern.replaceAll('\\\\', '\\')))),
      ).toMatchObject({ reason: 'invalid_argument' });
    }
    expect(patternSize('^[a-z0-9]+(?:[._-][a-z0-9]+)*@example[.]com$')).toBeLessThan(60);
    expect(patternSize('^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}$')).toBeLessThan(120);
  });

  test('matching is linear where backtracking would take for ever', () => {
    const text = `${'a'.repeat(5_000)}!`;
    expect(plan('data.t.x.matches("^(a+)+$")').evaluate(new Activation(roots, holding(text)))).toBe(false);
  });

  test('compiling patterns known only at run time is charged, held or not', () => {
    const taken = (): number => {
      const activation = new Activation(roots, holding('a{1,50}'));
      plan('"aaa".matches(data.p.x)').evaluate(activation);
      return activation.stepsLeft;
    };
    expect(taken()).toBe(taken());
  });
});
