import { Scrubber } from '../packages/ipe/dist/data/index.js';
import { Replication } from '../packages/ipe/dist/replication/index.js';
import { startMesh } from '../packages/ipe/dist/testkit/mesh.js';
import { keyOf, openFactEngine, putOf, submit } from './harness/facts.mjs';

const quiet = { error: () => {}, warn: () => {}, info: () => {} };

/** A member of a mesh with its digests, over a directory that outlives it. */
async function startMember(b, mesh, index, directory) {
  const engine = await openFactEngine(b, { origin: mesh.identities[index].origin, directory, isClustered: true });
  const scrubber = new Scrubber({ engine, intervalMs: 0, rowsPerSecond: 1e7, log: quiet });
  const replication = await Replication.start({
    engine,
    identity: mesh.identities[index],
    directory: mesh.directories[index],
    peers: mesh.peers[index],
    interest: 'all',
    scrubber,
    digestSecret: mesh.keys.secret,
    comparison: { intervalMs: 250 },
    memory: { load: async () => ({ settledInterest: 'all' }), save: async () => {} },
    now: Date.now,
    log: quiet,
  });
  engine.attach(replication);
  const close = async () => {
    await replication.close();
    await scrubber.close();
    await engine.close();
  };
  return { engine, replication, close };
}

const statusOf = ({ replication }) => replication.status().repair;
const equalSince = (member, ms) =>
  statusOf(member).peers.some(({ namespace, equalMs = 0 }) => namespace === 'limits' && equalMs > ms);

async function until(isSo) {
  for (const end = performance.now() + 600_000; !isSo(); ) {
    if (performance.now() > end) throw new Error('not in ten minutes');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const benches = [
  {
    id: 'digest/heal',
    question: 'How long does it take, and how many bytes, until digests have brought back what a disk lost?',
    sizes:
      '1,000,000 JSON values of 100 bytes under 20-byte keys, two nodes in this process over mutual TLS on loopback; rows deleted below one of them while it is stopped; roots compared each 250 ms; from the end of counting to digests found equal',
    async run(b) {
      const count = b.size(1_000_000);
      const mesh = await startMesh(2);
      b.defer(() => mesh.close());
      const directories = [b.directory(), b.directory()];
      const first = await startMember(b, mesh, 0, directories[0]);
      b.defer(() => first.close());
      let second = await startMember(b, mesh, 1, directories[1]);
      b.defer(() => second.close());
      for (let i = 0; i < count; i += 1000)
        await submit(
          first.engine,
          Array.from({ length: Math.min(1000, count - i) }, (_, j) => putOf(i + j)),
        );
      await first.engine.housekeep();
      await until(() => equalSince(second, 0));
      const last = await second.engine.get(keyOf(count - 1));
      b.check(last.value?.endpoint === '/api/deployments', 'the members do not hold the same');
      b.value('memory of the digests', statusOf(second).digestBytes / 1e6, 'MB');
      for (const divergent of [10, 1_000, 100_000]) {
        const n = b.size(divergent);
        await second.close();
        const { kv, close } = await rowsBelow(b, directories[1]);
        const step = Math.floor(count / n);
        const keys = Array.from({ length: n }, (_, i) => keyOf(i * step));
        await kv.write(keys.map((key) => ({ type: 'delete', family: 'live', key: Buffer.from(key) })));
        await kv.sync();
        await close();
        const opened = performance.now();
        second = await startMember(b, mesh, 1, directories[1]);
        await until(() => statusOf(second).counted > 0);
        const counted = performance.now();
        await until(() => equalSince(second, 0));
        const healed = performance.now();
        const cell = await second.engine.get(keys[n - 1]);
        b.check(cell.value?.endpoint === '/api/deployments', 'a lost fact did not come back');
        b.value(`${n} lost facts: counting the rows`, counted - opened, 'ms');
        b.value(`${n} lost facts: comparing and fetching`, healed - counted, 'ms');
        b.value(`${n} lost facts: bytes a fact`, statusOf(second).fetchedBytes / n, 'bytes');
      }
    },
  },
];

/** The store of a stopped member. */
async function rowsBelow(b, directory) {
  const engine = await openFactEngine(b, { directory, housekeepingIntervalMs: 0 });
  return { kv: engine.kv, close: () => engine.close() };
}
