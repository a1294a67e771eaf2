// Replication between real instances, each a process of its own on this machine, in network namespaces where allowed.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeRecord } from '@ipe/core/replica';
import { KeyRing } from '../packages/ipe/dist/cluster/key-ring.js';
import { MemoryExchange, openMemoryPlane } from '../packages/ipe/dist/planes/memory/plane.js';
import { packBatch } from '../packages/ipe/dist/replication/envelope.js';
import { Replication } from '../packages/ipe/dist/replication/index.js';
import { missingBroker } from '../packages/ipe/dist/testkit/brokers.js';
import { startMesh } from '../packages/ipe/dist/testkit/mesh.js';
import { TestCluster } from '../packages/ipe/dist/testkit/torture/index.js';
import { keyOf as limitKeyOf, openFactEngine, putOf, submit } from './harness/facts.mjs';
import { cpuSeconds } from './harness/servers.mjs';

/** About 110 bytes of JSON; `n` names the write. */
const factOf = (n) => ({ n, user_id: `user-${n}`, endpoint: '/api/deployments', window: 3600, pad: 'x'.repeat(20) });
const keys = 10_000;
/** No wait takes longer: a bench that cannot go on says so. */
const waitMs = 60_000;
const keyOf = (n) => `bench.k${n % keys}`;

const planes = [
  ['memory', 'none'],
  ['gossip', 'gossip'],
  ['nats', 'nats', 'nats'],
  ['redis', 'redis', 'redis'],
  ['kafka', 'kafka', 'kafka'],
  ['hybrid', 'hybrid', 'nats'],
];

