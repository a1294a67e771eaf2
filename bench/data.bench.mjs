import { dataFamilies } from '@ipe/core/replica';
import { openRocksKv } from '../packages/ipe/dist/stores/rocksdb/index.js';
import { factOf, keyOf, openFactEngine, putOf, submit } from './harness/facts.mjs';
import { concurrently, median, memoryMegabytes } from './harness/recorder.mjs';

async function checkEngine(b, engine) {
  await submit(engine, [putOf(0)]);
  const cell = await engine.get(keyOf(0));
  b.check(cell.value?.user_id === 'user-0', `read back ${JSON.stringify(cell.value)}`);
}

export const benches = [
  {
    id: 'data/in-process',
    question: 'How fast are facts written and read in process?',
    sizes:
      'JSON values of 100 bytes under 20-byte keys, single puts; hot: in the cache of parsed facts; history of 10 versions',
    async run(b) {
      for (const durability of ['wal', 'fsync']) {
        const engine = await openFactEngine(b, { durability });
        b.defer(() => engine.close());
        await checkEngine(b, engine);
        for (const inFlight of [1, 64, 512]) {
          const count = b.size(inFlight === 1 ? 3000 : 30_000);
          const put = (i) => submit(engine, [putOf(i)]);
          await b.rate(`put, ${durability}, ${inFlight} in flight`, { count, rounds: 3 }, () =>
            concurrently(count, inFlight, put),
          );
          b.percentiles(`put, ${durability}, ${inFlight} in flight`, await concurrently(count, inFlight, put));
        }
      }
      const engine = await openFactEngine(b);
      b.defer(() => engine.close());
      await checkEngine(b, engine);
      const hot = 10_000;
      for (let i = 0; i < hot; i += 1000)
        await submit(
          engine,
          Array.from({ length: 1000 }, (_, j) => putOf(i + j)),
        );
      const reads = b.size(1_000_000);
      const keys = Array.from({ length: hot }, (_, i) => keyOf((i * 7919) % hot));
      await b.rate('get, hot', { count: reads, aim: '<1 µs each' }, () => {
        for (let i = 0; i < reads; i++) if (engine.get(keys[i % hot]) instanceof Promise) throw new Error('not hot');
      });
    },
  },
  {
    id: 'data/batches',
    question: 'How close do puts in batches of 1,000 come to the store writing the same bytes?',
    sizes:
      '100,000 JSON values of 100 bytes, batches of 1,000, durable each second (wal); raw: the very operations, replayed',
    async run(b) {
      const batches = b.size(100_000) / 1000;
      const operations = [];
      const kv = await openRocksKv({ directory: b.directory(), families: dataFamilies });
      const recording = new Proxy(kv, {
        get(target, name) {
          const value = target[name];
          if (typeof value !== 'function') return value;
          return (...args) => {
            if (name === 'write') operations.push(args[0]);
            return value.apply(target, args);
          };
        },
      });
      const recorder = await openFactEngine(b, { kv: recording, housekeepingIntervalMs: 0 });
      await checkEngine(b, recorder);
      const putBatches = async (engine) => {
        for (let i = 0; i < batches; i++)
          await submit(
            engine,
            Array.from({ length: 1000 }, (_, j) => putOf(i * 1000 + j)),
          );
      };
      operations.length = 0;
      await putBatches(recorder);
      const replay = [...operations];
      await recorder.close();
      const rows = replay.reduce((sum, batch) => sum + batch.length, 0);
      b.value('rows written a put', rows / (batches * 1000), 'rows');
      // Each round starts from an empty store, as overwriting keeps history and costs more.
      const fresh = () => openRocksKv({ directory: b.directory(), families: dataFamilies });
      const round = async (run) => {
        const store = await fresh();
        await run(store);
      };
      await b.compare(
        'puts',
        { count: batches * 1000, rounds: 3, aims: { 'raw RocksDB': '0.4x' } },
        {
          IPE: () =>
            round(async (store) => {
              const engine = await openFactEngine(b, { kv: store });
              await putBatches(engine);
              await engine.close();
            }),
          'raw RocksDB': () =>
            round(async (store) => {
              for (const batch of replay) await store.write(batch);
              await store.sync();
              await store.close();
            }),
        },
      );
    },
  },
  {
    id: 'data/footprint',
    question: 'What do a million facts cost on disk, at start, and hot in memory?',
    sizes:
      '1,000,000 JSON values of 100 bytes under 20-byte keys; then 100,000 of them read into a cache that holds them all',
    async run(b) {
      const directory = b.directory();
      const count = b.size(1_000_000);
      let engine = await openFactEngine(b, { directory });
      for (let i = 0; i < count; i += 1000)
        await submit(
          engine,
          Array.from({ length: 1000 }, (_, j) => putOf(i + j)),
        );
      await engine.housekeep();
      const { families } = await engine.kv.size();
      const total = Object.values(families).reduce((sum, size) => sum + size, 0);
      await engine.close();
      const starts = [];
      for (let i = 0; i < 5; i++) {
        const start = performance.now();
        engine = await openFactEngine(b, { directory });
        starts.push(performance.now() - start);
        const cell = await engine.get(keyOf(count - 1));
        b.check(cell.value?.user_id === `user-${count - 1}`, 'the last fact is missing');
        await engine.close();
      }
      b.value('start', median(starts), 'ms', { aim: '<300 ms' });
      b.value('disk a fact, log and history included', total / count, 'bytes');
      b.value('disk a fact, its live row', families.live / count, 'bytes');

      engine = await openFactEngine(b, { directory, cacheBytesMax: 1 << 30 });
      b.defer(() => engine.close());
      const empty = memoryMegabytes();
      const hot = b.size(100_000);
      let jsonBytes = 0;
      for (let i = 0; i < hot; i += 1000) await engine.getMany(Array.from({ length: 1000 }, (_, j) => keyOf(i + j)));
      for (let i = 0; i < hot; i++) jsonBytes += JSON.stringify(factOf(i)).length;
      b.check(!(engine.get(keyOf(hot - 1)) instanceof Promise), 'the facts read are not hot');
      b.value('memory a MB of JSON facts held hot', ((memoryMegabytes() - empty) * 1e6) / jsonBytes, 'MB', {
        aim: '<3 MB (OPA: 20)',
      });
    },
  },
];
