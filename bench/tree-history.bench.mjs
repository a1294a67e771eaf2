import { openMemoryKv } from '@ipe/core/store';
import { openPolicyStore, policyFamilies } from '@ipe/core/tree';
import { openRocksKv } from '../packages/ipe/dist/stores/rocksdb/index.js';
import { fill, policyFiles, policyPaths, treeRuntime, update } from './harness/policies.mjs';

const families = policyFamilies;
const open = (kv) => openPolicyStore({ kv, ...treeRuntime });

/** Changes ten policies far apart. */
async function changeTen(store, paths, round) {
  const changes = Array.from({ length: 10 }, (_, i) => ({
    path: paths[((i + 1) * 7919 + round) % paths.length],
    files: policyFiles(2e6 + round * 10 + i),
  }));
  return store.update({ ...update, changes });
}

export const benches = [
  {
    id: 'tree/ten-of-many',
    question: 'What do ten changes among 100,000 policies cost to compare, to copy and to take in?',
    sizes: 'the approval example as 100,000 policies in 3 levels, in memory; one commit of ten changes far apart',
    async run(b) {
      const paths = policyPaths(b.size(100_000));
      const store = await open(openMemoryKv({ families }));
      await fill(store, paths);
      const before = store.current().commit;
      await changeTen(store, paths, 0);
      b.check((await store.diff(before, 'main')).length === 10, 'the diff does not name ten policies');
      await b.latency('diff', { samples: b.size(200) }, () => store.diff(before, 'main'));
      const copy = await store.copy({ since: before });
      let bytes = 0;
      for await (const object of copy.objects()) bytes += object.body.length;
      copy.release();
      b.value('copy: objects', copy.count, 'objects');
      b.value('copy: bytes before compression', bytes / 1000, 'KB');
      await b.latency('copy', { samples: b.size(50) }, async () => {
        const each = await store.copy({ since: before });
        for await (const object of each.objects()) if (object.body.length < 0) throw new Error('never');
        each.release();
      });
    },
  },
  {
    id: 'tree/collect',
    question: 'How long does a collection take, and what do readers notice?',
    sizes:
      '20,000 policies of 5 objects on disk, half of them changed since; a reader of the index and one of policies meanwhile',
    async run(b) {
      const kv = await openRocksKv({ directory: b.directory(), families });
      b.defer(() => kv.close());
      const paths = policyPaths(b.size(20_000));
      const store = await open(kv);
      await fill(store, paths);
      const changes = paths.slice(0, paths.length / 2).map((path, i) => ({ path, files: policyFiles(3e6 + i) }));
      await store.update({ ...update, changes });
      const waits = [];
      let reading = true;
      const reader = (async () => {
        for (let i = 0; reading; i++) {
          const started = performance.now();
          await store.current().readPolicy(paths[(i * 7919) % paths.length]);
          waits.push(performance.now() - started);
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      const nowMs = update.timeMs + 1e9;
      const started = performance.now();
      await store.collect({ nowMs, retentionMs: 0, graceMs: 0 });
      const marked = performance.now();
      const { deleted, scanned } = await store.collect({ nowMs: nowMs + 1, retentionMs: 0, graceMs: 0 });
      const ended = performance.now();
      reading = false;
      await reader;
      b.check(deleted > paths.length && (await store.verify({ level: 'connectivity' })).problemCount === 0, 'damage');
      waits.sort((a, c) => a - c);
      b.value('objects looked at', scanned, 'objects');
      b.value('objects deleted', deleted, 'objects');
      b.value('first run: mark and condemn', marked - started, 'ms');
      b.value('second run: mark and delete', ended - marked, 'ms');
      b.value('a read meanwhile, p50', waits[Math.floor(waits.length / 2)] * 1000, 'µs');
      b.value('a read meanwhile, p99', waits[Math.floor(waits.length * 0.99)] * 1000, 'µs');
    },
  },
];
