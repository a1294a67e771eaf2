import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Activation, type FactLookup, type FactReader, type Program } from './activation.ts';
import { policyEnvironment } from './environment.ts';
import { parseExpression } from './parse.ts';
import { planExpression } from './plan.ts';
import { toJson } from './to-json.ts';
import { dyn } from './types.ts';
import { CelError, Timestamp, Unknowns } from './values.ts';

const roots = [
  { type: 'user', id: 'alice', properties: { level: 3, roles: ['a', 'b'] } },
  { name: 'deploy', properties: {} },
  { type: 'deployment', id: 'd1', properties: { environment: 'production' } },
  JSON.parse('{"__proto__": {"polluted": true}, "n": 1.5, "nothing": null}'),
  { required: 2 },
  Timestamp.fromMillis(1_700_000_000_123.5),
];
const names = ['a', 'b', 'c'];
const env = policyEnvironment({ params: { required: 2 }, variables: names.map((name) => ({ name, type: dyn })) });

/** Facts of a table; `cold` and `lost` name keys on disk and keys of namespaces not held. */
function facts(table: Record<string, unknown>, cold: readonly string[] = [], lost: readonly string[] = []): FactReader {
  return {
    lookup(namespace, key): FactLookup {
      const name = `${namespace}.${key}`;
      if (lost.includes(namespace)) return { kind: 'error', message: 'still bootstrapping' };
      if (cold.includes(name)) return { kind: 'cold' };
      return name in table ? { kind: 'value', value: table[name] } : { kind: 'absent' };
    },
    stalenessMs: (namespace) => (lost.includes(namespace) ? undefined : 12.5),
  };
}

function plan(text: string, observe = false): Program {
  const parsed = parseExpression(text);
  if (!parsed.ok) throw new Error(`${text}: ${parsed.problems[0]!.message}`);
  return planExpression(parsed.expression, env, { label: text, observe });
}

function run(text: string, reader: FactReader = facts({}), steps?: number): unknown {
  return plan(text).evaluate(new Activation(roots, reader, [], steps));
}

const approvals = { 'approvals.d1': { approvers: [{ role: 'senior' }, { role: 'junior' }] } };

describe('facts', () => {
  test('are read by key, tested, and taken optionally', () => {
    const reader = facts(approvals);
    expect(run('data.approvals[resource.id].approvers.filter(a, a.role == "senior").size()', reader)).toBe(1n);
    expect(run('resource.id in data.approvals && has(data.approvals.d1) && !("d2" in data.approvals)', reader)).toBe(
      true,
    );
    expect(run('data["approvals"].d1.approvers[1.0].role', reader)).toBe('junior');
    expect(run('data.approvals[?"d2"].hasValue()', reader)).toBe(false);
    expect(run('staleness_ms.approvals', reader)).toBe(12.5);
  });

  test('are errors when absent, with the entry named', () => {
    expect(run('data.approvals["d2"].x')).toMatchObject({ reason: 'fact_absent', message: 'no entry `approvals.d2`' });
  });

  test('are errors, never absent, where the namespace is not held', () => {
    const reader = facts({}, [], ['bans']);
    for (const text of [
      '"u" in data.bans',
      '!("u" in data.bans)',
      'has(data.bans.u)',
      'data.bans[?"u"].hasValue()',
      'data.bans.u',
    ]) {
      expect(run(text, reader)).toMatchObject({ reason: 'fact_unavailable' });
    }
    expect(run('staleness_ms.bans > 0.0', reader)).toMatchObject({ reason: 'fact_unavailable' });
  });

  test('have no entry under a key that is not a string', () => {
    expect(run('subject.properties.level in data.approvals')).toBe(false);
    expect(run('data.approvals[subject.properties.level]')).toMatchObject({ reason: 'fact_absent' });
  });

  test('that are cold are all collected in one pass, through every operator that needs both sides', () => {
    const cold = facts({}, ['n.a', 'n.b', 'n.c']);
    const keys = (text: string): readonly string[] => {
      const value = run(text, cold);
      expect(value).toBeInstanceOf(Unknowns);
      return (value as Unknowns).facts.map(({ key }) => key);
    };
    expect(keys('data.n.a.x == data.n.b.x')).toEqual(['a', 'b']);
    expect(keys('data.n.a.x && (data.n.b.x || data.n.c.x)')).toEqual(['a', 'b', 'c']);
    expect(keys('["a", "b", "a"].map(k, data.n[k].x)')).toEqual(['a', 'b']);
    expect(keys('["a", "b"].filter(k, k in data.n)')).toEqual(['a', 'b']);
    expect(keys('["a", "b"].all(k, k in data.n)')).toEqual(['a', 'b']);
    expect(keys('[data.n.a, data.n.b].size() + size(data.n.c)')).toEqual(['a', 'b', 'c']);
    expect(keys('{"x": data.n.a, "y": data.n.b}')).toEqual(['a', 'b']);
    expect(keys('"%s%s".format([data.n.a, data.n.b])')).toEqual(['a', 'b']);
  });
});

