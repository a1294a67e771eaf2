import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MessagePlane } from '@ipe/core/plane';
import { type PlaneFixture, runPlaneConformance } from '@ipe/core/testkit';
import { createClient } from 'redis';
import { describe, expect, test } from 'vitest';
import { type Broker, missingBroker, startNats, startRedis } from '../testkit/brokers.ts';
import { startMesh } from '../testkit/mesh.ts';
import { openGossipPlane } from './gossip/plane.ts';
import { openHybridPlane } from './hybrid/plane.ts';
import { MemoryExchange, openMemoryPlane } from './memory/plane.ts';
import { openNatsPlane } from './nats/plane.ts';
import { openRedisPlane } from './redis/plane.ts';

const runner = {
  test: (title: string, run: () => Promise<void>) => test(title, run),
  skipTest: (title: string) => test.skip(title, () => {}),
  turn: () => sleep(20),
};
const everything = ['kill', 'restart', 'restartEmpty', 'purge', 'resume', 'order'] as const;

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
  runPlaneConformance({ ...runner, setUp, offers: ['purge', 'resume', 'order'] });
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

describe('gossip plane', () => {
  const setUp = async (): Promise<PlaneFixture> => {
    const mesh = await startMesh(3);
    let next = 0;
    return {
      open: () => openGossipPlane({ peers: mesh.peers[next++]! }),
      close: () => mesh.close(),
    };
  };
  runPlaneConformance({ ...runner, setUp, offers: ['order'] });
});

describe('hybrid plane', () => {
  const missing = missingBroker('nats');
  if (missing) test.skip(`conformance (skipped: ${missing})`, () => {});
  else {
    const setUp = async (): Promise<PlaneFixture> => {
      const mesh = await startMesh(3);
      const broker = await startNats();
      let next = 0;
      return {
        open: () =>
          openHybridPlane(openNatsPlane({ url: broker.url }), openGossipPlane({ peers: mesh.peers[next++]! })),
        kill: () => broker.kill(),
        restart: () => broker.restart(),
        restartEmpty: () => broker.restartEmpty(),
        close: async () => {
          await broker.close();
          await mesh.close();
        },
      };
    };
    runPlaneConformance({ ...runner, setUp, offers: [] });

    test('batches go on over gossip while the broker is away', async () => {
      const fixture = await setUp();
      const [sender, receiver] = [fixture.open(), fixture.open()];
      await Promise.all([sender.start(), receiver.start()]);
      await fixture.kill!();
      const arrived = new Promise<string>((resolve) => {
        receiver.subscribe('all', async (delivery) => resolve(Buffer.from(delivery.body).toString()));
      });
      let done = false;
      void arrived.then(() => {
        done = true;
      });
      while (!done) {
        await sender.publish({
          namespace: 'approvals',
          origin: 'aa',
          id: randomUUID(),
          body: Buffer.from('by gossip'),
        });
        await runner.turn();
      }
      expect(await arrived).toBe('by gossip');
      expect(receiver.status()).toMatchObject({ connected: true, problem: expect.stringContaining('gossip carries') });
      await sender.close();
      await receiver.close();
      await fixture.close();
    });
  }
});

test('beyond the limit for pushing to all, a batch reaches everybody by relay, each once', async () => {
  const mesh = await startMesh(6);
  const planes = mesh.peers.map((peers) => openGossipPlane({ peers, pushAllMax: 2, fanout: 4 }));
  await Promise.all(planes.map((plane) => plane.start()));
  const counts = planes.map(() => 0);
  const receivers = planes.slice(1).map(
    (plane, i) =>
      new Promise<void>((resolve) => {
        const subscription = plane.subscribe('all', async () => {
          counts[i + 1]!++;
          resolve();
        });
        void subscription.ready;
      }),
  );
  await planes[0]!.publish({ namespace: 'approvals', origin: 'aa', id: 'one', body: Buffer.from('x') });
  await Promise.all(receivers);
  expect(counts).toEqual([0, 1, 1, 1, 1, 1]);
  for (const plane of planes) await plane.close();
  await mesh.close();
});
