import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Broker, freePort, missingBroker, startNats, startRedis } from '../src/testkit/brokers.ts';
import { startProcess } from '../src/testkit/process.ts';
import { type Started, startCluster } from './support/cluster.ts';
import { Cleanups } from './support/scratch.ts';

/** Resolves once a key reads as asked at a node, told by its own subscription. */
async function untilValue({ node }: Started, key: string, value: unknown): Promise<void> {
  const namespace = key.slice(0, key.indexOf('.'));
  const isIt = async () => JSON.stringify((await node.data.get(key))?.value) === JSON.stringify(value);
  // The bookmark that follows what exists tells that nothing can slip between the reading and the watching.
  for await (const _ of node.data.watch(`${namespace}.*`, { include_existing: true })) if (await isIt()) return;
}

const planes: { name: string; missing: string | undefined; start?: () => Promise<Broker>; plane: string }[] = [
  { name: 'gossip', missing: undefined, plane: 'gossip' },
  { name: 'NATS', missing: missingBroker('nats'), start: startNats, plane: 'pubsub' },
  { name: 'Redis', missing: missingBroker('redis'), start: startRedis, plane: 'pubsub' },
  { name: 'hybrid over NATS', missing: missingBroker('nats'), start: startNats, plane: 'hybrid' },
];

for (const { name, missing, start, plane } of planes) {
  describe.skipIf(missing !== undefined)(
    `three instances over ${name}${missing ? ` (skipped: ${missing})` : ''}`,
    () => {
      const cleanups = new Cleanups();
      let members: Started[] = [];
      let broker: Broker | undefined;

      beforeAll(async () => {
        broker = await start?.();
        if (broker) cleanups.add(() => broker!.close());
        members = await startCluster(cleanups, 3, {
          IPE_PREDICATE_SERVICE__DATA_PLANE__MESSAGE_PLANE: plane,
          ...(broker && { IPE_PREDICATE_SERVICE__DATA_PLANE__PUBSUB_URL: broker.url }),
        });
      });
      afterAll(() => cleanups.run());

      test('what one writes, all read, and a delete reaches all', async () => {
        for (const [i, { node }] of members.entries()) await node.data.put(`users.u${i}`, { from: i });
        for (const member of members) {
          for (let i = 0; i < 3; i++) await untilValue(member, `users.u${i}`, { from: i });
        }
        await members[1]!.node.data.delete('users.u0');
        for (const member of members) await untilValue(member, 'users.u0', undefined);
      });

      test('an acknowledgement by two peers means that both hold the write', async () => {
        const { token } = await members[0]!.node.data.put('users.acked', 1, { ack: 'peers:2' });
        for (const { node } of members.slice(1)) {
          expect((await node.data.get('users.acked', { fresh_as_of: token }))?.value).toBe(1);
        }
      });

      test('writes acknowledged while a member is dead are there after kill -9 and restart', async () => {
        const victim = members[2]!;
        await victim.node.kill();
        for (let i = 0; i < 50; i++) await members[i % 2]!.node.data.put(`users.late${i}`, i);
        const node = await startProcess(victim.node.directory, { environment: victim.environment });
        cleanups.add(() => node.kill());
        members[2] = { ...victim, node };
        for (let i = 0; i < 50; i++) await untilValue(members[2], `users.late${i}`, i);
      });

      test.skipIf(start === undefined)('a broker that is killed makes nothing but latency', async () => {
        await broker!.kill();
        await members[0]!.node.data.put('users.brokerless', 1);
        for (const member of members) await untilValue(member, 'users.brokerless', 1);
        await broker!.restartEmpty();
        await members[1]!.node.data.put('users.again', 2);
        for (const member of members) await untilValue(member, 'users.again', 2);
      });
    },
  );
}

describe('membership', () => {
  const cleanups = new Cleanups();
  afterAll(() => cleanups.run());

  test('an evicted member is listed as such, cut off, and what it wrote before stays', async () => {
    const [first, second] = await startCluster(cleanups, 2);
    await second!.node.data.put('users.before', 1);
    await untilValue(first!, 'users.before', 1);
    const { members } = await first!.node.control.call('members', {});
    const other = members.find(({ peer }) => peer === second!.address)!;
    expect(other).toMatchObject({ state: 'active', linked: true });
    await first!.node.control.call('evict', { member: other.id });
    const after = await first!.node.control.call('members', {});
    expect(after.members.find(({ id }) => id === other.id)).toMatchObject({ state: 'evicted', linked: false });
    expect((await first!.node.data.get('users.before'))?.value).toBe(1);
  });

  test('a join token works once, and the wrong one not at all', async () => {
    const [first] = await startCluster(cleanups, 1);
    const { token } = await first!.node.control.call('member-invite', {});
    const environment = { IPE_CLUSTER__LISTEN: `127.0.0.1:${await freePort()}`, IPE_OBSERVABILITY__LOG_LEVEL: 'warn' };
    const joined = await startProcess(await cleanups.folder(), { args: ['--join-token', token], environment });
    cleanups.add(() => joined.kill());
    const again = startProcess(await cleanups.folder(), { args: ['--join-token', token], environment });
    await expect(again).rejects.toThrow(/unknown, expired or used/);
  });
});