describe('logic', () => {
  const cases: [string, boolean | 'error' | 'unknown'][] = [
    ['1 / 0 > 0 && false', false],
    ['false && 1 / 0 > 0', false],
    ['1 / 0 > 0 || true', true],
    ['"k" in data.cold && false', false],
    ['"k" in data.cold || true', true],
    ['"k" in data.cold && true', 'unknown'],
    ['"k" in data.cold && 1 / 0 > 0', 'unknown'],
    ['1 / 0 > 0 || "k" in data.cold', 'unknown'],
    ['1 / 0 > 0 || false', 'error'],
    ['context.n && false', false],
    ['context.n && true', 'error'],
    ['[1, 0, 2].exists(x, 2 / x == 1)', true],
    ['[1, 0].exists(x, 2 / x == 1)', 'error'],
    ['[1, 0].all(x, 2 / x < 1)', false],
    ['[true, false].exists(x, x || "k" in data.cold)', true],
    ['[false].exists(x, x || "k" in data.cold)', 'unknown'],
    ['"k" in data.cold ? 1 / 0 > 0 : true', 'unknown'],
  ];
  test.each(cases)('makes %s %s', (text, expected) => {
    const value = run(text, facts({}, ['cold.k']));
    expect(value instanceof CelError ? 'error' : value instanceof Unknowns ? 'unknown' : value).toBe(expected);
  });
});

describe('JSON', () => {
  test('is read by own properties only', () => {
    expect(run('has(context.constructor) || has(context.toString) || "hasOwnProperty" in context')).toBe(false);
    expect(run('context.toString')).toMatchObject({ reason: 'no_such_key' });
    expect(run('context["__proto__"].polluted')).toBe(true);
    expect(run('has(subject.__proto__)')).toBe(false);
    expect(run('subject.properties.roles.length')).toMatchObject({ reason: 'no_such_overload' });
    expect(run('now.seconds')).toMatchObject({ reason: 'no_such_overload' });
  });

  test('tells null from absent', () => {
    expect(run('has(context.nothing) && context.nothing == null && !has(context.something)')).toBe(true);
  });

  test('keeps its numbers doubles', () => {
    expect(run('type(context.n) == double && subject.properties.level == 3 && subject.properties.level > 2')).toBe(
      true,
    );
    expect(run('subject.properties.level + 1')).toMatchObject({
      reason: 'no_such_overload',
      message: '`+` does not take (double, int); JSON numbers are doubles: write `1.0`, or convert with `int()`',
    });
  });
});

describe('variables', () => {
  test('are evaluated at most once, at first use, and may use macros inside macros of others', () => {
    let lookups = 0;
    const reader: FactReader = {
      ...facts({ 'n.a': [1, 2] }),
      lookup: () => {
        lookups++;
        return { kind: 'value', value: [1, 2] };
      },
    };
    const variables = [plan('data.n.a'), plan('variables.a.map(x, x * 2.0)'), plan('1 / 0')];
    const activation = new Activation(roots, reader, variables);
    expect(
      plan('variables.a.all(x, variables.b.exists(y, y == x * 2.0)) && size(variables.a) == 2').evaluate(activation),
    ).toBe(true);
    expect(lookups).toBe(1);
    expect(activation.hasVariable(2)).toBe(false);
    expect(plan('variables.c == 1').evaluate(activation)).toMatchObject({ reason: 'divide_by_zero' });
  });
});

describe('budget', () => {
  test('ends runaway expressions with an error value, the same on every run', () => {
    const many = facts({ 'n.l': Array.from({ length: 10_000 }, (_, i) => i) });
    const texts = [
      'data.n.l.all(x, data.n.l.all(y, x + y >= 0.0))',
      'data.n.l.map(x, data.n.l + []) == data.n.l.map(x, data.n.l + [])',
      'lists.range(1000000).map(x, x)',
      'data.n.l.filter(x, data.n.l.distinct().size() > 0).size()',
      '[1,2,3,4,5,6,7,8,9,10].map(a, data.n.l + data.n.l).flatten().sort()',
      'data.n.l.exists(x, "a".matches(string(x) + "(a|b)*c") || sets.contains(data.n.l, data.n.l))',
    ];
    for (const text of texts) {
      const first = new Activation(roots, many, [], 100_000);
      expect([text, plan(text).evaluate(first)]).toMatchObject([text, { reason: 'budget_exceeded' }]);
      const second = new Activation(roots, many, [], 100_000);
      plan(text).evaluate(second);
      expect(second.stepsLeft).toBe(first.stepsLeft);
    }
  });

  test('is shared by the expressions of a decision', () => {
    const activation = new Activation(roots, facts({}), [], 40);
    const program = plan('[1, 2, 3].all(x, x > 0 && x < 5)');
    expect(program.evaluate(activation)).toBe(true);
    expect(program.evaluate(activation)).toMatchObject({ reason: 'budget_exceeded' });
  });

  test('bounds texts that double', () => {
    const doubling = `cel.bind(a, "0123456789abcdef", ${'cel.bind(a, a + a, '.repeat(40)}a.size()${')'.repeat(40)})`;
    expect(run(doubling)).toMatchObject({ reason: 'budget_exceeded' });
  });
});