export const benches = [
  {
    id: 'replication-apply',
    question: 'How many records a second does a receiver check, apply and sync?',
    sizes:
      'signed and sealed batches of 1 and 200 records of one write each, JSON values of 100 bytes over 10,000 keys; one receiver in this process, RocksDB, `durability = "fsync"`',
    async run(b) {
      for (const batchRecords of [1, 200]) {
        const count = b.size(batchRecords === 1 ? 3_000 : 20_000);
        const mesh = await startMesh(2);
        b.defer(() => mesh.close());
        const { messages, last } = await packedBatches(b, mesh, count, batchRecords);
        const { exchange, engine, replication } = await openReceiver(b, mesh);
        const started = performance.now();
        for (const message of messages) exchange.append(message);
        await new Promise((resolve) => {
          const stop = engine.onNotice(() => {
            const heads = engine.namespaces().find(({ name }) => name === last.namespace)?.heads ?? [];
            const held = [...heads].find(([source]) => source.id === last.source.id)?.[1] ?? 0;
            if (held < last.seq) return;
            stop();
            resolve();
          });
        });
        const seconds = (performance.now() - started) / 1e3;
        b.check(replication.status().received === messages.length, 'a batch was not taken');
        b.value(`batches of ${batchRecords}`, count / seconds, 'records/s');
      }
    },
  },
  ...planes.map(([name, plane, broker]) => ({
    id: `replication-${name}`,
    question: `How long does a write take to all of five instances over ${name === 'memory' ? 'no plane, anti-entropy alone' : name}, and how many can be sustained?`,
    sizes:
      'five processes; JSON values of 110 bytes over 10,000 keys; written over one session at A, seen by a subscriber of each other instance; `durability = "fsync"` everywhere; 100 and 1,000 puts/s for 10 s each, then 256 in flight for 10 s',
    async run(b) {
      const missing = broker && missingBroker(broker);
      if (missing) throw new Error(missing);
      const cluster = await startCluster(b, { plane, instances: 5, isBrokerCuttable: false });
      const watch = await watchAll(b, cluster);
      const writer = await cluster.members[0].running.clients.data.session();
      b.defer(() => writer.close());

      // Most of what is compiled anew is by then, and every cache is warm.
      await watch.during(() => writePaced(writer, b.size(5_000), 500));
      for (const [rate, seconds] of [
        [100, 10],
        [1_000, 10],
      ]) {
        const count = b.size(rate * seconds);
        const before = cluster.members.map(processorSeconds);
        const paced = await watch.during(() => writePaced(writer, count, rate));
        const used = cluster.members.map((member, i) => ((processorSeconds(member) - before[i]) * 1e6) / count);
        b.check(paced.isComplete, 'a write is missing somewhere');
        b.percentiles(`${rate} puts/s: the put itself`, paced.puts);
        b.percentiles(`${rate} puts/s: acknowledged at A to visible at B`, paced.toOne);
        b.percentiles(`${rate} puts/s: acknowledged at A to visible at all of 5`, paced.toAll, { aim: 'p99 <20 ms' });
        b.value(`${rate} puts/s: processor time a put, at A`, used[0], 'µs');
        b.value(`${rate} puts/s: processor time a put, at each receiver`, mean(used.slice(1)), 'µs');
        if (broker === undefined) continue;
        const own = await ownLatency[broker](cluster.broker.url, count, rate);
        b.percentiles(`${rate} messages/s: the broker's own publish to deliver, same client`, own);
      }

      const full = await watch.during(() => writeFull(writer, b.size(10_000), 256));
      const count = full.toAll.length;
      b.check(full.isComplete, 'a write is missing somewhere');
      b.value('full speed: acknowledged at A', count / full.writeSeconds, 'puts/s');
      b.value('full speed: until visible at all of 5', count / full.allSeconds, 'puts/s');
      b.percentiles('full speed: acknowledged at A to visible at B', full.toOne);
      b.percentiles('full speed: acknowledged at A to visible at all of 5', full.toAll);
    },
  })),
  {
    id: 'replication-heal',
    question: 'How fast, and with how many bytes, does a healed partition converge, and what does a key cost?',
    sizes:
      'two processes without a plane; 1,000,000 keys of 14 bytes with 109 bytes of JSON at both; during a partition half of the divergent keys are overwritten at each side',
    async run(b) {
      const cluster = await startCluster(b, { plane: 'none', instances: 2 });
      const [one, other] = cluster.members;
      const before = [one, other].map(residentBytes);
      const count = b.size(1_000_000);
      const loaded = performance.now();
      const last = await putMany(one, 'heal', 0, count);
      const written = performance.now();
      await seen(other, last);
      const held = performance.now();
      b.check((await other.running.data.call('stats', {})).entries >= count, 'facts are missing at the other');
      b.value('loading in batches of 1,000 at one', count / ((written - loaded) / 1e3), 'puts/s');
      b.value('until the other held all of them', count / ((held - loaded) / 1e3), 'puts/s');
      for (const [i, member] of [one, other].entries()) {
        const stats = await member.running.data.call('stats', {});
        const name = i === 0 ? 'where written' : 'where received';
        b.value(`resident memory a key, ${name}`, (residentBytes(member) - before[i]) / count, 'bytes');
        b.value(`disk a key, log included, ${name}`, stats.disk_bytes / count, 'bytes');
      }
      for (const divergent of [10, 1_000, 10_000, 100_000]) {
        const half = Math.ceil(b.size(divergent) / 2);
        const n = 2 * half;
        cut(cluster, one, other);
        await untilLinks(one, 0);
        const tokens = [
          [other, await putMany(one, 'heal', 0, half)],
          [one, await putMany(other, 'heal', half, half)],
        ];
        const sent = cluster.network.sentBytes(one.place) + cluster.network.sentBytes(other.place);
        const mended = performance.now();
        mend(cluster, one, other);
        const linked = untilLinks(one, 1).then(() => performance.now());
        await Promise.all(tokens.map(([member, token]) => seen(member, token)));
        const healed = performance.now();
        const bytes = cluster.network.sentBytes(one.place) + cluster.network.sentBytes(other.place) - sent;
        const aim = divergent === 10_000 ? { aim: '<1,000 ms' } : {};
        b.value(`${n} divergent keys: from the mending of the network`, healed - mended, 'ms');
        b.value(`${n} divergent keys: from the link's return`, Math.max(0, healed - (await linked)), 'ms', aim);
        b.value(`${n} divergent keys: bytes a key, both ways`, bytes / n, 'bytes');
      }
    },
  },
];

