import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { freePort } from '../src/testkit/brokers.ts';
import { ask } from '../src/testkit/door.ts';
import { patience } from '../src/testkit/patience.ts';
import { type NodeProcess, startProcess } from '../src/testkit/process.ts';
import { type Gate, openGate } from './support/gate.ts';
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
    const isIt = async () => {
      if ((await node.control.call('status', {}))['root'] === root) return true;
      await node.control.call('sync-from-peer', {}).catch(() => {});
      return false;
    };
    await vi.waitUntil(isIt, patience);
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

/** Calls until it is so, with pauses: the node that is asked has the processor meanwhile. */
async function until<T>(call: () => Promise<T>, isIt: (value: T) => boolean): Promise<T> {
  const found = await vi.waitUntil(async () => {
    const value = await call();
    return isIt(value) && { value };
  }, patience);
  return found.value;
}

interface SyncStatus {
  readonly role: string;
  readonly term: number | null;
  readonly error: string | null;
  readonly problem: string | null;
  readonly receiving: { readonly done: number; readonly all: number } | null;
  readonly last: { readonly from: string; readonly objects: number; readonly bytes: number } | null;
}

describe('an origin, a follower beside it, and one behind a line that can be held', () => {
  const cleanups = new Cleanups();
  const addresses: string[] = [];
  const directories: string[] = [];
  const nodes: NodeProcess[] = [];
  let gate: Gate;

  const environmentOf = (i: number): Record<string, string> => ({
    IPE_OBSERVABILITY__LOG_LEVEL: 'warn',
    // A line that is held stays one: nobody gives it up while the test looks.
    IPE_CLUSTER__HEARTBEAT_INTERVAL: '10m',
    // The origin is reached through the gate by all; the last dials only, so that no other way leads to it.
    ...(i < 2 && { IPE_CLUSTER__LISTEN: addresses[i]! }),
    ...(i === 0 && { IPE_CLUSTER__ADVERTISE: gate.address }),
  });
  async function start(i: number, extra: Record<string, string> = {}): Promise<NodeProcess> {
    const isMember = directories[i] !== undefined;
    directories[i] ??= await cleanups.folder();
    const args: string[] = [];
    if (i > 0 && !isMember) {
      const { token } = await nodes[0]!.control.call('member-invite', {});
      args.push('--join', gate.address, '--join-token', token);
    }
    const node = await startProcess(directories[i]!, { args, environment: { ...environmentOf(i), ...extra } });
    nodes[i] = node;
    cleanups.add(() => node.kill());
    return node;
  }
  const sync = async (i: number) => (await nodes[i]!.control.status())['policy_sync'] as SyncStatus;
  const root = async (i: number) => (await nodes[i]!.control.status())['root'];
  const idOf = async (i: number) => String((await nodes[i]!.control.status())['instance']);
  const put = (i: number, path: string, expression = 'true') =>
    nodes[i]!.control.call('put-policy', { path, source: source(expression) });
  const untilSame = (i: number, wanted: string) =>
    until(
      () => root(i),
      (value) => value === wanted,
    );
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ path: `many.d${i % 20}.p${i}`, source: source(`${i} >= 0`) }));

  beforeAll(async () => {
    addresses.push(`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`);
    gate = await openGate(addresses[0]!);
    cleanups.add(() => gate.close());
    await start(0);
    await start(1);
  });
  afterAll(() => cleanups.run());

  test('the founder is the origin and who joins follows, without a word in the configuration', async () => {
    expect(await sync(0)).toMatchObject({ role: 'origin', term: 1, problem: null });
    const { root: written } = await put(0, 'a');
    await untilSame(1, written);
    expect(await sync(1)).toMatchObject({ role: 'follower', term: 1, problem: null });
  });

  test('a follower killed in the middle of its first sync goes on where it stopped', async () => {
    const { root: written } = await nodes[0]!.control.apply(many(100));
    await untilSame(1, written);
    const { last: whole } = await until(
      () => sync(1),
      ({ last }) => (last?.objects ?? 0) > 300,
    );
    gate.holdAfter(Math.floor(0.6 * whole!.bytes));
    await start(2);
    const { receiving } = await until(
      () => sync(2),
      (status) => (status.receiving?.done ?? 0) > 0,
    );
    expect(receiving!.done).toBeLessThan(receiving!.all);
    expect(await root(2)).not.toBe(written);
    await nodes[2]!.kill();
    gate.release();
    await start(2);
    await untilSame(2, written);
    const { last } = await until(
      () => sync(2),
      (status) => status.last !== null,
    );
    // What was durable before the kill did not come again.
    expect(last!.objects).toBeLessThanOrEqual(receiving!.all - receiving!.done);
    expect(last!.objects).toBeGreaterThan(0);
    expect(last!.bytes).toBeLessThan(whole!.bytes);
    expect((await nodes[2]!.control.call('verify', {})).problems).toEqual([]);
  });

  test('a follower that was away longer than history is kept catches up, from another follower', async () => {
    const left = String(await root(2));
    await nodes[2]!.stop();
    for (let i = 0; i < 6; i++) await put(0, `while.away${i}`, i % 2 === 0 ? 'true' : 'false');
    const { root: written } = await nodes[0]!.control.call('delete-policy', { path: 'a' });
    await untilSame(1, written);
    // Commits carry whole seconds, so that those of the current second are within any retention.
    const collect = async () => {
      await nodes[1]!.control.call('gc', { retention_days: 0, grace_seconds: 0 });
      return nodes[1]!.control.call('get-policy', { path: 'a', root: left }).catch(({ reason }) => ({ reason }));
    };
    await until(collect, (answer) => (answer as { reason?: string }).reason === 'not_found');
    await nodes[0]!.stop();
    await start(2, { IPE_CLUSTER__SEEDS: JSON.stringify([addresses[1]!]) });
    const peer = await idOf(1);
    const from = () => nodes[2]!.control.call('sync-from-peer', { peer }).catch(() => undefined);
    const result = await until(from, (synced) => synced?.root === written);
    expect(result!.from).toBe(peer);
    expect((await nodes[2]!.control.call('verify', {})).problems).toEqual([]);
    await expect(put(2, 'b')).rejects.toMatchObject({ reason: 'unavailable' });
    expect((await nodes[2]!.evaluation.evaluate('while.away1', request)).decision).toBe('deny');
  });

  test('an origin restored from an old backup is refused by its followers until it is promoted', async () => {
    const backup = await cleanups.folder();
    await cp(directories[0]!, backup, { recursive: true });
    await start(0);
    const { root: newer } = await put(0, 'newer');
    await untilSame(1, newer);
    await nodes[0]!.stop();
    await rm(directories[0]!, { recursive: true });
    await cp(backup, directories[0]!, { recursive: true });
    await start(0);
    const { root: other } = await put(0, 'other');
    const { error } = await until(
      () => sync(1),
      (status) => status.error?.includes('refused') === true,
    );
    expect(error).toContain('an origin restored from a backup must be promoted');
    expect(await root(1)).toBe(newer);
    expect((await nodes[1]!.evaluation.evaluate('newer', request)).decision).toBe('allow');
    await nodes[0]!.control.call('member-promote', { member: await idOf(0) });
    await untilSame(1, other);
    await untilSame(2, other);
    expect(await sync(1)).toMatchObject({ term: 2 });
  });

  test('a second instance that is configured as origin takes no writes and follows nobody until it is promoted', async () => {
    await nodes[2]!.stop();
    directories[2] = undefined as never;
    const second = await start(2, { IPE_CONTROL_PLANE__ROLE: 'origin' });
    const before = await root(2);
    const status = await until(
      () => sync(2),
      ({ problem }) => problem?.includes('is configured as origin') === true,
    );
    expect(status).toMatchObject({ role: 'unsettled', problem: expect.stringContaining(await idOf(0)) });
    await expect(put(2, 'mine')).rejects.toMatchObject({ reason: 'unavailable', state: 'unchanged' });
    expect(await root(2)).toBe(before);
    const ready = () => ask(join(second.directory, 'run', 'control.sock'), { path: '/readyz' });
    expect(await ready()).toMatchObject({ status: 503, text: expect.stringContaining('policy_sync.problem') });
    await nodes[0]!.control.call('member-promote', { member: await idOf(2) });
    await until(
      () => sync(2),
      ({ role }) => role === 'origin',
    );
    const { root: written } = await put(2, 'mine');
    await untilSame(0, written);
    expect(await sync(0)).toMatchObject({ role: 'follower' });
  });
});
