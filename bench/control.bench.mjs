import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createClient } from '@ipe/client';
import { policyPaths, source, tests } from './harness/policies.mjs';
import { startIpe } from './harness/servers.mjs';

const variant = (n) => source.replaceAll('senior engineers', `senior engineers (${n})`);
const question = {
  subject: { type: 'user', id: 'alice' },
  action: { name: 'deploy' },
  resource: { type: 'deployment', id: 'd1', properties: { environment: 'production' } },
};

async function openNode(b) {
  const { addresses, tokens } = await startIpe(b);
  const open = (plane, token) => {
    const client = createClient({ socket: addresses[plane][0], token: tokens[token] });
    b.defer(() => client.close());
    return client;
  };
  return { control: open('control', 'admin').control, evaluation: open('evaluation', 'application').evaluation };
}

const milliseconds = async (run) => {
  const start = performance.now();
  const result = await run();
  return [performance.now() - start, result];
};

/** A Git repository of policies with tests, and a way to change some of them. */
function repositoryOf(b, count) {
  const directory = b.directory();
  const git = (...args) =>
    execFileSync('git', ['-c', 'user.name=Bench', '-c', 'user.email=bench@example.com', ...args], { cwd: directory });
  const paths = policyPaths(count);
  const write = (i, n) => {
    const file = join(directory, paths[i].replaceAll('.', '/'));
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(`${file}.policy.yaml`, variant(n));
    writeFileSync(`${file}.test.yaml`, tests);
  };
  const commit = () => {
    git('add', '--all');
    git('commit', '--quiet', '-m', 'bench');
  };
  git('init', '--quiet', '--initial-branch=main');
  for (let i = 0; i < count; i++) write(i, i);
  commit();
  return { directory, write, commit };
}

export const benches = [
  {
    id: 'control/apply',
    question: 'What do decisions notice of 10,000 policies being applied?',
    sizes: '10,000 variants of the approval example in one apply; a node in another process, decisions one at a time',
    async run(b) {
      const { control, evaluation } = await openNode(b);
      await control.call('put-policy', { path: 'probe', source });
      const ask = () => evaluation.evaluate('probe', { ...question, receipt: 'none' });
      b.check((await ask()).decision === 'deny', 'nobody approved');
      await b.latency('decision over the socket, node at rest', { samples: b.size(5000) }, ask);
      const changes = policyPaths(b.size(10_000)).map((path, i) => ({ path, source: variant(i) }));
      let done = false;
      const applying = milliseconds(() => control.apply(changes, { timeoutMs: 600_000 })).finally(() => {
        done = true;
      });
      const times = [];
      while (!done) {
        const [took] = await milliseconds(ask);
        times.push(took);
      }
      const [took, applied] = await applying;
      b.check(applied.changed.length === changes.length, `${applied.changed.length} policies changed`);
      b.percentiles('decision over the socket, while they are compiled and stored', times);
      b.value('longest wait of a decision meanwhile', Math.max(...times), 'ms');
      b.value('apply', took / 1000, 's');
    },
  },
  {
    id: 'control/sync',
    question: 'How long does a sync from Git take?',
    sizes: '1,000 policies with two tests each in a local repository; a node in another process',
    async run(b) {
      const { control } = await openNode(b);
      const sync = (params) => control.call('sync-from-git', params, { timeoutMs: 600_000 });
      const small = repositoryOf(b, b.size(100));
      const [first, made] = await milliseconds(() => sync({ repository: small.directory, prefix: 'small' }));
      b.check(made.policies_added === b.size(100) && made.tests > 0, `${made.policies_added} policies were added`);
      b.value('first sync of 100 policies', first / 1000, 's', { aim: '<5 s' });
      const large = repositoryOf(b, b.size(1000));
      const request = { repository: large.directory, prefix: 'large' };
      const [whole] = await milliseconds(() => sync(request));
      b.value('first sync of 1,000', whole / 1000, 's');
      for (let i = 0; i < 10; i++) large.write(i, 5000 + i);
      large.commit();
      const [some, changed] = await milliseconds(() => sync(request));
      b.check(changed.policies_updated === 10, `${changed.policies_updated} policies were updated`);
      b.value('sync of 10 changes in 1,000', some / 1000, 's');
      const [none, still] = await milliseconds(() => sync(request));
      b.check(still.status === 'up-to-date', still.status);
      b.value('sync without changes', none / 1000, 's');
    },
  },
];
