import { decide, factsFromMap } from '@ipe/core/eval';
import { compilePolicy, planPolicy } from '@ipe/core/policy';
import { nodePrimitives as primitives } from '../packages/ipe/dist/repository/index.js';
import { source } from './harness/policies.mjs';

const deployment = (required) => ({
  subject: { type: 'user', id: 'alice', properties: {} },
  action: { name: 'deploy', properties: {} },
  resource: { type: 'deployment', id: 'd1', properties: { environment: 'production', required } },
  context: {},
});

function factsOf(seniors) {
  const approvers = Array.from({ length: seniors }, (_, i) => ({ user: `senior-${i}`, role: 'senior_engineer' }));
  return factsFromMap(new Map([['approvals.d1', { approvers: [...approvers, { user: 'bob', role: 'engineer' }] }]]));
}

export const benches = [
  {
    id: 'decision/in-process',
    question: 'How fast is a decision in process?',
    sizes:
      'the approval example with three approvers held hot, allowed and denied in turn; planning and compiling beside it',
    async run(b) {
      const { compiled } = compilePolicy(source, { primitives });
      const planned = planPolicy(compiled.program, primitives);
      const at = [{ path: 'prod.deployment.approval', id: 'x', planned }];
      const request = deployment();
      const ask = (facts) => decide({ policies: at, request, facts, now: 1_700_000_000 });
      const enough = factsOf(2);
      const few = factsOf(1);
      b.check(ask(enough).decision === 'allow', `two seniors: ${JSON.stringify(ask(enough))}`);
      b.check(ask(few).decision === 'deny', 'one senior is not enough');
      const count = b.size(300_000);
      await b.rate('decide, hot facts', { count, aim: '<3 µs each' }, () => {
        for (let i = 0; i < count; i += 2) {
          ask(enough);
          ask(few);
        }
      });
      const compiles = b.size(2000);
      await b.rate('compile the policy', { count: compiles, rounds: 3 }, () => {
        for (let i = 0; i < compiles; i++) compilePolicy(source, { primitives });
      });
      await b.rate('decode and plan its program', { count: compiles, rounds: 3 }, () => {
        for (let i = 0; i < compiles; i++) planPolicy(compiled.program, primitives);
      });
    },
  },
];
