import { isIpeError } from '@ipe/core';
import { decide, factsFromMap, type Outcome } from '@ipe/core/eval';
import { type Json, planPolicy, readRequest } from '@ipe/core/policy';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nodePrimitives } from '../repository/primitives.ts';
import { compiled, evaluationFixture } from '../testkit/evaluation.ts';

/** Conditions with and without literal tests, alone, joined, beside errors and facts. */
const conditions = [
  'resource.type == "a"',
  '"b" == resource.type',
  'resource.type in ["a", "c"]',
  'action.name == "read" && subject.type == "user"',
  'action.name in ["write"] && data.flags[resource.id] == true',
  'subject.type != "robot"',
  'data.flags[subject.id] == true',
  'resource.properties.missing == 1',
  'resource.type == "a" || action.name == "write"',
  '!(resource.type == "a")',
];
const validations = ['true', 'false', 'subject.id in data.flags', '1 / 0 == 1', 'data.flags[subject.id] == true'];

const policies = fc.array(
  fc
    .record({
      conditions: fc.array(fc.constantFrom(...conditions), { maxLength: 3 }),
      validation: fc.constantFrom(...validations),
      action: fc.constantFrom('Deny', 'Warn'),
      failurePolicy: fc.constantFrom('Fail', 'Ignore'),
      directory: fc.constantFrom('', 'x.', 'x.y.', 'z.'),
    })
    .map(({ directory, ...policy }) => ({
      directory,
      text: [
        `matchConditions: [${policy.conditions.map((each) => `{expression: '${each}'}`).join(', ')}]`,
        `validations: [{expression: '${policy.validation}'}]`,
        `validationActions: [${policy.action}]`,
        `failurePolicy: ${policy.failurePolicy}`,
      ].join('\n'),
    })),
  { minLength: 1, maxLength: 8 },
);
const requests = fc.record({
  subject: fc.record({ type: fc.constantFrom('user', 'robot'), id: fc.constantFrom('yes', 'no', 'none') }),
  action: fc.record({ name: fc.constantFrom('read', 'write') }),
  resource: fc.record({ type: fc.constantFrom('a', 'b', 'd'), id: fc.constantFrom('yes', 'none') }),
});
const flags: [string, Json][] = [
  ['flags.yes', true],
  ['flags.no', false],
];

test('the index and the caches never change an answer, what applied or what was read', async () => {
  await fc.assert(
    fc.asyncProperty(policies, fc.array(requests, { minLength: 1, maxLength: 4 }), async (made, asked) => {
      const byPath = Object.fromEntries(made.map(({ directory, text }, i) => [`p.${directory}n${i}`, text]));
      const { call, store } = await evaluationFixture({ policies: byPath, facts: flags });
      const all = await Promise.all(
        Object.keys(byPath)
          .sort()
          .map(async (path) => {
            const { hash } = (await store.current().lookup(path))!;
            return { path, id: hash, planned: planPolicy(compiled(path, byPath[path]!).program, nodePrimitives) };
          }),
      );
      for (const body of asked) {
        const { receipt, ...answer } = await call('evaluate', { path: 'p', ...body });
        const read = readRequest(body);
        if (!read.ok) throw new Error(read.problem.message);
        const facts = factsFromMap(new Map(flags));
        const outcome = decide({ policies: all, request: read.request, facts, now: receipt.now }) as Outcome;
        const { decision, reasons, warnings, errors } = outcome;
        expect(answer).toEqual({ decision, reasons, warnings, errors });
        expect(receipt.applied).toEqual(outcome.applied);
        const keys = new Set(outcome.lookups.map(({ namespace, key }) => `${namespace}.${key}`));
        expect(receipt.reads.map((each: { key: string }) => each.key)).toEqual([...keys].sort());
      }
    }),
    { seed: 17, numRuns: 60 },
  );
});

test('whatever is sent is answered or refused, and every view of the facts is released', async () => {
  const { call, rest, source } = await evaluationFixture({
    policies: { 'p.a': 'validations: [{expression: subject.id in data.flags}]' },
    facts: flags,
    config: { search: { user: { namespace: 'flags' } } },
  });
  const good = { subject: { type: 'user', id: 'yes' }, action: { name: 'read' }, resource: { type: 'a', id: 'yes' } };
  const junk = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom<unknown>(undefined, good, { ...good, path: 'p' }, '__proto__', { __proto__: { a: 1 } }, '\ud800'),
  );
  const names = [
    'path',
    'subject',
    'action',
    'resource',
    'context',
    'receipt',
    'explain',
    'now',
    'root',
    'evaluations',
    'options',
    'page',
    'paths',
    'id',
  ];
  const body = fc
    .tuple(fc.boolean(), fc.dictionary(fc.constantFrom(...names), junk, { maxKeys: 4 }))
    .map(([whole, parts]) => (whole ? { ...good, path: 'p', ...parts } : parts));
  const admin = { caller: { kind: 'admin', tokenId: 't', name: 'ada' } } as const;
  const methods = ['evaluate', 'evaluate-batch', 'replay', 'list-policies', 'get-policy', 'subscribe', 'unsubscribe'];
  const paths = ['evaluation', 'evaluations', 'search/subject', 'search/resource', 'search/action'];
  const answered = async (ask: () => Promise<unknown>) => {
    try {
      await ask();
    } catch (error) {
      if (!isIpeError(error)) throw error;
    }
  };
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(body, junk),
      fc.constantFrom(...methods),
      fc.constantFrom(...paths),
      async (sent, method, path) => {
        await answered(() => call(method, sent, admin));
        await answered(() => rest(`/access/v1/${path}`, sent ?? null));
        expect(source.openViews).toBe(0);
      },
    ),
    { seed: 17, numRuns: 1_500 },
  );
});