/** What the first member of a mesh would publish of its writes: batches as they travel. */
async function packedBatches(b, { identities, keysFolder, keys: clusterKeys }, count, batchRecords) {
  const { origin, signing } = identities[0];
  const engine = await openFactEngine(b, { origin });
  const records = [];
  engine.onApplied(({ commits }) => records.push(...commits.map(({ record }) => record)));
  // One after the other: writes that gather would share a record.
  for (let i = 0; i < count; i++) await submit(engine, [{ ...putOf(i), key: limitKeyOf(i % keys) }]);
  await engine.close();
  const sealing = (await KeyRing.open(keysFolder, clusterKeys)).current;
  const messages = [];
  for (let at = 0; at < records.length; at += batchRecords) {
    const part = records.slice(at, at + batchRecords).map((record) => encodeRecord(record));
    const body = packBatch({ namespace: 'limits', origin, records: part }, { signing, sealing });
    messages.push({ namespace: 'limits', origin, id: String(at), body });
  }
  return { messages, last: records.at(-1) };
}

/** The second member of a mesh, listening to a plane of this process. */
async function openReceiver(b, mesh) {
  const exchange = new MemoryExchange(1_000_000);
  const engine = await openFactEngine(b, { origin: mesh.identities[1].origin, durability: 'fsync' });
  const replication = await Replication.start({
    engine,
    identity: mesh.identities[1],
    directory: mesh.directories[1],
    peers: mesh.peers[1],
    plane: openMemoryPlane(exchange),
    interest: 'all',
    ring: await KeyRing.open(mesh.keysFolder, mesh.keys),
    memory: { load: async () => ({ settledInterest: 'all' }), save: async () => {} },
    now: Date.now,
    log: { warn: () => {}, info: () => {} },
  });
  b.defer(async () => {
    await replication.close();
    await engine.close();
  });
  return { exchange, engine, replication };
}

async function startCluster(b, options) {
  const cluster = await TestCluster.start(options);
  b.defer(() => cluster.close());
  return cluster;
}

/** Subscribes at every instance but the first, and tells when each write came to each. */
async function watchAll(b, cluster) {
  const stop = new AbortController();
  b.defer(() => stop.abort());
  const others = cluster.members.slice(1);
  let arrivals = [];
  let expected = 0;
  let complete = () => {};
  let failure;
  let first = Number.NEGATIVE_INFINITY;
  const follow = async (member, index) => {
    for await (const { type, value } of member.running.data.watch('bench.*', { signal: stop.signal })) {
      // What was written before this run may still be coming.
      if (type !== 'update' || value.n < first) continue;
      arrivals[index].set(value.n, performance.now());
      if (arrivals.every(({ size }) => size >= expected)) complete();
    }
  };
  arrivals = others.map(() => new Map());
  for (const [index, member] of others.entries())
    void follow(member, index).catch((error) => {
      failure = error;
    });
  await warmUp(cluster, () => arrivals.every((seenBy) => seenBy.size > 0));
  return {
    /** Runs writes, and resolves when all of them are everywhere. */
    async during(write) {
      for (const seenBy of arrivals) seenBy.clear();
      first = serial;
      expected = Number.POSITIVE_INFINITY;
      const started = performance.now();
      const { acknowledged, puts } = await write();
      const written = performance.now();
      expected = acknowledged.size;
      await Promise.race([
        new Promise((resolve) => {
          complete = resolve;
          if (arrivals.every(({ size }) => size >= expected)) resolve();
        }),
        sleep(waitMs, undefined, { ref: false }),
      ]);
      if (failure !== undefined) throw failure;
      const visible = [...acknowledged].map(([n, at]) => [at, arrivals.map((seenBy) => seenBy.get(n))]);
      const since = (at, times) => Math.max(0, times - at);
      const lastSeen = visible.reduce((last, [, times]) => Math.max(last, ...times), started);
      return {
        isComplete: visible.every(([, times]) => times.every((time) => time !== undefined)),
        puts,
        toOne: visible.map(([at, [first]]) => since(at, first)),
        toAll: visible.map(([at, times]) => since(at, Math.max(...times))),
        writeSeconds: (written - started) / 1e3,
        allSeconds: (lastSeen - started) / 1e3,
      };
    },
  };
}

