import { createClient } from '@ipe/client';
import { dataFamilies } from '@ipe/core/replica';
import { openRocksKv } from '../packages/ipe/dist/stores/rocksdb/index.js';
import { factOf, keyOf, openFactEngine, putOf, submit } from './harness/facts.mjs';
import { concurrently, median, memoryMegabytes } from './harness/recorder.mjs';
import { cpuSeconds, hasRedis, startIpe, startRedis } from './harness/servers.mjs';

async function checkEngine(b, engine) {
  await submit(engine, [putOf(0)]);
  const cell = await engine.get(keyOf(0));
  b.check(cell.value?.user_id === 'user-0', `read back ${JSON.stringify(cell.value)}`);
}

/** A client whose calls are pipelined over one event-stream session. */
async function sessionOf(b, { addresses, tokens }) {
  const client = createClient({ socket: addresses.data[0], token: tokens.service });
  b.defer(() => client.close());
  const session = await client.session({ maxInFlight: 512 });
  b.defer(() => session.close());
  return session.data;
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
  ...[
    ['wal', 'everysec', { 1: undefined, 64: '0.6x', 512: '1.0x' }],
    ['fsync', 'always', { 1: undefined, 64: '0.5x', 512: '1.0x' }],
  ].map(([durability, appendfsync, aims]) => ({
    id: `data/redis-${appendfsync}`,
    question: `How do single puts and gets over a socket compare with Redis (appendonly yes, ${appendfsync})?`,
    sizes: `JSON values of 100 bytes; IPE: /stream session, \`durability = "${durability}"\`; Redis: node-redis; one connection each over a unix socket; alternating rounds`,
    async run(b) {
      if (!hasRedis) throw new Error('redis-server is not installed');
      const ipe = await startIpe(b, `[predicate_service.data_plane]\ndurability = "${durability}"\n`);
      const redis = await startRedis(b, appendfsync);
      const data = await sessionOf(b, ipe);
      const ipePut = (i) => data.put(keyOf(i), factOf(i));
      const redisPut = (i) => redis.client.set(keyOf(i), JSON.stringify(factOf(i)));
      await ipePut(7);
      await redisPut(7);
      b.check((await data.get(keyOf(7))).value.user_id === 'user-7', 'IPE answers something else');
      b.check(JSON.parse(await redis.client.get(keyOf(7))).user_id === 'user-7', 'Redis answers something else');
      for (const inFlight of [1, 64, 512]) {
        const count = b.size(inFlight === 1 ? 2000 : 20_000);
        const options = { count, aims: aims[inFlight] && { Redis: aims[inFlight] } };
        await b.compare(`put, ${inFlight} in flight`, options, {
          IPE: () => concurrently(count, inFlight, ipePut),
          Redis: () => concurrently(count, inFlight, redisPut),
        });
        for (const [name, put] of Object.entries({ IPE: ipePut, Redis: redisPut }))
          b.percentiles(`put, ${inFlight} in flight: ${name}`, await concurrently(count, inFlight, put));
      }
      const count = b.size(20_000);
      for (const [name, { pid }, put] of [
        ['IPE', ipe, ipePut],
        ['Redis', redis, redisPut],
      ]) {
        const before = cpuSeconds(pid);
        await concurrently(count, 64, put);
        b.value(
          `processor time of the server a put, 64 in flight: ${name}`,
          ((cpuSeconds(pid) - before) * 1e6) / count,
          'µs',
        );
      }
      for (const inFlight of [1, 64]) {
        const gets = b.size(inFlight === 1 ? 3000 : 20_000);
        await b.compare(
          `get, ${inFlight} in flight`,
          { count: gets },
          {
            IPE: () => concurrently(gets, inFlight, (i) => data.get(keyOf(i % 2000))),
            Redis: () => concurrently(gets, inFlight, (i) => redis.client.get(keyOf(i % 2000))),
          },
        );
      }
      b.percentiles('get, 1 in flight: IPE', await concurrently(b.size(3000), 1, (i) => data.get(keyOf(i % 2000))), {
        aim: 'p99 <0.3 ms',
      });
      b.percentiles(
        'get while 64 put: IPE',
        await (async () => {
          let writing = true;
          const writers = Array.from({ length: 64 }, async (_, i) => {
            while (writing) await ipePut(i);
          });
          const reader = await sessionOf(b, ipe);
          const times = await concurrently(b.size(2000), 1, (i) => reader.get(keyOf(i % 2000)));
          writing = false;
          await Promise.all(writers);
          return times;
        })(),
      );
    },
  })),
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
