import { randomBytes } from 'node:crypto';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openMemoryKv } from '@ipe/core/store';
import { openRocksKv, openSealedStore } from '../packages/ipe/dist/stores/index.js';
import { concurrently } from './harness/recorder.mjs';

const families = ['objects', 'metadata'];

/** Rows as the policy tree writes them: 32-byte ids, values of 300 bytes (the median program and manifest). */
function objects(count, valueBytes = 300) {
  const values = randomBytes(count + valueBytes);
  return Array.from({ length: count }, (_, i) => ({
    type: 'put',
    family: 'objects',
    key: new Uint8Array(randomBytes(32)),
    value: new Uint8Array(values.subarray(i, i + valueBytes)),
  }));
}

function inBatches(rows, size) {
  return Array.from({ length: Math.ceil(rows.length / size) }, (_, i) => rows.slice(i * size, (i + 1) * size));
}

async function checkAnswers(b, kv, rows) {
  await kv.write(rows.slice(0, 100));
  const { key, value } = rows[42];
  b.check(Buffer.compare(await kv.get('objects', key), value) === 0, 'a value read back differs');
}

export const benches = [
  {
    id: 'store/memory',
    question: 'How fast is the key-value store in memory?',
    sizes:
      '100,000 values of 300 bytes under 32-byte random keys (10,000 policies), one a call; RFC-003 §11: 1M gets/s',
    async run(b) {
      const rows = objects(b.size(100_000));
      await checkAnswers(b, openMemoryKv({ families }), rows);
      let kv;
      await b.rate('put', { count: rows.length, rounds: 3, aim: '0.5M/s' }, async () => {
        kv = openMemoryKv({ families });
        for (const row of rows) await kv.write([row]);
      });
      await b.rate('get', { count: rows.length, aim: '5M/s (object store)' }, async () => {
        for (const { key } of rows) await kv.get('objects', key);
      });
      await b.rate('getMany of 100', { count: rows.length }, async () => {
        for (const batch of inBatches(rows, 100))
          await kv.getMany(
            'objects',
            batch.map(({ key }) => key),
          );
      });
      await b.rate('entries, first pass sorts', { count: rows.length, rounds: 3 }, async () => {
        let seen = 0;
        for await (const [key] of kv.entries('objects')) seen += key.length > 0 ? 1 : 0;
        b.check(seen === rows.length, `${seen} of ${rows.length} entries`);
      });
      await b.rate('snapshot, put, close', { count: b.size(20_000) }, async () => {
        for (let i = 0; i < b.size(20_000); i++) {
          const snapshot = kv.snapshot();
          await kv.write([rows[i]]);
          await snapshot.close();
        }
      });
    },
  },
  {
    id: 'store/rocksdb',
    question: 'How fast is the key-value store on disk?',
    sizes: '200,000 values of 300 bytes under 32-byte random keys; RFC-003 §11 asks 100K batched puts/s',
    async run(b) {
      const rows = objects(b.size(200_000));
      const kv = await openRocksKv({ directory: b.directory(), families });
      b.defer(() => kv.close());
      await checkAnswers(b, kv, rows);
      for (const size of [100, 1000])
        await b.rate(`put in batches of ${size}`, { count: rows.length, rounds: 3, aim: '150K/s' }, async () => {
          for (const batch of inBatches(rows, size)) await kv.write(batch);
        });
      await b.rate('put in batches of 100, each synced', { count: rows.length, rounds: 3 }, async () => {
        for (const batch of inBatches(rows, 100)) {
          await kv.write(batch);
          await kv.sync();
        }
      });
      await kv.compact('objects');
      const pick = (i) => rows[(i * 7919) % rows.length].key;
      await b.latency('get, one at a time', { samples: b.size(20_000) }, (i) => kv.get('objects', pick(i)));
      await b.rate('get, 64 in flight', { count: rows.length, rounds: 3 }, () =>
        concurrently(rows.length, 64, (i) => kv.get('objects', pick(i))),
      );
      await b.rate('getMany of 100', { count: rows.length, rounds: 3, aim: '80K/s' }, async () => {
        for (const batch of inBatches(rows, 100))
          await kv.getMany(
            'objects',
            batch.map(({ key }) => key),
          );
      });
      await b.rate('entries', { count: rows.length, rounds: 3 }, async () => {
        for await (const [key] of kv.entries('objects')) if (key.length !== 32) throw new Error('wrong key');
      });
    },
  },
  {
    id: 'store/sealed',
    question: 'What does sealing facts at rest cost?',
    sizes: '50,000 values of 300 bytes under keys of two segments, batches of 100; the same store in clear beside it',
    async run(b) {
      const count = b.size(50_000);
      const layouts = {
        objects: { clearBytes: 0, hasSuffix: () => false },
        metadata: { clearBytes: 0, hasSuffix: () => false },
      };
      const keyPath = join(b.directory(), 'key');
      await writeFile(keyPath, randomBytes(32).toString('hex'));
      const stores = {
        sealed: await openSealedStore({ directory: b.directory(), families }, { keyPath, layouts }),
        clear: await openRocksKv({ directory: b.directory(), families }),
      };
      const rows = objects(count).map((row, i) => ({
        ...row,
        key: new Uint8Array(Buffer.from(`approvals.deploy-${i}`)),
      }));
      for (const kv of Object.values(stores)) {
        b.defer(() => kv.close());
        await checkAnswers(b, kv, rows);
      }
      const each = (run) => Object.fromEntries(Object.entries(stores).map(([name, kv]) => [name, () => run(kv)]));
      await b.compare(
        'put',
        { count, rounds: 3 },
        each(async (kv) => {
          for (const batch of inBatches(rows, 100)) await kv.write(batch);
        }),
      );
      await b.compare(
        'getMany of 100',
        { count, rounds: 3 },
        each(async (kv) => {
          for (const batch of inBatches(rows, 100))
            await kv.getMany(
              'objects',
              batch.map(({ key }) => key),
            );
        }),
      );
      await b.compare(
        'all entries, in the order of the store',
        { count, rounds: 3 },
        each(async (kv) => {
          let seen = 0;
          for await (const [key] of kv.entries('objects', { order: 'store' })) seen += key.length > 0 ? 1 : 0;
          b.check(seen === count, `${seen} of ${count} entries`);
        }),
      );
    },
  },
  {
    id: 'store/group-commit',
    question: 'What does durability cost, and how well is it shared?',
    sizes: 'single puts of 300 bytes, each acknowledged after its sync, 1 to 512 in flight; raw fdatasync beside it',
    async run(b) {
      const directory = b.directory();
      const kv = await openRocksKv({ directory: join(directory, 'store'), families });
      b.defer(() => kv.close());
      const rows = objects(b.size(20_000));
      await checkAnswers(b, kv, rows);
      const file = await open(join(directory, 'raw'), 'w');
      b.defer(() => file.close());
      const bytes = randomBytes(350);
      await b.latency('raw write and fdatasync of 350 bytes', { samples: b.size(2000) }, async () => {
        await file.write(bytes);
        await file.datasync();
      });
      for (const inFlight of [1, 64, 512]) {
        const count = Math.min(rows.length, b.size(2000) * Math.min(inFlight, 10));
        const put = async (i) => {
          await kv.write([rows[i]]);
          await kv.sync();
        };
        await b.rate(`durable put, ${inFlight} in flight`, { count, rounds: 3 }, () =>
          concurrently(count, inFlight, put),
        );
        b.percentiles(`durable put, ${inFlight} in flight`, await concurrently(count, inFlight, put));
      }
    },
  },
];