async function warmUp(cluster, isWarm) {
  const inTime = deadline('the subscribers hear nothing');
  for (let n = -1; !isWarm(); n--) {
    inTime();
    await cluster.members[0].running.data.put('bench.warm', factOf(n));
    await sleep(20);
  }
}

let serial = 0;

/** @returns what throws, once called after a minute */
function deadline(problem) {
  const end = performance.now() + waitMs;
  return () => {
    if (performance.now() > end) throw new Error(`${problem} in ${waitMs} ms`);
  };
}

/** Writes at an even rate, whatever the answers take: a slow answer delays nobody. */
async function writePaced({ data }, count, perSecond) {
  const acknowledged = new Map();
  const puts = [];
  const started = performance.now();
  const pending = [];
  for (let i = 0; i < count; i++) {
    const due = started + (i * 1_000) / perSecond;
    while (performance.now() < due) await sleep(Math.max(0, Math.floor(due - performance.now())));
    const n = serial++;
    const at = performance.now();
    pending.push(
      data.put(keyOf(n), factOf(n)).then(() => {
        acknowledged.set(n, performance.now());
        puts.push(performance.now() - at);
      }),
    );
  }
  await Promise.all(pending);
  return { acknowledged, puts };
}

/** Writes as fast as it goes for a time: what a machine manages in it differs, what the bench takes does not. */
async function writeFull({ data }, forMs, inFlight) {
  const acknowledged = new Map();
  const end = performance.now() + forMs;
  const writer = async () => {
    while (performance.now() < end) {
      const n = serial++;
      await data.put(keyOf(n), factOf(n));
      acknowledged.set(n, performance.now());
    }
  };
  await Promise.all(Array.from({ length: inFlight }, writer));
  return { acknowledged, puts: [] };
}

/** Sends messages at an even rate and tells how long each took to be delivered. */
async function pacedMessages(count, perSecond, send, onDeliver) {
  const sent = new Map();
  const times = [];
  const all = new Promise((resolve, reject) => {
    setTimeout(reject, waitMs + (count * 1_000) / perSecond, new Error('the broker did not deliver all')).unref();
    onDeliver((n) => {
      times.push(performance.now() - sent.get(n));
      if (times.length === count) resolve();
    });
  });
  const started = performance.now();
  const pending = [];
  for (let n = 0; n < count; n++) {
    const due = started + (n * 1_000) / perSecond;
    while (performance.now() < due) await sleep(Math.max(0, Math.floor(due - performance.now())));
    sent.set(n, performance.now());
    pending.push(send(n));
  }
  await Promise.all([all, ...pending]);
  return times;
}

const ipeRequire = createRequire(new URL('../packages/ipe/package.json', import.meta.url));
const messageOf = (n) => Buffer.from(String(n).padEnd(300, ' '));

async function natsOwnLatency(url, count, perSecond) {
  const { connect } = ipeRequire('@nats-io/transport-node');
  const { jetstream, jetstreamManager } = ipeRequire('@nats-io/jetstream');
  const [publisher, subscriber] = await Promise.all([0, 1].map(() => connect({ servers: [new URL(url).host] })));
  const manager = await jetstreamManager(publisher);
  await manager.streams.add({ name: `OWN${perSecond}`, subjects: [`own${perSecond}.>`], storage: 'file' });
  const consumer = await jetstream(subscriber).consumers.get(`OWN${perSecond}`, {});
  const messages = await consumer.consume({ max_messages: 256 });
  const client = jetstream(publisher);
  const times = await pacedMessages(
    count,
    perSecond,
    (n) => client.publish(`own${perSecond}.a`, messageOf(n)),
    async (deliver) => {
      for await (const message of messages) deliver(Number(message.string()));
    },
  );
  await messages.close();
  await Promise.all([publisher.close(), subscriber.close()]);
  return times;
}

