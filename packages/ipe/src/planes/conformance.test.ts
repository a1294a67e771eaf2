import { setTimeout as sleep } from 'node:timers/promises';
import type { MessagePlane } from '@ipe/core/plane';
import { type PlaneFixture, runPlaneConformance } from '@ipe/core/testkit';
import { createClient } from 'redis';
import { describe, test } from 'vitest';
import { type Broker, missingBroker, startKafka, startNats, startRedis } from '../testkit/brokers.ts';
import { openKafkaPlane } from './kafka/plane.ts';
import { MemoryExchange, openMemoryPlane } from './memory/plane.ts';
import { openNatsPlane } from './nats/plane.ts';
import { openRedisPlane } from './redis/plane.ts';

const runner = {
  test: (title: string, run: () => Promise<void>) => test(title, run),
  skipTest: (title: string) => test.skip(title, () => {}),
  turn: () => sleep(20),
};
const everything = ['kill', 'restart', 'restartEmpty', 'purge'] as const;

/** A fixture around a real broker process. */
async function withBroker(
  start: () => Promise<Broker>,
  open: (url: string) => MessagePlane,
  purge: (url: string) => Promise<void>,
): Promise<PlaneFixture> {
  const broker = await start();
  return {
    open: () => open(broker.url),
    kill: () => broker.kill(),
    restart: () => broker.restart(),
    restartEmpty: () => broker.restartEmpty(),
    purge: () => purge(broker.url),
    close: () => broker.close(),
  };
}

describe('memory plane', () => {
  const setUp = async (): Promise<PlaneFixture> => {
    const exchange = new MemoryExchange();
    return {
      open: () => openMemoryPlane(exchange),
      purge: async () => exchange.purge(),
      close: async () => {},
    };
  };
  runPlaneConformance({ ...runner, setUp, offers: ['purge'] });
});

describe('NATS plane', () => {
  const missing = missingBroker('nats');
  if (missing) test.skip(`conformance (skipped: ${missing})`, () => {});
  else {
    const purge = async (url: string) => {
      const { connect } = await import('@nats-io/transport-node');
      const { jetstreamManager } = await import('@nats-io/jetstream');
      const connection = await connect({ servers: [new URL(url).host] });
      await (await jetstreamManager(connection)).streams.purge('IPE');
      await connection.close();
    };
    const setUp = () => withBroker(startNats, (url) => openNatsPlane({ url }), purge);
    runPlaneConformance({ ...runner, setUp, offers: everything });
  }
});

describe('Redis plane', () => {
  const missing = missingBroker('redis');
  if (missing) test.skip(`conformance (skipped: ${missing})`, () => {});
  else {
    const purge = async (url: string) => {
      const client = createClient({ url });
      await client.connect();
      await client.flushAll();
      await client.close();
    };
    const setUp = () => withBroker(startRedis, (url) => openRedisPlane({ url }), purge);
    runPlaneConformance({ ...runner, setUp, offers: everything });
  }
});

describe('Kafka plane', () => {
  const missing = missingBroker('kafka');
  if (missing) test.skip(`conformance (skipped: ${missing})`, () => {});
  else {
    let group = 0;
    const setUp = async (): Promise<PlaneFixture> => {
      const broker = await startKafka();
      return {
        open: () => openKafkaPlane({ url: broker.url, groupId: `kit-${group++}` }),
        close: () => broker.close(),
      };
    };
    runPlaneConformance({ ...runner, setUp, offers: [] });
  }
});
