import { openMemoryKv } from '@ipe/core/store';
import { openPolicyStore, policyFamilies } from '@ipe/core/tree';
import { PolicySync } from '../packages/ipe/dist/policy-sync/index.js';
import { startMesh } from '../packages/ipe/dist/testkit/mesh.js';
import { fill, policyFiles, policyPaths, treeRuntime, update } from './harness/policies.mjs';
import { median } from './harness/recorder.mjs';

/** An origin and a follower over mutual TLS on loopback, in one process; programs are not compiled again. */
async function openPair(b) {
  const mesh = await startMesh(2);
  b.defer(() => mesh.close());
  const memory = () => {
    let held = { term: null, head: null, wasOrigin: false };
    return { load: async () => held, save: async (next) => void (held = next) };
  };
  let bytes = 0;
  const member = async (i, store) => {
    const sync = await PolicySync.start({
      store,
      peers: mesh.peers[i],
      directory: mesh.directories[i],
      identity: mesh.identities[i],
      ...(i === 0 && { clusterKey: mesh.keys.key }),
      configuredRole: i === 0 ? 'origin' : 'follower',
      memory: memory(),
      checkPolicies: async () => {},
      now: () => Date.now(),
      every: () => () => {},
      onSynced: (result) => (bytes += result.bytes),
    });
    b.defer(() => sync.close());
    return sync;
  };
  const open = () => openPolicyStore({ kv: openMemoryKv({ families: policyFamilies }), ...treeRuntime });
  const [from, to] = [await open(), await open()];
  /** Milliseconds until the follower holds the origin's root, and bytes that it received. */
  const measure = async (trigger) => {
    const before = bytes;
    const started = performance.now();
    await trigger();
    await new Promise((resolve) => {
      const settle = () => to.current().root === from.current().root && resolve(stop());
      const stop = to.watch(settle);
      settle();
    });
    const took = performance.now() - started;
    await follower.syncNow();
    return { took, bytes: bytes - before };
  };
  let follower;
  const start = async () => {
    const origin = await member(0, from);
    follower = await member(1, to);
    return origin;
  };
  return { from, to, start, measure, promote: (origin) => origin.promote(mesh.identities[0].id) };
}

export const benches = [1_000, 10_000, 100_000].map((count) => ({
  id: `policy-sync/${count}`,
  question: `What does a follower fetch for ten changes among ${count.toLocaleString('en')} policies, and how long does it take?`,
  sizes:
    'memory stores, one process, mutual TLS on loopback; policies are not compiled again; ten changes in ten directories; from the acknowledged write to the root of the follower',
  async run(b) {
    const paths = policyPaths(b.size(count));
    const { from, to, start, measure, promote } = await openPair(b);
    await fill(from, paths);
    const origin = await start();
    const first = await measure(() => promote(origin));
    b.check(to.status().policies === paths.length && first.bytes > 0, 'the first sync brought nothing');
    b.value('first sync', first.took / 1000, 's');
    b.value('first sync, received', first.bytes / 1e6, 'MB');
    const rounds = [];
    for (let round = 0; round < 15; round++) {
      const changes = Array.from({ length: 10 }, (_, i) => ({
        path: paths[(i * Math.floor(paths.length / 10) + round * 7) % paths.length],
        files: policyFiles(1e6 + round * 10 + i),
      }));
      await from.update({ ...update, changes });
      rounds.push(await measure(() => {}));
      b.check((await to.history(changes[0].path, { limit: 1 })).items.length === 1, 'a version is missing');
    }
    b.value('ten changes: time', median(rounds.map(({ took }) => took)), 'ms');
    b.value('ten changes: received', median(rounds.map(({ bytes }) => bytes)) / 1000, 'KB');
  },
}));
