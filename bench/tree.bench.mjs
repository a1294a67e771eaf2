import { openMemoryKv } from '@ipe/core/store';
import { openPolicyStore, policyFamilies } from '@ipe/core/tree';
import { openRocksKv } from '../packages/ipe/dist/stores/rocksdb/index.js';
import { fill, policyFiles, policyPaths, treeRuntime, update } from './harness/policies.mjs';
import { median, memoryMegabytes } from './harness/recorder.mjs';

const families = policyFamilies;
const openAtOnce = (kv) => openPolicyStore({ kv, ...treeRuntime });

async function open(kv, options = {}) {
  const store = await openPolicyStore({ kv, ...treeRuntime, ...options });
  await store.ready();
  return store;
}

async function checkPolicy(b, store, path) {
  const info = await store.current().lookup(path);
  b.check(info?.kind === 'policy', `no policy at ${path}`);
  const stored = await store.current().readPolicy(path);
  b.check(stored?.info.hash === info.hash && stored.files.source.length > 500, 'the policy read differs');
}

export const benches = [
  {
    id: 'tree/lookup',
    question: 'How fast is a policy found and read?',
    sizes:
      'the approval example as 10,000 policies in 3 levels on disk; cold: file cache of IPE off, that of the system on',
    async run(b) {
      const kv = await openRocksKv({ directory: b.directory(), families });
      b.defer(() => kv.close());
      const paths = policyPaths(b.size(10_000));
      await fill(await open(kv), paths);
      await kv.compact('objects');
      const hot = await open(kv);
      await checkPolicy(b, hot, paths.at(-1));
      const index = hot.current().index();
      const pick = (i) => paths[(i * 7919) % paths.length];
      const lookups = b.size(2_000_000);
      await b.rate('hot lookup in the index', { count: lookups, aim: '<1 µs (RFC-003: <100 µs)' }, () => {
        let found = 0;
        for (let i = 0; i < lookups; i++) if (index.lookup(pick(i)) !== undefined) found++;
        if (found !== lookups) throw new Error('a path was not found');
      });
      const reads = b.size(100_000);
      await b.rate('hot read of a cached policy', { count: reads }, async () => {
        for (let i = 0; i < reads; i++) await hot.current().readPolicy(paths[i % 100]);
      });
      const cold = await open(kv, { cacheBytes: 0 });
      await b.latency('cold read of a policy', { samples: b.size(5000), aim: 'p50 <150 µs (RFC-003: <1 ms)' }, (i) =>
        cold.current().readPolicy(pick(i)),
      );
    },
  },
  ...[1_000, 10_000, 100_000].map((count) => ({
    id: `tree/update-${count}`,
    question: `How long does one update take among ${count.toLocaleString('en')} policies?`,
    sizes:
      'one changed policy an update, nested 3 levels (40 policies x 50 directories), compiled before; memory: no fsync',
    async run(b) {
      const paths = policyPaths(b.size(count));
      const aim = count === 100_000 ? 'p50 <2 ms' : count === 1_000 ? 'p50 <1 ms (RFC-003: <5 ms)' : undefined;
      const samples = b.size(500);
      const variants = Array.from({ length: samples * 3 }, (_, i) => policyFiles(1e6 + i));
      const kvs = { memory: openMemoryKv({ families }) };
      // A hundred thousand policies on disk take longer to make than to measure.
      if (count <= 10_000) kvs['RocksDB, durable'] = await openRocksKv({ directory: b.directory(), families });
      for (const [name, kv] of Object.entries(kvs)) {
        b.defer(() => kv.close());
        const store = await open(kv);
        await fill(store, paths);
        await checkPolicy(b, store, paths[0]);
        let n = 0;
        await b.latency(`update, ${name}`, { samples, ...(name === 'memory' && { aim }) }, (i) =>
          store.update({ ...update, changes: [{ path: paths[(i * 7919) % paths.length], files: variants[n++] }] }),
        );
        b.check(store.status().policies === paths.length, 'policies were lost');
      }
    },
  })),
  {
    id: 'tree/update-curve',
    question: 'How does the cost of one update grow with the tree?',
    sizes:
      'one changed policy an update, compiled before, without fsync; nested: 40 policies x 50 directories x teams; flat: all in one directory, which takes 10,000',
    async run(b) {
      const shapes = {
        nested: { paths: policyPaths(b.size(100_000)), sizes: [1_000, 3_000, 10_000, 30_000, 100_000] },
        flat: {
          paths: Array.from({ length: b.size(10_000) }, (_, i) => `all.action-${i}`),
          sizes: [1_000, 3_000, 10_000],
        },
      };
      for (const [shape, { paths, sizes }] of Object.entries(shapes)) {
        const store = await open(openMemoryKv({ families }));
        let filled = 0;
        let n = 1e6;
        for (const size of sizes.map((each) => Math.min(b.size(each), paths.length))) {
          await fill(store, paths.slice(filled, size), filled);
          filled = size;
          b.check(store.status().policies === size, 'policies were lost');
          const samples = b.size(400);
          const files = Array.from({ length: 2 * samples }, () => policyFiles(n++));
          // Beside the time that passes, which depends on who else uses the machine, the time that processors work.
          const before = process.cpuUsage();
          const earlier = store.current().commit;
          await b.latency(`${shape}, ${size} policies`, { samples }, (i) =>
            store.update({ ...update, changes: [{ path: paths[(i * 7919) % size], files: files[i] }] }),
          );
          const { user, system } = process.cpuUsage(before);
          const updates = samples + Math.ceil(samples / 10);
          b.check(store.current().commit !== earlier, 'nothing was updated');
          b.value(`${shape}, ${size} policies: processor time`, (user + system) / 1000 / updates, 'ms');
        }
      }
    },
  },
  ...[1_000, 100_000].map((count) => ({
    id: `tree/footprint-${count}`,
    question: `What do ${count.toLocaleString('en')} policies cost in memory, on disk and at start?`,
    sizes: 'the approval example (source, program, manifest, tests), all versions different; disk after compaction',
    async run(b) {
      const directory = b.directory();
      const paths = policyPaths(b.size(count));
      const isSmall = count === 1_000;
      let kv = await openRocksKv({ directory, families });
      await fill(await open(kv), paths);
      await kv.sync();
      for (const family of families) await kv.compact(family);
      const { families: sizes } = await kv.size();
      const bytes = Object.values(sizes).reduce((sum, size) => sum + size, 0);
      await kv.close();

      const rocks = [];
      const first = [];
      const whole = [];
      for (let i = 0; i < (isSmall ? 9 : 3); i++) {
        const started = performance.now();
        kv = await openRocksKv({ directory, families });
        rocks.push(performance.now() - started);
        const store = await openAtOnce(kv);
        const stored = await store.current().readPolicy(paths.at(-1));
        first.push(performance.now() - started);
        b.check(stored?.files.source.length > 500, 'another policy was read');
        await store.ready();
        whole.push(performance.now() - started);
        await checkPolicy(b, store, paths.at(-1));
        await kv.close();
      }
      b.value('start: first policy read', median(first), 'ms', isSmall ? { aim: '<30 ms (RFC-003: <100 ms)' } : {});
      b.value('start: index loaded and verified', median(whole), 'ms');
      b.value('start: of it RocksDB', median(rocks), 'ms');

      const empty = memoryMegabytes();
      kv = await openRocksKv({ directory, families });
      const store = await open(kv);
      b.value('memory: store and index', memoryMegabytes() - empty, 'MB');
      for (const path of paths.slice(0, 1000)) await store.current().readPolicy(path);
      b.value('memory: and 1,000 policies read', memoryMegabytes() - empty, 'MB', {
        ...(isSmall && { aim: '<5 MB (RFC-003: <20 MB)' }),
      });
      await store.close();
      b.value('disk a policy', bytes / paths.length / 1000, 'KB', { aim: '<2 KB (RFC-003: <10 KB)' });
      await kv.close();
    },
  })),
];
