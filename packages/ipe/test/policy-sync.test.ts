import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../src/testkit/brokers.ts';
import { type NodeProcess, startProcess } from '../src/testkit/process.ts';
import { Cleanups } from './support/scratch.ts';

const source = (expression: string) =>
  `validations:\n  - expression: ${JSON.stringify(expression)}\n    message: refused\n`;
const request = {
  subject: { type: 'user', id: 'ada' },
  action: { name: 'read' },
  resource: { type: 'document', id: 'd' },
};

describe('an origin and its follower', () => {
  const cleanups = new Cleanups();
  let founder: NodeProcess;
  let joined: NodeProcess;
  let joinedId: string;
  let founderId: string;

  beforeAll(async () => {
    const addresses = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`] as const;
    const quiet = { IPE_OBSERVABILITY__LOG_LEVEL: 'warn' };
    founder = await startProcess(await cleanups.folder(), {
      environment: { ...quiet, IPE_CLUSTER__LISTEN: addresses[0] },
    });
    cleanups.add(() => founder.kill());
    const { token } = await founder.control.call('member-invite', {});
    joined = await startProcess(await cleanups.folder(), {
      args: ['--join', addresses[0], '--join-token', token],
      environment: {
        ...quiet,
        IPE_CLUSTER__LISTEN: addresses[1],
        IPE_CONTROL_PLANE__ROLE: 'follower',
        IPE_CONTROL_PLANE__ORIGIN: addresses[0],
      },
    });
    cleanups.add(() => joined.kill());
    const { members } = await founder.control.call('members', {});
    founderId = members.find(({ peer }) => peer === addresses[0])!.id;
    joinedId = members.find(({ peer }) => peer === addresses[1])!.id;
  });
  afterAll(() => cleanups.run());

  const decide = async (node: NodeProcess, path: string) => (await node.evaluation.evaluate(path, request)).decision;

  /** Resolves once a node holds a root, told by its own subscription. */
  async function untilRoot(node: NodeProcess, root: string): Promise<void> {
    for (;;) {
      const status = await node.control.call('status', {});
      if (status['root'] === root) return;
      await node.control.call('sync-from-peer', {}).catch(() => {});
    }
  }

  test('what the origin is given decides at the follower', async () => {
    const { root } = await founder.control.call('put-policy', { path: 'docs.read', source: source('true') });
    await untilRoot(joined, root);
    expect(await decide(joined, 'docs.read')).toBe('allow');
    const status = await joined.control.call('status', {});
    expect(status['policy_sync']).toMatchObject({ role: 'follower', term: 1, origin: founderId, in_sync: true });
    expect((await founder.control.call('status', {}))['policy_sync']).toMatchObject({ role: 'origin', term: 1 });
  });

  test('what the follower is given is written at the origin, and read back here', async () => {
    const { root } = await joined.control.call('put-policy', { path: 'docs.write', source: source('false') });
    expect((await founder.control.call('status', {}))['root']).toBe(root);
    await untilRoot(joined, root);
    expect(await decide(joined, 'docs.write')).toBe('deny');
    const bad = joined.control.call('put-policy', { path: 'docs.bad', source: source('nonsense(') });
    await expect(bad).rejects.toMatchObject({ reason: 'policy_invalid' });
  });

  test('only the holder of the cluster key promotes; the promoted member takes writes and the other follows', async () => {
    const own = joined.control.call('member-promote', { member: joinedId });
    await expect(own).rejects.toMatchObject({ reason: 'forbidden' });
    expect(await founder.control.call('member-promote', { member: joinedId })).toMatchObject({ id: joinedId, term: 2 });
    const { root } = await founder.control.call('put-policy', { path: 'docs.next', source: source('true') });
    expect((await joined.control.call('status', {}))['root']).toBe(root);
    await untilRoot(founder, root);
    expect(await decide(founder, 'docs.next')).toBe('allow');
  });

  test('a follower whose origin is dead keeps deciding, refuses writes, and takes them once promoted', async () => {
    await joined.kill();
    expect(await decide(founder, 'docs.next')).toBe('allow');
    const put = () => founder.control.call('put-policy', { path: 'docs.last', source: source('true') });
    await expect(put()).rejects.toMatchObject({ reason: 'unavailable', details: { origin: joinedId } });
    expect(await founder.control.call('member-promote', { member: founderId })).toMatchObject({ term: 3 });
    await put();
    expect(await decide(founder, 'docs.last')).toBe('allow');
  });
});
