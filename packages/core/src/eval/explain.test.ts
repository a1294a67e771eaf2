import { expect, test } from 'vitest';
import { primitives } from '../../test/node-runtime.ts';
import { compilePolicy, planObservedPolicy } from '../policy/index.ts';
import { ColdFacts, someRequest } from '../testkit/scripted-policies.ts';
import { decide } from './decide.ts';
import { ExplanationCollector, type ObservedPolicyAt } from './explain.ts';

function observed(path: string, source: string): ObservedPolicyAt {
  const result = compilePolicy(source, { primitives });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return { path, id: path, planned: planObservedPolicy(result.compiled.program, primitives) };
}

const policies = [
  observed(
    'a',
    `matchConditions: [{name: ours, expression: 'resource.type == "record"'}]
variables:
  - {name: owner, expression: "data.owners[resource.id].name"}
  - {name: unused, expression: "1 + 1"}
validations:
  - expression: variables.owner == subject.id || size(params.friends.filter(f, f == subject.id)) > 0
    reason: not_yours
  - {expression: 1 / 0 == 1}
params: {friends: [carol]}
`,
  ),
  observed('b', 'matchConditions: [{expression: \'resource.type == "todo"\'}]\nvalidations: [{expression: "true"}]'),
];

test('an explanation tells the value of every expression and of its parts, also after cold facts', async () => {
  const facts = new ColdFacts(new Map([['owners.r1', { name: 'bob' }]]), ['owners.r1']);
  const collector = new ExplanationCollector();
  const outcome = await decide({ policies, request: someRequest, facts, now: 1, observer: collector });
  expect(outcome.passes).toBe(2);
  const { policies: explained } = collector.explain(policies, outcome);
  const [a, b] = explained;
  expect(a).toMatchObject({
    path: 'a',
    outcome: 'deny',
    matchConditions: [{ label: 'matchConditions[0] (ours)', evaluated: true, value: true }],
    variables: [
      { label: 'variables.owner', value: 'bob' },
      { label: 'variables.unused', evaluated: false },
    ],
    validations: [
      { label: 'validations[0]', value: false },
      { label: 'validations[1]', error: expect.stringContaining('zero') },
    ],
  });
  const parts = Object.fromEntries(a!.validations[0]!.parts.map((part) => [part.expression, part.value]));
  expect(parts).toMatchObject({
    'variables.owner == subject.id': false,
    'variables.owner': 'bob',
    'subject.id': 'alice',
    'params.friends': ['carol'],
    'f == subject.id': false,
  });
  expect(b).toMatchObject({
    outcome: 'not_applicable',
    matchConditions: [{ value: false }],
    validations: [{ evaluated: false }],
  });
});

test('explaining does not change the decision or what was read', async () => {
  const entries = new Map([['owners.r1', { name: 'alice' }]]);
  const ask = (observer?: ExplanationCollector) =>
    decide({
      policies,
      request: someRequest,
      facts: new ColdFacts(entries, []),
      now: 1,
      ...(observer === undefined ? {} : { observer }),
    });
  expect(await ask(new ExplanationCollector())).toEqual(await ask());
});
