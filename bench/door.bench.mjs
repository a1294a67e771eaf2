import { createClient } from '@ipe/client';
import { source } from './harness/policies.mjs';
import { startIpe } from './harness/servers.mjs';

const path = 'prod.deployment.approval';
const question = {
  subject: { type: 'user', id: 'alice' },
  action: { name: 'deploy' },
  resource: { type: 'deployment', id: 'd1', properties: { environment: 'production' } },
};
const approvers = (count) => Array.from({ length: count }, (_, i) => ({ user: `s-${i}`, role: 'senior_engineer' }));

/** Clients of a node that holds the approval example and its facts. */
async function openPlanes(b) {
  const { addresses, tokens } = await startIpe(b);
  const open = (plane, token) => {
    const client = createClient({ socket: addresses[plane][0], token: tokens[token] });
    b.defer(() => client.close());
    return client;
  };
  const control = open('control', 'admin');
  await control.control.call('put-policy', { path, source });
  const data = open('data', 'service');
  const evaluation = open('evaluation', 'application');
  const ask = (params = question) => evaluation.evaluation.evaluate(path, { ...params, receipt: 'none' });
  await data.data.put('approvals.d1', { approvers: approvers(1) });
  b.check((await ask()).decision === 'deny', 'one senior is not enough');
  await data.data.put('approvals.d1', { approvers: approvers(3) });
  b.check((await ask()).decision === 'allow', 'three seniors are enough');
  return { data, evaluation, ask };
}

/** Calls `run` `count` times, `inFlight` at a time. */
async function concurrently(count, inFlight, run) {
  let next = 0;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (next < count) await run(next++);
    }),
  );
}

export const benches = [
  {
    id: 'door/decision',
    question: 'How long does a decision take over the socket, and how many fit into a second?',
    sizes: 'the approval example, three approvers held hot; a node in another process, one client, unix socket',
    async run(b) {
      const { evaluation, ask, data } = await openPlanes(b);
      const samples = b.size(5000);
      await b.latency('/rpc, one at a time', { samples, aim: 'p99 <0.5 ms' }, () => ask());
      const plain = { ...question, receipt: 'plain' };
      await b.latency('/rpc with a receipt', { samples }, () => evaluation.evaluation.evaluate(path, plain));
      const session = await evaluation.session();
      b.defer(() => session.close());
      const inSession = () => session.evaluation.evaluate(path, { ...question, receipt: 'none' });
      b.check((await inSession()).decision === 'allow', 'a session answers something else');
      await b.latency('/stream, one at a time', { samples, aim: 'p99 <0.5 ms' }, inSession);
      const count = b.size(20_000);
      await b.rate('/stream, 64 in flight', { count, rounds: 3 }, () => concurrently(count, 64, inSession));
      let writing = true;
      const writer = await data.session();
      b.defer(() => writer.close());
      const writers = Array.from({ length: 64 }, async (_, i) => {
        for (let n = 0; writing; n++) await writer.data.put(`limits.u${i}`, { n });
      });
      await b.latency('/rpc while 64 writers put (fsync)', { samples }, () => ask());
      await b.latency('/stream while 64 writers put (fsync)', { samples }, inSession);
      writing = false;
      await Promise.all(writers);
    },
  },
];
