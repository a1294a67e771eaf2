import { setTimeout as sleep } from 'node:timers/promises';
import type { MessagePlane } from '@ipe/core/plane';
import { afterEach, expect, test } from 'vitest';
import {
  type Broker,
  type brokerPrograms,
  missingBroker,
  startKafka,
  startNats,
  startRedis,
} from '../testkit/brokers.ts';
import { openKafkaPlane } from './kafka/plane.ts';
import { openNatsPlane } from './nats/plane.ts';
import { openRedisPlane } from './redis/plane.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

type Heard = (text: string) => void;

/** Another program: the broker's plain client, listening where RFC-005's messages are published. */
async function listenOnNats(url: string, heard: Heard): Promise<void> {
  const { connect } = await import('@nats-io/transport-node');
  const connection = await connect({ servers: [new URL(url).host] });
  cleanups.push(() => connection.close());
  connection.subscribe('data-json.*', { callback: (_, message) => heard(`${message.subject} ${message.string()}`) });
  await connection.flush();
}

async function listenOnRedis(url: string, heard: Heard): Promise<void> {
  const client = (await import('redis')).createClient({ url });
  await client.connect();
  cleanups.push(() => client.destroy());
  await client.pSubscribe('data-json.*', (text, channel) => heard(`${channel} ${text}`));
}

async function listenOnKafka(url: string, heard: Heard): Promise<void> {
  const { Kafka, logLevel } = await import('kafkajs');
  const kafka = new Kafka({ brokers: [new URL(url).host], logLevel: logLevel.NOTHING });
  const consumer = kafka.consumer({ groupId: 'another-program' });
  await consumer.connect();
  cleanups.push(() => consumer.disconnect());
  await consumer.subscribe({ topic: 'data-json.users', fromBeginning: true });
  await consumer.run({ eachMessage: async ({ topic, message }) => heard(`${topic} ${message.value}`) });
}

const brokers: readonly {
  kind: keyof typeof brokerPrograms;
  start: () => Promise<Broker>;
  open: (url: string) => MessagePlane;
  listen: (url: string, heard: Heard) => Promise<void>;
}[] = [
  { kind: 'nats', start: startNats, open: (url) => openNatsPlane({ url }), listen: listenOnNats },
  { kind: 'redis', start: startRedis, open: (url) => openRedisPlane({ url }), listen: listenOnRedis },
  { kind: 'kafka', start: startKafka, open: (url) => openKafkaPlane({ url, groupId: 'one' }), listen: listenOnKafka },
];

for (const { kind, start, open, listen } of brokers) {
  const missing = missingBroker(kind);
  const title = `over ${kind} other programs hear changes as JSON on data-json.<namespace>, and instances take none for a batch`;
  test.skipIf(missing !== undefined)(`${title}${missing ? ` (skipped: ${missing})` : ''}`, async () => {
    const broker = await start();
    cleanups.push(() => broker.close());
    const plane = open(broker.url);
    cleanups.push(() => plane.close());
    await plane.start();
    while (!plane.status().connected) await sleep(20);
    const batches: string[] = [];
    plane.subscribe('all', async ({ namespace }) => void batches.push(namespace));
    const json = JSON.stringify({ type: 'data.update', key: 'users.alice', value: { role: 'admin' } });
    // Makes the topic where topics are made by their first message.
    await plane.mirror!('users', Buffer.from('{}'));
    let tell: Heard = () => {};
    const heard = new Promise<string>((resolve) => {
      tell = resolve;
    });
    await listen(broker.url, (text) => {
      if (text.includes('alice')) tell(text);
    });
    await plane.mirror!('users', Buffer.from(json));
    expect(await heard).toBe(`data-json.users ${json}`);
    expect(batches).toEqual([]);
  });
}
