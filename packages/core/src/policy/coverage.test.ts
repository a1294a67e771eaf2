import { expect, test } from 'vitest';
import { primitives } from '../../test/node-runtime.ts';
import { decideOnce, factsFromMap } from '../eval/index.ts';
import { compilePolicy } from './compile.ts';
import { CoverageCollector } from './coverage.ts';
import { planObservedPolicy } from './plan.ts';

const source = `
matchConditions:
  - expression: resource.type == "doc"
variables:
  - name: roles
    expression: 'has(subject.properties.roles) ? subject.properties.roles : []'
validations:
  - expression: subject.id == "root" || (variables.roles.exists(r, r == "editor") && action.name != "delete")
    messageExpression: '"no role for " + subject.id'
`;

function covered(requests: readonly { id: string; roles?: readonly string[]; action?: string; type?: string }[]) {
  const compiled = compilePolicy(source, { primitives });
  if (!compiled.ok) throw new Error(compiled.problems[0]!.message);
  const planned = planObservedPolicy(compiled.compiled.program, primitives);
  const observer = new CoverageCollector();
  for (const { id, roles, action = 'read', type = 'doc' } of requests) {
    decideOnce(
      {
        policies: [{ path: 'docs', id: '', planned }],
        request: {
          subject: { type: 'user', id, properties: roles === undefined ? {} : { roles } },
          action: { name: action, properties: {} },
          resource: { type, id: 'd', properties: {} },
          context: {},
        },
        facts: factsFromMap(new Map()),
        now: 0,
        observer,
      },
      1,
    );
  }
  const { seen, all, uncovered } = observer.report([{ path: 'docs', planned }]);
  return {
    seen,
    all,
    missing: uncovered.map(({ expression, text, missing }) => `${expression}: ${text}: ${missing.join()}`),
  };
}

test('nothing is covered before anything was decided', () => {
  const { seen, all, missing } = covered([]);
  expect([seen, all]).toEqual([0, 16]);
  expect(missing).toHaveLength(9);
});

test('one request covers one way of each part it reaches', () => {
  const { seen, missing } = covered([{ id: 'alice', roles: ['editor'] }]);
  expect(seen).toBe(8);
  expect(missing).toContain('validations[0]: subject.id == "root": true');
  expect(missing).toContain('variables.roles: has(subject.properties.roles): false');
  expect(missing).toContain('validations[0].messageExpression: "no role for " + subject.id: evaluated');
});

test('requests that decide every part both ways cover it all', () => {
  const { seen, all, missing } = covered([
    { id: 'root' },
    { id: 'alice', roles: ['reader', 'editor'] },
    { id: 'alice', roles: ['editor'], action: 'delete' },
    { id: 'bob' },
    { id: 'bob', type: 'folder' },
  ]);
  expect(missing).toEqual([]);
  expect(seen).toBe(all);
});