describe('hostile text', () => {
  test.each([
    ['brackets', '['.repeat(20_000)],
    ['closed brackets', `${'['.repeat(5_000)}${']'.repeat(5_000)}`],
    ['parentheses', `${'('.repeat(5_000)}1${')'.repeat(5_000)}`],
    ['conditionals', `${'a ? b : '.repeat(3_000)}c`],
    ['calls', `${'f('.repeat(5_000)}${')'.repeat(5_000)}`],
    ['selections', `a${'.b'.repeat(10_000)}`],
    ['sums', `${'1 + '.repeat(5_000)}1`],
    ['negations', `${'!('.repeat(3_000)}a${')'.repeat(3_000)}`],
    ['length', `"${'a'.repeat(40_000)}"`],
    ['half a character', '"\ud800"'],
    ['an escaped half', '"\\ud800"'],
    ['a code point too far', '"\\U00110000"'],
    ['a number too large', '9223372036854775808'],
    ['a double too large', '1e400'],
    ['nothing', '  // only a comment'],
  ])('of %s is refused with a problem', (_, text) => {
    const parsed = parseExpression(text);
    expect(parsed.ok).toBe(false);
    if (!parsed.ok) expect(parsed.problems[0]!.message).not.toBe('');
  });

  test('of any kind never throws', () => {
    const pieces = fc.constantFrom(
      ...'a b.c ( ) [ ] { } , : ? . && || ! - + * 1 1.5 2u "s" \'t\' """ r" \\ in has all // \n ` é 😀 @ = & |'.split(
        ' ',
      ),
      ' ',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
        const parsed = parseExpression(parts.join(''));
        if (!parsed.ok) {
          const { span } = parsed.problems[0]!;
          expect(span!.offset + span!.length).toBeLessThanOrEqual(parts.join('').length);
        }
      }),
      { numRuns: 3_000, seed: 5 },
    );
  });
});

describe('spans', () => {
  test.each([
    ['(a + b) * c', ['(a + b) * c', 'a + b', 'a', 'b', 'c']],
    ['a.b[c].d(e, f)', ['a.b[c].d(e, f)', 'a.b[c]', 'a.b', 'a', 'c', 'e', 'f']],
    ['x.all(y, !y)', ['x.all(y, !y)', 'x', '!y', 'y']],
    ['has(a.b) && (c || (d))', ['has(a.b) && (c || (d))', 'has(a.b)', 'a', 'c || (d)', 'c', 'd']],
    ['f(-1, "é", {k: [v]})', ['f(-1, "é", {k: [v]})', '-1', '"é"', '{k: [v]}', 'k', '[v]', 'v']],
    ['a ? b : // why\n c', ['a ? b : // why\n c', 'a', 'b', 'c']],
    ['a.?b[?0].`c-d`', ['a.?b[?0].`c-d`', 'a.?b[?0]', 'a.?b', 'a', 'b', '0']],
  ])('of %s cover each node', (text, expected) => {
    const parsed = parseExpression(text);
    if (!parsed.ok) throw new Error(parsed.problems[0]!.message);
    const { spans } = parsed.expression;
    expect(spans!.slice(1).map(({ offset, length }) => text.slice(offset, offset + length))).toEqual(expected);
  });

  test('count lines and columns from one', () => {
    const parsed = parseExpression('a &&\r\n  b');
    if (!parsed.ok) throw new Error(parsed.problems[0]!.message);
    expect(parsed.expression.spans![3]).toEqual({ offset: 8, length: 1, line: 2, column: 3 });
  });
});

describe('observation', () => {
  test('reports every node evaluated and gives the same values', () => {
    const texts = [
      'size(subject.properties.roles) >= params.required',
      'subject.id in ["a", "alice"]',
      'context.n > 1.0 || false',
    ];
    for (const text of texts) {
      const seen: [number, unknown][] = [];
      const observer = { node: (_: Program, id: number, value: unknown) => void seen.push([id, value]) };
      const observed = plan(text, true).evaluate(new Activation(roots, facts({}), [], undefined, observer));
      expect(observed).toEqual(run(text));
      expect(seen.at(-1)).toEqual([1, observed]);
      expect(new Set(seen.map(([id]) => id)).size).toBe(seen.length);
    }
  });
});

describe('toJson', () => {
  test('shows any value, cutting long ones short', () => {
    expect(toJson(run('[1, 2u, 1.5, b"ab", now, duration("90s"), int, null, 9007199254740993, {1: "x"}]'))).toEqual([
      1,
      2,
      1.5,
      'YWI=',
      '2023-11-14T22:13:20.1235Z',
      '90s',
      'int',
      null,
      '9007199254740993',
      { '1': 'x' },
    ]);
    expect(toJson([1n, 2n, 3n], 2)).toEqual([1, 2, '...']);
  });
});
