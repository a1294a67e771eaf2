import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Activation, defaultStepBudget, type FactReader } from './activation.ts';
import { assumedSizes, estimateCost } from './cost.ts';
import { policyEnvironment } from './environment.ts';
import { parseExpression } from './parse.ts';
import { planExpression } from './plan.ts';

const env = policyEnvironment({});

function parsed(text: string): Extract<ReturnType<typeof parseExpression>, { ok: true }>['expression'] {
  const result = parseExpression(text);
  if (!result.ok) throw new Error(`${text}: ${result.problems[0]!.message}`);
  return result.expression;
}

const cost = (text: string): number => estimateCost(parsed(text), env).max;

describe('estimateCost', () => {
  test.each([
    'data.approvals[resource.id].approvers.filter(a, a.role == "senior_engineer").size() >= 2',
    'data.a.x.list.filter(a, a.name.matches("^[a-z]+@example[.]com$")).size() > 1',
    'data.a.x.list.all(a, data.b.y.list.exists(b, b.id == a.id && b.role in ["x", "y"]))',
    'subject.properties.roles.exists(r, r in context.allowed)',
    'data.a.x.list.map(a, a.name).distinct().size() == 1',
  ])('lets the default budget hold %s', (text) => {
    expect(cost(text)).toBeLessThan(defaultStepBudget);
  });

  test.each([
    'data.a.x.l.all(a, data.a.x.l.all(b, data.a.x.l.all(c, a + b + c > 0.0)))',
    'data.a.x.l.map(a, data.a.x.l.map(b, a.name.matches(b.pattern)))',
    'data.a.x.l.all(a, data.a.x.l.all(b, sets.equivalent(a.l, b.l)))',
  ])('does not let it hold %s', (text) => {
    expect(cost(text)).toBeGreaterThan(defaultStepBudget);
  });

  test('counts lists as long as they are written', () => {
    expect(cost('[1, 2].all(x, [1, 2].all(y, [1, 2].all(z, x + y + z > 0)))')).toBeLessThan(200);
  });

  test('is never below what an evaluation takes, when sizes are as assumed and scalars are compared', () => {
    const values = Array.from({ length: assumedSizes.items }, (_, i) => `value ${i}`);
    const facts: FactReader = {
      lookup: () => ({
        kind: 'value',
        value: { l: values, t: 'x'.repeat(assumedSizes.items), m: Object.fromEntries(values.map((v) => [v, v])) },
      }),
      stalenessMs: () => 0,
    };
    const { expression } = fc.letrec<{ list: string; text: string; expression: string }>((tie) => ({
      list: fc.oneof(
        { maxDepth: 2 },
        fc.constantFrom('data.n.k.l', '["a", "b"]', 'data.n.k.m'),
        tie('list').map((l) => `${l}.map(x, x)`),
        tie('list').map((l) => `${l}.filter(x, x > "b")`),
        fc.tuple(tie('text')).map(([t]) => `[${t}, ${t}]`),
      ),
      text: fc.constantFrom('data.n.k.t', '"abc"', 'data.n.k.t + "abc"', 'data.n.k.t.upperAscii()'),
      expression: fc.oneof(
        { maxDepth: 3 },
        fc.tuple(tie('text'), tie('list')).map(([t, l]) => `${t} in ${l}`),
        fc.tuple(tie('text'), tie('text')).map(([a, b]) => `${a}.contains(${b})`),
        tie('text').map((t) => `${t}.matches("^(a|b)[a-z]{2,5}x*$")`),
        fc.tuple(tie('list'), tie('expression')).map(([l, e]) => `${l}.exists(x, ${e})`),
        fc.tuple(tie('expression'), tie('expression')).map(([a, b]) => `(${a}) && !(${b})`),
      ),
    }));
    fc.assert(
      fc.property(expression, (text) => {
        const activation = new Activation([{}, {}, {}, {}, {}, null], facts, [], 100_000_000);
        planExpression(parsed(text), env).evaluate(activation);
        const taken = 100_000_000 - activation.stepsLeft;
        expect([text, taken <= cost(text)]).toEqual([text, true]);
      }),
      { numRuns: 300, seed: 11 },
    );
  });
});
