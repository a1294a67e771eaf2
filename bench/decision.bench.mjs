import { decide, factsFromMap } from '@ipe/core/eval';
import { compilePolicy, planPolicy } from '@ipe/core/policy';
import { openMemoryKv } from '@ipe/core/store';
import { openPolicyStore, policyFamilies } from '@ipe/core/tree';
import { createEvaluationService, defaultEvaluationConfig } from '../packages/ipe/dist/evaluation/index.js';
import { nodePrimitives as primitives } from '../packages/ipe/dist/repository/index.js';
import { source, treeRuntime } from './harness/policies.mjs';

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
  {
    id: 'decision/service',
    question: 'What does a decision cost the evaluation plane, receipt and wide trees included?',
    sizes: '10,000 policies in 100 directories, one a resource type; facts hot; in process, without the socket',
    async run(b) {
      const policies = b.size(10_000);
      const { store, service } = await wideTree(policies);
      const caller = { kind: 'admin', tokenId: 'bench', name: 'bench' };
      const context = { caller, signal: new AbortController().signal };
      const ask = (path, type, receipt) =>
        service.handlers.evaluate(
          {
            path,
            subject: { type: 'user', id: 'alice' },
            action: { name: 'read' },
            resource: { type, id: 'r1' },
            receipt,
          },
          context,
        );
      const started = performance.now();
      const first = await ask('', 't77', 'plain');
      const firstMs = performance.now() - started;
      b.check(first.decision === 'allow' && first.receipt.applied.length === 1, JSON.stringify(first));
      b.value('first decision of the whole tree (reads and indexes every policy)', firstMs, 'ms');
      b.check(ask('', 'none', 'plain').decision === 'not_applicable', 'no policy is for this type');
      const count = b.size(50_000);
      const run = (path, receipt) => () => {
        for (let i = 0; i < count; i++) ask(path, 't77', receipt);
      };
      await b.rate('one policy, no receipt', { count }, run('d77.p77', 'none'));
      await b.rate('one policy, plain receipt', { count }, run('d77.p77', 'plain'));
      await b.rate(`the whole tree of ${policies}, no receipt`, { count }, run('', 'none'));
      const root = store.current().root;
      await put(store, [['d5.extra', 't5']]);
      b.check(store.current().root !== root, 'the root moved');
      const again = performance.now();
      await ask('', 't77', 'none');
      b.value('first decision of the whole tree after an update', performance.now() - again, 'ms');
    },
  },
];

const policyFor = (type) =>
  `matchConditions: [{expression: 'resource.type == "${type}"'}]\nvalidations: [{expression: subject.id != "mallory"}]\n`;

let compiled;

/** Written into the compiled example, whose type stands in it once: compiling ten thousand takes minutes. */
function filesFor(type) {
  compiled ??= compilePolicy(policyFor('TYPE'), { primitives }).compiled;
  const variant = (bytes) => primitives.utf8Encode(primitives.utf8Decode(bytes).replace('TYPE', type));
  return { source: variant(compiled.source), program: variant(compiled.program), manifest: compiled.manifest };
}

const author = { name: 'bench', email: 'bench@ipe' };

function put(store, entries) {
  const changes = entries.map(([path, type]) => ({ path, files: filesFor(type) }));
  return store.update({ changes, author, message: 'bench', timeMs: 0 });
}

/** A service over a store in memory with `count` policies, each for a resource type of its own. */
async function wideTree(count) {
  const store = await openPolicyStore({ kv: openMemoryKv({ families: policyFamilies }), ...treeRuntime });
  const entries = Array.from({ length: count }, (_, i) => [`d${i % 100}.p${i}`, `t${i}`]);
  for (let i = 0; i < count; i += 1_000) await put(store, entries.slice(i, i + 1_000));
  let ids = 0;
  const view = factsFromMap(new Map());
  const service = createEvaluationService({
    policies: store,
    facts: {
      open: () => view,
      freshAsOf: async () => {},
      scan: async () => ({ entries: [] }),
      versions: async () => [],
    },
    primitives,
    clock: () => Date.now(),
    monotonic: () => performance.now(),
    newId: () => `${++ids}`,
    config: defaultEvaluationConfig,
    version: 'bench',
    instance: 'bench',
  });
  return { store, service };
}
