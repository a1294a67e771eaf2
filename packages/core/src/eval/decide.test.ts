import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IpeError } from '../errors.ts';
import type { Decision } from '../policy/index.ts';
import {
  ColdFacts,
  type Script,
  type ScriptedPolicy,
  scriptedPolicy,
  someRequest,
} from '../testkit/scripted-policies.ts';
import { type DecideInput, decide, type Outcome, type PolicyAt } from './decide.ts';
import { type Facts, factsFromMap } from './facts.ts';

const facts = factsFromMap(new Map());

function at(path: string, policy: ScriptedPolicy): PolicyAt {
  return { path, id: `id-${path}`, planned: scriptedPolicy(policy) };
}

function ask(...policies: readonly ScriptedPolicy[]): Outcome {
  const outcome = decide({ policies: policies.map((p, i) => at(`p${i}`, p)), request: someRequest, facts, now: 1 });
  if (outcome instanceof Promise) throw new Error('every fact is hot');
  return outcome;
}

test('any false match condition makes a policy not applicable, even if another errors', () => {
  expect(ask({ conditions: ['error', false], validations: [false] })).toMatchObject({
    decision: 'not_applicable',
    errors: [],
  });
  expect(ask({ conditions: [false, 'error'], validations: [false] }).decision).toBe('not_applicable');
  expect(ask({ conditions: [true, true], validations: [true] }).decision).toBe('allow');
});

test('a match condition that errors follows the failure policy', () => {
  const closed = ask({ conditions: ['error', true] });
  expect(closed.decision).toBe('deny');
  expect(closed.reasons).toEqual([
    {
      path: 'p0',
      reason: 'evaluation_error',
      message: 'could not be evaluated: division by zero (matchConditions[0])',
    },
  ]);
  const open = ask({ conditions: ['error', true], failsClosed: false });
  expect(open.decision).toBe('not_applicable');
  expect(open.errors).toEqual([
    { path: 'p0', expression: 'matchConditions[0]', reason: 'divide_by_zero', message: 'division by zero' },
  ]);
});

test('validations: any false denies with every reason, else an error follows the failure policy', () => {
  const denied = ask({ validations: [false, 'error', false, true], failsClosed: false });
  expect(denied.decision).toBe('deny');
  expect(denied.reasons.map((r) => r.reason)).toEqual(['r0', 'r2']);
  expect(denied.errors).toHaveLength(1);
  expect(ask({ validations: [true, 'error'] }).reasons.map((r) => r.reason)).toEqual(['evaluation_error']);
  expect(ask({ validations: [true, 'error'], failsClosed: false }).decision).toBe('not_applicable');
  expect(ask({ validations: ['text'] }).errors[0]).toMatchObject({ reason: 'not_a_boolean' });
});

test('a broken, empty or non-string message expression falls back to the message', () => {
  const messageOf = (message: Script | string) => ask({ validations: [false], message }).reasons[0]!.message;
  expect(messageOf('made up')).toBe('made up');
  expect(messageOf('  ')).toBe('fixed');
  expect(messageOf('error')).toBe('fixed');
  expect(messageOf(true)).toBe('fixed');
  expect(messageOf('x'.repeat(9_000)).length).toBeLessThan(3_000);
});

test('a policy without Deny never decides: it warns or audits', () => {
  const warned = ask({ validations: [false], actions: ['Warn'] });
  expect(warned).toMatchObject({ decision: 'not_applicable', reasons: [], audits: [] });
  expect(warned.warnings).toEqual([{ path: 'p0', reason: 'r0', message: 'fixed' }]);
  expect(warned.applied).toEqual([{ path: 'p0', id: 'id-p0', outcome: 'warn' }]);
  const audited = ask({ validations: ['error'], actions: ['Audit'] }, { validations: [true] });
  expect(audited).toMatchObject({ decision: 'allow', reasons: [], warnings: [] });
  expect(audited.audits[0]).toMatchObject({ reason: 'evaluation_error' });
  expect(ask({ validations: [true], actions: ['Warn'] }).decision, 'holding is not allowing').toBe('not_applicable');
});

test('a directory denies if any policy does, and nothing below means not applicable', () => {
  expect(ask({}, { validations: [false] }, {}).decision).toBe('deny');
  expect(ask({ conditions: [false] }, {}).decision).toBe('allow');
  expect(ask().decision).toBe('not_applicable');
});

