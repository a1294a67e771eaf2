import { afterAll, describe, expect, test } from 'vitest';
import { type NodeProcess, startProcess } from '../src/testkit/process.ts';
import { type Started, startCluster } from './support/cluster.ts';
import { Cleanups } from './support/scratch.ts';

describe('a member that was away for longer than its lease', () => {
  const cleanups = new Cleanups();
  afterAll(() => cleanups.run());

  const valueAt = async ({ data }: NodeProcess, key: string) => (await data.get(key))?.value;

  test('is evicted, returns by itself, brings what it alone had, and brings nothing deleted back', async () => {
    const [first, second, third] = (await startCluster(cleanups, 3, {
      IPE_CLUSTER__MEMBER_LEASE: '5s',
      IPE_PREDICATE_SERVICE__DATA_PLANE__TOMBSTONE_GRACE: '0s',
      IPE_PREDICATE_SERVICE__DATA_PLANE__MESSAGE_PLANE: 'gossip',
    })) as [Started, Started, Started];
    await first.node.data.put('users.gone', 'old');
    for (const { node } of [second, third]) await expect.poll(() => valueAt(node, 'users.gone')).toBe('old');

    // The others hear nothing while it writes what nobody else will have.
    for (const { node } of [first, second]) node.child.kill('SIGSTOP');
    await third.node.data.put('users.alone', 'kept');
    await third.node.data.put('users.gone', 'too late?');
    await third.node.kill();
    for (const { node } of [first, second]) node.child.kill('SIGCONT');

    const states = async () => (await second.node.control.call('members', {})).members.map(({ state }) => state).sort();
    await expect.poll(states).toEqual(['active', 'active', 'evicted']);
    await first.node.data.delete('users.gone');
    await expect.poll(() => valueAt(second.node, 'users.gone')).toBeUndefined();

    // As a service manager starts it again: with the join token in its command, which was used long ago.
    const { environment, args } = third;
    const back = await startProcess(third.node.directory, { environment, args });
    cleanups.add(() => back.kill());
    for (const node of [first.node, second.node, back])
      await expect.poll(() => valueAt(node, 'users.alone').catch(() => undefined)).toBe('kept');
    for (const node of [first.node, second.node, back]) expect(await valueAt(node, 'users.gone')).toBeUndefined();
    await expect.poll(states).toEqual(['active', 'active', 'active']);
  });
});
