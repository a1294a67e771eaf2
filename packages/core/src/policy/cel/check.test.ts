import { describe, expect, test } from 'vitest';
import { type CheckResult, checkExpression } from './check.ts';
import { policyEnvironment } from './environment.ts';
import { parseExpression } from './parse.ts';
import { json, listOf, typeName } from './types.ts';

const env = policyEnvironment({
  params: { required: 2, roles: ['admin'], limits: { day: 5 } },
  variables: [{ name: 'approvers', type: listOf(json) }],
  laterVariables: ['seniors'],
});

function check(text: string): CheckResult {
  const parsed = parseExpression(text);
  if (!parsed.ok) throw new Error(`${text}: ${parsed.problems[0]!.message}`);
  return checkExpression(parsed.expression, env);
}

/** Type of a sound expression. */
function typeOf(text: string): string {
  const { type, problems } = check(text);
  expect(problems.map((problem) => problem.message)).toEqual([]);
  return typeName(type);
}

/** Code, underlined text, message and nearest name of the only problem. */
function problemOf(text: string): readonly [string, string, string, string | null] {
  const { problems } = check(text);
  expect(problems).toHaveLength(1);
  const { code, span, message, nearest } = problems[0]!;
  return [code, text.slice(span!.offset, span!.offset + span!.length), message, nearest];
}

describe('checkExpression', () => {
  test('gives the type of sound expressions over the request, parameters and facts', () => {
    expect(typeOf('subject.id')).toBe('string');
    expect(typeOf('resource.properties.environment in ["production"]')).toBe('bool');
    expect(typeOf('now - duration("1h")')).toBe('timestamp');
    expect(typeOf('staleness_ms.approvals < 500.0')).toBe('bool');
    expect(typeOf('variables.approvers.filter(a, a.role == "senior")')).toBe('list(dyn)');
    expect(typeOf('resource.id in data.approvals ? data.approvals[resource.id].approvers : []')).toBe('dyn');
    expect(typeOf('size(variables.approvers) >= params.required')).toBe('bool');
    expect(typeOf('data.approvals.?d1.orValue({}).?approvers.hasValue()')).toBe('bool');
    expect(typeOf('params.limits.day * 2.0')).toBe('double');
    expect(typeOf('context.list[context.index] == 1')).toBe('bool');
  });

  test('collects what an expression refers to, each name once and sorted', () => {
    const { references } = check(
      'subject.id in data.users && staleness_ms["rate-limits"] < 5.0 && has(data.approvals.x) && data.users["a"].n > 1 && size(variables.approvers) > 0',
    );
    expect(references).toEqual({
      namespaces: ['approvals', 'rate-limits', 'users'],
      variables: ['approvers'],
      roots: ['subject'],
    });
  });

  test('names the nearest name for a slip of the finger', () => {
    expect(problemOf('resorce.id == "x"')).toEqual(['unknown_name', 'resorce', 'unknown name `resorce`', 'resource']);
    expect(problemOf('params.requird')).toEqual([
      'unknown_field',
      'params.requird',
      '`params` has no field `requird`',
      'required',
    ]);
    expect(problemOf('variables.aprovers')[3]).toBe('approvers');
    expect(problemOf('approvers')[3]).toBe('variables.approvers');
    expect(problemOf('subject.id.startWith("a")')[3]).toBe('startsWith');
    expect(problemOf('subject.team == "x"')[3]).toBe('subject.properties.team');
    expect(problemOf('variables.seniors')[2]).toBe('`variables.seniors` is declared later; move it up');
  });

  test('tells to write doubles where a double meets an int literal', () => {
    const message = '`+` does not mix double and int; JSON numbers are doubles: write `1.0`';
    expect(problemOf('params.required + 1 > 2.0')).toEqual(['no_overload', '1', message, null]);
    expect(problemOf('context.count + 1 > 2')[2]).toBe(message);
    expect(problemOf('data.n["k"].count * 2')[2]).toContain('write `2.0`');
    expect(problemOf('variables.approvers.exists(a, a.level - 1 > 0)')[2]).toContain('write `1.0`');
    expect(problemOf('params.required + size(subject.id) > 2.0')[2]).toContain('convert with `double()` or `int()`');
    expect(problemOf('subject.id.substring(context.n)')[2]).toContain('JSON');
    expect(problemOf('context.until > now')[2]).toContain('convert with `timestamp()`');
  });

  test('compares numbers of any type', () => {
    expect(typeOf('params.required == 2 && 2u < 3 && params.required in [1, 2]')).toBe('bool');
  });

  test.each([
    'data',
    'data.approvals',
    'size(data.approvals)',
    'data.approvals == {}',
    'data.approvals.map(k, k)',
    'data[resource.type]["x"]',
    'has(data.approvals)',
    '[data.approvals]',
    'staleness_ms',
    'staleness_ms[subject.id]',
    'has(staleness_ms.approvals)',
    'variables',
    'variables["a" + "b"]',
  ])('refuses `%s`, which would use what is not a value', (text) => {
    expect(check(text).problems.map((problem) => problem.code)).toContain('data_misuse');
  });

  test('lets a macro variable hide `data`', () => {
    expect(typeOf('params.roles.exists(data, data == "admin")')).toBe('bool');
  });

  test('finds literals that can never work', () => {
    expect(problemOf('subject.id.matches("(")')[1]).toBe('"("');
    expect(problemOf('now < timestamp("2026-02-30T00:00:00Z")')[0]).toBe('invalid_literal');
    expect(problemOf('duration("1 hour") > duration("1h")')[0]).toBe('invalid_literal');
    expect(problemOf('now.getHours("Europe/Roma") > 8')[2]).toContain('did you mean `Europe/Rome`?');
  });

  test('reports one mistake once, and every mistake', () => {
    expect(check('subject.idd.startsWith("a") && size(subject.idd) > 1 + 1').problems).toHaveLength(2);
    expect(check('foo + bar').problems.map((problem) => problem.message)).toEqual([
      'unknown name `foo`',
      'unknown name `bar`',
    ]);
  });

  test('tells how a function is called', () => {
    expect(problemOf('startsWith(subject.id, "a")')[2]).toBe('`startsWith` is called as `x.startsWith(...)`');
    expect(problemOf('subject.id.contains(1)')[2]).toBe(
      '`contains` does not take (string, int); it takes (string, string)',
    );
    expect(problemOf('timestamp{seconds: 1}')[0]).toBe('unsupported');
    expect(problemOf('!subject.id')[0]).toBe('no_overload');
    expect(problemOf('subject.id && true')[2]).toBe('`&&` takes bool, not string');
  });
});