const script = fc.constantFrom<Script[]>(
  true,
  false,
  'error',
  'text',
  { fact: 'a.yes' },
  { fact: 'a.no' },
  { fact: 'a.none' },
  { fact: 'b.yes' },
);
const anyPolicy = fc.record({
  conditions: fc.array(script, { maxLength: 3 }),
  validations: fc.array(script, { minLength: 1, maxLength: 3 }),
  actions: fc.constantFrom<('Deny' | 'Warn' | 'Audit')[][]>(['Deny'], ['Warn'], ['Audit'], ['Deny', 'Warn']),
  failsClosed: fc.boolean(),
}) satisfies fc.Arbitrary<ScriptedPolicy>;

const entries = new Map<string, unknown>([
  ['a.yes', true],
  ['a.no', false],
  ['b.yes', true],
]);

/** The combining rules of DESIGN §3 once more, as a table of truths. */
function model(policies: readonly ScriptedPolicy[]): Decision {
  const truth = (s: Script) =>
    typeof s === 'object' ? entries.get(s.fact) : s === true || s === false ? s : undefined;
  const verdicts = policies.map(({ conditions = [], validations = [], actions = [], failsClosed }) => {
    if (!actions.includes('Deny') || conditions.some((c) => truth(c) === false)) return 'not_applicable';
    const onError = failsClosed ? 'deny' : 'not_applicable';
    if (conditions.some((c) => truth(c) === undefined)) return onError;
    if (validations.some((v) => truth(v) === false)) return 'deny';
    return validations.some((v) => truth(v) === undefined) ? onError : 'allow';
  });
  return (['deny', 'allow'] as const).find((verdict) => verdicts.includes(verdict)) ?? 'not_applicable';
}

function input(policies: readonly ScriptedPolicy[], from: Facts): DecideInput {
  return { policies: policies.map((p, i) => at(`p${i}`, p)), request: someRequest, facts: from, now: 1 };
}

test('decisions agree with an independent model of the combining rules', () => {
  fc.assert(
    fc.property(fc.array(anyPolicy, { maxLength: 4 }), (policies) => {
      expect((decide(input(policies, factsFromMap(entries))) as Outcome).decision).toBe(model(policies));
    }),
    { seed: 5, numRuns: 2_000 },
  );
});

test('the order of policies, of conditions and of validations does not change a decision', () => {
  fc.assert(
    fc.property(fc.array(anyPolicy, { maxLength: 4 }), fc.func(fc.nat()), (policies, rank) => {
      const shuffle = <T>(items: readonly T[]) => [...items].sort((a, b) => rank(a) - rank(b));
      const other = shuffle(policies).map((p) => ({
        ...p,
        conditions: shuffle(p.conditions),
        validations: shuffle(p.validations),
      }));
      const hot = factsFromMap(entries);
      expect((decide(input(other, hot)) as Outcome).decision).toBe((decide(input(policies, hot)) as Outcome).decision);
    }),
    { seed: 5, numRuns: 500 },
  );
});

test('a decision made from cold facts equals the one made from hot facts, reads included', async () => {
  const keys = ['a.yes', 'a.no', 'a.none', 'b.yes'];
  await fc.assert(
    fc.asyncProperty(fc.array(anyPolicy, { maxLength: 4 }), fc.subarray(keys), async (policies, cold) => {
      const { passes: _hot, ...hot } = await decide(input(policies, new ColdFacts(entries, [])));
      const { passes: _cold, ...warmed } = await decide(input(policies, new ColdFacts(entries, cold)));
      expect(warmed).toEqual(hot);
    }),
    { seed: 5, numRuns: 500 },
  );
});

test('cold keys of one pass are read in one batch', async () => {
  const cold = new ColdFacts(entries, ['a.yes', 'b.yes']);
  const outcome = await decide(input([{ conditions: [{ fact: 'a.yes' }], validations: [{ fact: 'b.yes' }] }], cold));
  expect(outcome).toMatchObject({ decision: 'allow', passes: 2 });
  expect(cold.loads).toBe(1);
});

test('facts that stay cold end in an error, not in an endless loop', async () => {
  const stuck: Facts = { ...factsFromMap(new Map()), lookup: () => ({ kind: 'cold' }) };
  const refused = await Promise.resolve(decide(input([{ validations: [{ fact: 'a.yes' }] }], stuck))).catch(
    (e: unknown) => e,
  );
  expect(refused).toBeInstanceOf(IpeError);
  expect((refused as IpeError).reason).toBe('unavailable');
});