async function redisOwnLatency(url, count, perSecond) {
  const { createClient } = ipeRequire('redis');
  const [publisher, subscriber] = [createClient({ url }), createClient({ url })];
  await Promise.all([publisher.connect(), subscriber.connect()]);
  let isOver = false;
  const times = await pacedMessages(
    count,
    perSecond,
    (n) => publisher.xAdd(`own${perSecond}`, '*', { b: messageOf(n) }),
    async (deliver) => {
      for (let last = '0'; !isOver; ) {
        const reply = await subscriber.xRead({ key: `own${perSecond}`, id: last }, { COUNT: 64, BLOCK: 200 });
        for (const { messages } of reply ?? [])
          for (const { id, message } of messages) {
            last = id;
            deliver(Number(message.b));
          }
      }
      subscriber.destroy();
    },
  );
  isOver = true;
  publisher.destroy();
  return times;
}

async function kafkaOwnLatency(url, count, perSecond) {
  const { Kafka, logLevel, Partitioners } = ipeRequire('kafkajs');
  const kafka = new Kafka({ brokers: [new URL(url).host], logLevel: logLevel.NOTHING });
  const topic = `own-${perSecond}`;
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  // As the plane has it.
  const consumer = kafka.consumer({ groupId: topic, maxWaitTimeInMs: 500 });
  const joined = new Promise((resolve) => {
    consumer.on(consumer.events.GROUP_JOIN, resolve);
  });
  await Promise.all([producer.connect(), consumer.connect()]);
  await producer.send({ topic, messages: [{ value: 'first' }] });
  await consumer.subscribe({ topic, fromBeginning: true });
  let heard = () => {};
  await consumer.run({ eachMessage: async ({ message }) => heard(Number(message.value)) });
  await joined;
  const times = await pacedMessages(
    count,
    perSecond,
    (n) => producer.send({ topic, messages: [{ value: messageOf(n) }] }),
    (deliver) => {
      heard = (n) => {
        if (Number.isInteger(n)) deliver(n);
      };
    },
  );
  await Promise.all([producer.disconnect(), consumer.disconnect()]);
  return times;
}

/** Publish to deliver of a broker by itself, with the client that the plane uses and messages as large. */
const ownLatency = { nats: natsOwnLatency, redis: redisOwnLatency, kafka: kafkaOwnLatency };

/** Overwrites facts in batches of 1,000. @returns the token of the last */
async function putMany(member, namespace, from, count) {
  let token;
  for (let at = from; at < from + count; at += 1_000) {
    const size = Math.min(1_000, from + count - at);
    const entries = Array.from({ length: size }, (_, i) => ({
      key: `${namespace}.k${String(at + i).padStart(8, '0')}`,
      value: factOf(serial++),
    }));
    const results = await member.running.data.putAll(entries);
    token = results.at(-1).token;
    if (token === undefined) throw new Error(`refused: ${JSON.stringify(results.at(-1))}`);
  }
  return token;
}

/** Resolves when a member has seen the write of a token. */
async function seen(member, token) {
  const inTime = deadline('a write is not seen');
  for (;;) {
    inTime();
    try {
      await member.running.data.get('heal.none', { fresh_as_of: token, timeoutMs: 30_000 });
      return;
    } catch (error) {
      if (error.reason !== 'unavailable' && error.reason !== 'timeout') throw error;
    }
  }
}

async function untilLinks(member, count) {
  const inTime = deadline(`a member does not have ${count} links`);
  for (;;) {
    inTime();
    const { members } = await member.running.control.call('members', {});
    if (members.filter(({ linked }) => linked).length === count) return;
    await sleep(5);
  }
}

function cut({ network }, one, other) {
  network.cut(one.place, other.place);
  network.cut(other.place, one.place);
}

function mend({ network }, one, other) {
  network.mend(one.place, other.place);
  network.mend(other.place, one.place);
}

const processorSeconds = (member) => cpuSeconds(member.running.child.pid);

const mean = (numbers) => numbers.reduce((sum, each) => sum + each, 0) / numbers.length;

function residentBytes(member) {
  const status = readFileSync(`/proc/${member.running.child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024;
}
