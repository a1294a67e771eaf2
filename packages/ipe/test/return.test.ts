import { afterAll, describe, expect, test } from 'vitest';
import { freePort } from '../src/testkit/brokers.ts';
import { type NodeProcess, startProcess } from '../src/testkit/process.ts';
import { Cleanups } from './support/scratch.ts';

const deadline = { timeout: 40_000, interval: 200 };

describe('a member that was away for longer than its lease', () => {
  const cleanups = new Cleanups();
  afterAll(() => cleanups.run());

  /** Starts a founder and joins the others to it. */
  async function cluster(count: number): Promise<{ node: NodeProcess; environment: Record<string, string> }[]> {
    const members: { node: NodeProcess; environment: Record<string, string>; address: string }[] = [];
    for (let i = 0; i < count; i++) {
      const address = `127.0.0.1:${await freePort()}`;
      const environment = {
        IPE_CLUSTER__LISTEN: address,
        IPE_CLUSTER__MEMBER_LEASE: '5s',
        IPE_OBSERVABILITY__LOG_LEVEL: 'warn',
        IPE_PREDICATE_SERVICE__DATA_PLANE__TOMBSTONE_GRACE: '0s',
        IPE_PREDICATE_SERVICE__DATA_PLANE__MESSAGE_PLANE: 'gossip',
      };
      const first = members[0];
      const args =
        first === undefined
          ? []
          : ['--join', first.address, '--join-token', (await first.node.control.call('member-invite', {})).token];
      const node = await startProcess(await cleanups.folder(), { args, environment });
      cleanups.add(() => node.kill());
      members.push({ node, environment, address });
    }
    return members;
  }

  const valueAt = async ({ data }: NodeProcess, key: string) => (await data.get(key))?.value;

  test('is evicted, returns by itself, brings what it alone had, and brings nothing deleted back', async () => {
    const [first, second, third] = (await cluster(3)) as [
      { node: NodeProcess },
      { node: NodeProcess },
      { node: NodeProcess; environment: Record<string, string> },
    ];
    await first.node.data.put('users.gone', 'old');
    for (const { node } of [second, third]) await expect.poll(() => valueAt(node, 'users.gone'), deadline).toBe('old');

    // The others hear nothing while it writes what nobody else will have.
    for (const { node } of [first, second]) node.child.kill('SIGSTOP');
    await third.node.data.put('users.alone', 'kept');
    await third.node.data.put('users.gone', 'too late?');
    await third.node.kill();
    for (const { node } of [first, second]) node.child.kill('SIGCONT');

    const states = async () => (await second.node.control.call('members', {})).members.map(({ state }) => state).sort();
    await expect.poll(states, deadline).toEqual(['active', 'active', 'evicted']);
    await first.node.data.delete('users.gone');
    await expect.poll(() => valueAt(second.node, 'users.gone'), deadline).toBeUndefined();

    const back = await startProcess(third.node.directory, { environment: third.environment });
    cleanups.add(() => back.kill());
    for (const node of [first.node, second.node, back])
      await expect.poll(() => valueAt(node, 'users.alone').catch(() => undefined), deadline).toBe('kept');
    for (const node of [first.node, second.node, back]) expect(await valueAt(node, 'users.gone')).toBeUndefined();
    await expect.poll(states, deadline).toEqual(['active', 'active', 'active']);
  }, 120_000);
});
