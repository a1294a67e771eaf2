import { afterEach, expect, test, vi } from 'vitest';
import { type Broker, freePort, missingBroker, startKafka, startNats, startRedis } from '../src/testkit/brokers.ts';
import { patience } from '../src/testkit/patience.ts';
import { type NodeProcess, startProcess } from '../src/testkit/process.ts';
import { Cleanups } from './support/scratch.ts';

const cleanups = new Cleanups();
afterEach(() => cleanups.run());

const isConnected = async (node: NodeProcess): Promise<boolean> => {
  const { cluster } = (await node.control.status()) as {
    cluster?: { replication: { plane?: { connected: boolean } } };
  };
  return cluster?.replication.plane?.connected === true;
};

const brokers: { name: string; missing: string | undefined; start: () => Promise<Broker> }[] = [
  { name: 'NATS', missing: missingBroker('nats'), start: startNats },
  { name: 'Redis', missing: missingBroker('redis'), start: startRedis },
  { name: 'Kafka', missing: missingBroker('kafka'), start: startKafka },
];

for (const { name, missing, start } of brokers)
  test.skipIf(missing !== undefined)(
    `a node stops by itself while its broker hangs: ${name}${missing ? ` (skipped: ${missing})` : ''}`,
    async () => {
      const broker = await start();
      cleanups.add(() => broker.close());
      const node = await startProcess(await cleanups.folder(), {
        environment: {
          IPE_CLUSTER__LISTEN: `127.0.0.1:${await freePort()}`,
          IPE_PREDICATE_SERVICE__DATA_PLANE__MESSAGE_PLANE: 'pubsub',
          IPE_PREDICATE_SERVICE__DATA_PLANE__PUBSUB_URL: broker.url,
        },
      });
      cleanups.add(() => node.kill());
      await vi.waitFor(async () => expect(await isConnected(node)).toBe(true), patience);
      await node.data.put('users.a', 1);
      process.kill(broker.pid()!, 'SIGSTOP');
      expect(await node.stop()).toBe(0);
    },
    60_000,
  );
