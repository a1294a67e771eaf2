import { once } from 'node:events';
import type { MessagePlane, PlaneDelivery, PlaneInterest, PlaneMessage, PlaneSubscription } from '@ipe/core/plane';
import { dataFamilies, decodeRecord, type Interest } from '@ipe/core/replica';
import { openMemoryKv } from '@ipe/core/store';
import { afterEach, describe, expect, test } from 'vitest';
import { KeyRing } from '../cluster/key-ring.ts';
import { signMember } from '../cluster/members.ts';
import { type Engine, openEngine } from '../data/engine.ts';
import { createDataService } from '../data/service.ts';
import { settingsFrom } from '../data/settings.ts';
import { MemoryExchange, openMemoryPlane } from '../planes/memory/plane.ts';
import { testService } from '../testkit/data-node.ts';
import { type Mesh, startMesh } from '../testkit/mesh.ts';
import { openBatch, packBatch } from './envelope.ts';
import { memoryOf, type ReplicationMemory } from './memory-keeper.ts';
import { idOf } from './quarantine.ts';
import { Replication } from './replication.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Member {
  readonly engine: Engine;
  readonly ring: KeyRing;
  readonly replication: Replication;
}

const settings = settingsFrom({
  conflict_strategy: 'lww',
  history_versions: 2,
  history_age: 86_400_000,
  namespaces: {
    approvals: { conflict_strategy: 'version-vector', resolver: 'revoke-wins' },
    requests: { conflict_strategy: 'counter' },
  },
});

let seed = 1;
/** A small linear congruential generator: epochs need to differ, nothing more. */
const rng = () => {
  seed = (seed * 48_271) % 2_147_483_647;
  return seed / 2_147_483_647;
};

function openMemoryEngine(origin: string, options: { logBytesMax?: number; now?: () => number } = {}): Promise<Engine> {
  return openEngine({
    kv: openMemoryKv({ families: dataFamilies }),
    origin,
    durability: 'fsync',
    settingsOf: settings,
    batchWritesMax: 1_000,
    flushIntervalMs: 10,
    tombstoneGraceMs: 0,
    logBytesMax: options.logBytesMax ?? 1024 ** 3,
    cacheBytesMax: 1024 ** 2,
    now: options.now ?? Date.now,
    rng,
    housekeepingIntervalMs: 0,
  });
}

async function startMember(
  mesh: Mesh,
  index: number,
  options: {
    /** What happens at the instance before it hears of others. */
    alone?: (engine: Engine) => Promise<unknown>;
    exchange?: MemoryExchange;
    openPlane?: () => MessagePlane;
    memory?: ReplicationMemory;
    onSave?: (memory: ReplicationMemory) => void;
    onError?: (message: string) => void;
    logBytesMax?: number;
    intervalMs?: number;
    now?: () => number;
    isStrict?: boolean;
    interest?: Interest;
  } = {},
): Promise<Member> {
  const engine = await openMemoryEngine(mesh.identities[index]!.origin, options);
  await options.alone?.(engine);
  const ring = await KeyRing.open(mesh.keysFolder, mesh.keys);
  const replication = await Replication.start({
    engine,
    identity: mesh.identities[index]!,
    directory: mesh.directories[index]!,
    peers: mesh.peers[index]!,
    interest: options.interest ?? 'all',
    ring,
    isStrict: options.isStrict ?? false,
    memory: {
      load: async () => options.memory ?? { settledInterest: 'all' },
      save: async (memory) => options.onSave?.(memory),
    },
    now: options.now ?? Date.now,
    intervalMs: options.intervalMs ?? 50,
    log: { error: (_, message) => options.onError?.(message), warn: () => {}, info: () => {} },
    ...(options.exchange && { plane: openMemoryPlane(options.exchange) }),
    ...(options.openPlane && { plane: options.openPlane() }),
  });
  engine.attach(replication);
  cleanups.push(async () => {
    await replication.close();
    await ring.close();
    await engine.close();
  });
  return { engine, ring, replication };
}

/** A method of the data plane as a client calls it. */
function call({ engine }: Member, method: string, params: unknown): Promise<unknown> {
  const service = createDataService({ engine });
  const context = { caller: testService, signal: new AbortController().signal };
  return Promise.resolve(service.handlers[method]!(params, context)).finally(() => service.close());
}

/** Takes a third of what it is given and drops it, and delivers the rest late, in any order, some of it twice. */
class UnreliablePlane implements MessagePlane {
  readonly kind = 'unreliable';
  readonly durable = false;
  readonly bodyBytesMax: number;
  readonly #plane: MessagePlane;
  readonly #random: () => number;

  constructor(plane: MessagePlane, random: () => number) {
    this.#plane = plane;
    this.#random = random;
    this.bodyBytesMax = plane.bodyBytesMax;
  }

  start = () => this.#plane.start();
  status = () => this.#plane.status();
  close = () => this.#plane.close();

  async publish(message: PlaneMessage): Promise<void> {
    if (this.#random() < 0.33) return;
    await this.#plane.publish(message);
  }

  subscribe(interest: PlaneInterest, deliver: (delivery: PlaneDelivery) => Promise<void>): PlaneSubscription {
    const held: PlaneDelivery[] = [];
    return this.#plane.subscribe(interest, async (delivery) => {
      held.push(delivery);
      if (this.#random() < 0.2) held.push(delivery);
      while (held.length > 4) await deliver(held.splice(Math.floor(this.#random() * held.length), 1)[0]!);
    });
  }
}

async function cluster(
  count: number,
  options: { exchange?: MemoryExchange; openPlane?: () => MessagePlane } = {},
): Promise<[Mesh, Member[]]> {
  const mesh = await startMesh(count);
  cleanups.push(() => mesh.close());
  return [mesh, await Promise.all(mesh.peers.map((_, i) => startMember(mesh, i, options)))];
}

/** Resolves when an instance's readers see what is asked for: at its next commits, or at once. */
async function until(member: Pick<Member, 'engine'>, isSo: () => Promise<boolean>): Promise<void> {
  for (;;) {
    const changed = new Promise<void>((resolve) => {
      const stop = member.engine.onApplied(() => {
        stop();
        resolve();
      });
    });
    if (await isSo()) return;
    await changed;
  }
}

/** Resolves when an instance holds back so many records. */
async function untilHeld({ engine }: Member, count: number): Promise<void> {
  while (engine.replica.heldBackCount !== count) {
    await new Promise<void>((resolve) => {
      const stops = [engine.onApplied(() => end()), engine.onNotice(() => end())];
      const end = () => {
        for (const stop of stops) stop();
        resolve();
      };
    });
  }
}

async function valueAt({ engine }: Pick<Member, 'engine'>, key: string): Promise<unknown> {
  const cell = await engine.get(key);
  return cell.seenAt(engine.readMs()) === undefined ? undefined : cell.value;
}

const untilValue = (member: Pick<Member, 'engine'>, key: string, value: unknown) =>
  until(member, async () => JSON.stringify(await valueAt(member, key)) === JSON.stringify(value));

describe('replication', () => {
  test('what is written at one instance is read at all others, through the message plane', async () => {
    const [, members] = await cluster(3, { exchange: new MemoryExchange() });
    await members[0]!.engine.put('users.alice', { role: 'admin' });
    for (const member of members) await untilValue(member, 'users.alice', { role: 'admin' });
    await members[2]!.engine.delete('users.alice');
    for (const member of members) await untilValue(member, 'users.alice', undefined);
  });

  test('a plane that loses, repeats, reorders and lies about what it took makes things slower and nothing else', async () => {
    const exchange = new MemoryExchange();
    const [, members] = await cluster(3, { openPlane: () => new UnreliablePlane(openMemoryPlane(exchange), rng) });
    for (let i = 0; i < 200; i++) {
      const { engine } = members[i % 3]!;
      if (i % 5 === 4) await engine.delete(`users.u${(i * 7) % 40}`);
      else await engine.put(`users.u${(i * 7) % 40}`, i);
    }
    for (const [i, { engine }] of members.entries()) await engine.put(`users.last${i}`, 'last');
    for (const member of members) for (const i of members.keys()) await untilValue(member, `users.last${i}`, 'last');
    for (let i = 0; i < 40; i++) {
      const values = await Promise.all(members.map((member) => valueAt(member, `users.u${i}`)));
      expect(values, `users.u${i}`).toEqual([values[0], values[0], values[0]]);
    }
  });

  test('without a message plane anti-entropy brings everything', async () => {
    const [, members] = await cluster(3);
    for (let i = 0; i < 20; i++) await members[i % 3]!.engine.put(`users.u${i}`, i);
    for (const member of members) for (let i = 0; i < 20; i++) await untilValue(member, `users.u${i}`, i);
    expect(members[0]!.replication.status().pulledRecords).toBeGreaterThan(0);
  });

  test('a write that waits for peers is acknowledged when so many hold it, and says so when they do not', async () => {
    const [mesh, members] = await cluster(3, { exchange: new MemoryExchange() });
    const { engine, replication } = members[0]!;
    const write = { op: 'put', namespace: 'users', key: 'users.a', json: '1' } as const;
    const outcome = await engine.submit({ writes: [write], atomic: false, sizeBytes: 64 });
    const result = outcome.ok ? outcome.results[0]! : undefined;
    if (!result?.ok) throw new Error('refused');
    await replication.peersHold(2, result.token, new AbortController().signal);
    expect(await valueAt(members[1]!, 'users.a')).toBe(1);
    expect(await valueAt(members[2]!, 'users.a')).toBe(1);
    await Promise.all(mesh.peers.slice(1).map((peers) => peers.close()));
    const later = await engine.submit({ writes: [write], atomic: false, sizeBytes: 64 });
    const lost = later.ok ? later.results[0]! : undefined;
    if (!lost?.ok) throw new Error('refused');
    const given = AbortSignal.timeout(50);
    await expect(replication.peersHold(2, lost.token, given)).rejects.toMatchObject({
      reason: 'unavailable',
      state: 'applied',
    });
  });

  test('a member that joins later loads all facts, and is not whole before it has them', async () => {
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const first = await startMember(mesh, 0);
    for (let i = 0; i < 30; i++) await first.engine.put(`users.u${i}`, i);
    const second = await startMember(mesh, 1, { memory: {} });
    expect(second.replication.notHeld('users')).toMatch(/still being loaded/);
    await untilValue(second, 'users.u29', 29);
    for (let i = 0; i < 30; i++) expect(await valueAt(second, `users.u${i}`)).toBe(i);
  });

  const someWrites = [
    ['put', { key: 'users.a', value: 1 }],
    ['batch-put', { entries: [{ key: 'users.a', value: 1 }] }],
    ['delete', { key: 'users.a' }],
    ['transaction', { operations: [{ op: 'put', key: 'users.a', value: 1 }] }],
    ['add', { key: 'users.a', amount: 1 }],
    ['set-add', { key: 'users.a', members: ['m'] }],
    ['set-remove', { key: 'users.a', members: ['m'] }],
  ] as const;

  test('what a member holds whole it does again after a restart, though it was still loading the rest', async () => {
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const loading = await startMember(mesh, 0, {
      alone: (engine) => Promise.all([engine.put('users.a', 1), engine.put('groups.a', 1)]),
      memory: { whole: ['users'] },
    });
    expect(loading.replication.notHeld('users')).toBeUndefined();
    expect(loading.replication.notHeld('groups')).toMatch(/still being loaded/);
    // Nobody else has it whole: a member that joins loads it from there, or never.
    const saved: ReplicationMemory[] = [];
    const joining = await startMember(mesh, 1, { memory: {}, onSave: (memory) => saved.push(memory) });
    await expect.poll(() => joining.replication.notHeld('users')).toBeUndefined();
    expect(joining.replication.notHeld('groups')).toMatch(/still being loaded/);
    await expect.poll(() => saved.at(-1)).toMatchObject({ whole: ['users'] });
  });

  test('a member that joins refuses writes to what it is still loading, and takes them once it is whole', async () => {
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const second = await startMember(mesh, 1, { memory: {} });
    for (const [method, params] of someWrites)
      await expect(call(second, method, params), method).rejects.toMatchObject({
        reason: 'unavailable',
        state: 'unchanged',
        message: expect.stringMatching(/`users` is still being loaded.*; try again once it is, or write to another/),
        details: { namespace: 'users' },
      });
    await second.engine.put('_sys.own', 1);
    expect(second.engine.namespaces().map(({ name }) => name)).toEqual(['_sys']);
    await startMember(mesh, 0);
    await expect.poll(() => second.replication.notHeld('users')).toBeUndefined();
    await call(second, 'put', { key: 'users.a', value: 2 });
    expect(await valueAt(second, 'users.a')).toBe(2);
  });

  test('a member refuses writes to a namespace that it does not hold, each entry of a batch by itself', async () => {
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const filtered = await startMember(mesh, 0, {
      interest: ['groups'],
      memory: { settledInterest: 'all' },
    });
    for (const [method, params] of someWrites)
      await expect(call(filtered, method, params), method).rejects.toMatchObject({
        reason: 'unavailable',
        state: 'unchanged',
        message: expect.stringMatching(/does not hold namespace `users`.*; write to an instance that does/),
      });
    const entries = ['groups.a', 'users.b', 'groups.c'].map((key) => ({ key, value: 1 }));
    expect(await call(filtered, 'batch-put', { entries })).toMatchObject({
      results: [
        { key: 'groups.a', version: 1 },
        { key: 'users.b', error: { data: { reason: 'unavailable', state: 'unchanged', namespace: 'users' } } },
        { key: 'groups.c', version: 1 },
      ],
    });
    expect(filtered.engine.namespaces().map(({ name }) => name)).toEqual(['groups']);
  });

  test('a member for which the log is too short is given the states instead, and loses nothing of its own', async () => {
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const first = await startMember(mesh, 0, { logBytesMax: 1 });
    for (let i = 0; i < 30; i++) await first.engine.put(`users.u${i}`, i);
    await first.engine.delete('users.u3');
    for (let i = 0; i < 5; i++) await first.engine.housekeep();
    // Held whole once, and far behind: a member that is still loading would take no writes.
    const second = await startMember(mesh, 1);
    await second.engine.put('users.mine', 'kept');
    await untilValue(second, 'users.u29', 29);
    expect(second.replication.status().joinedStates).toBeGreaterThan(0);
    expect(await valueAt(second, 'users.u3')).toBeUndefined();
    expect(await valueAt(second, 'users.mine')).toBe('kept');
    await untilValue(first, 'users.mine', 'kept');
  });

  test('a member that met an old write again while it joined forgets it with those that have deleted it', async () => {
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const stranger = await openMemoryEngine('00000000000000ee');
    cleanups.push(() => stranger.close());
    for (const name of ['a', 'gone', 'z']) await stranger.put(`users.${name}`, 'old');
    const takeOld = async (engine: Engine) => {
      for await (const [, row] of stranger.kv.entries('log'))
        engine.takeRecords('stranger', [decodeRecord(row, engine.replica.sources)]);
      await untilValue({ engine }, 'users.z', 'old');
    };
    const first = await startMember(mesh, 0, {
      logBytesMax: 1,
      alone: async (engine) => {
        await takeOld(engine);
        for (const name of ['gone', 'z']) await engine.delete(`users.${name}`);
        await engine.put('users.last', 'here');
        for (let i = 0; i < 5; i++) await engine.housekeep();
      },
    });
    expect(first.engine.replica.purgedMsOf('users')).toBeGreaterThan(0);
    const second = await startMember(mesh, 1, { memory: {}, alone: takeOld });
    await untilValue(second, 'users.last', 'here');
    await untilValue(second, 'users.gone', undefined);
    const names = ['a', 'gone', 'z', 'last'];
    const values = await Promise.all(names.map((name) => valueAt(second, `users.${name}`)));
    expect(values).toEqual(['old', undefined, undefined, 'here']);
    expect(second.replication.status().joinedStates).toBeGreaterThan(0);
  });

  test('a member whose directory went back to an old copy hears so, and forgets what all others have deleted', async () => {
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const first = await startMember(mesh, 0, { logBytesMax: 1 });
    const second = await startMember(mesh, 1);
    for (const name of ['gone', 'stays']) await first.engine.put(`users.${name}`, 'old');
    await untilValue(second, 'users.stays', 'old');
    const copy: Uint8Array[] = [];
    for await (const [, row] of second.engine.kv.entries('log')) copy.push(row);
    await first.engine.delete('users.gone');
    await untilValue(second, 'users.gone', undefined);
    while (first.engine.replica.purgedMsOf('users') === 0) {
      await first.engine.housekeep();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await first.engine.put('users.last', 'here');
    await first.engine.housekeep();
    await second.replication.close();
    const old = await startMember(mesh, 1, {
      alone: async (engine) => {
        engine.takeRecords(
          'the copy',
          copy.map((row) => decodeRecord(row, engine.replica.sources)),
        );
        await untilValue({ engine }, 'users.gone', 'old');
      },
    });
    await untilValue(old, 'users.gone', undefined);
    await untilValue(old, 'users.last', 'here');
    expect(await valueAt(old, 'users.stays')).toBe('old');
  });

  test('a member whose data was emptied beside what it remembers of it takes nothing for absent until it has loaded all', async () => {
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const saved: ReplicationMemory[] = [];
    const onSave = (memory: ReplicationMemory) => saved.push(memory);
    const before = await openMemoryEngine(mesh.identities[1]!.origin);
    cleanups.push(() => before.close());
    await before.put('users.a', 1);
    const memory = { settledInterest: 'all', logId: before.replica.logId! } as const;
    const emptied = await startMember(mesh, 1, { memory, onSave });
    expect(emptied.replication.notHeld('users')).toMatch(/still being loaded/);
    const first = await startMember(mesh, 0, { alone: (engine) => engine.put('users.a', 1) });
    await untilValue(emptied, 'users.a', 1);
    await expect.poll(() => emptied.replication.notHeld('users')).toBeUndefined();
    await emptied.engine.put('users.b', 2);
    await untilValue(first, 'users.b', 2);
    await emptied.replication.close();
    expect(saved.at(-1)).toMatchObject({ whole: ['users'], logId: emptied.engine.replica.logId });
    expect(memoryOf(emptied.engine.replica.logId, saved.at(-1)!)).toBe(saved.at(-1));
  });

  test('a namespace that nobody holds whole any more is taken as all hold it by one that went back, and that is said', async () => {
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const errors: string[] = [];
    const [old, joining] = await Promise.all([
      startMember(mesh, 0, {
        memory: { goneBack: ['users'] },
        alone: (engine) => engine.put('users.a', 1),
        onError: (message) => errors.push(message),
      }),
      startMember(mesh, 1, { memory: {}, alone: (engine) => engine.put('users.b', 2) }),
    ]);
    for (const { replication } of [old, joining]) await expect.poll(() => replication.notHeld('users')).toBeUndefined();
    for (const member of [old, joining])
      expect([await valueAt(member, 'users.a'), await valueAt(member, 'users.b')]).toEqual([1, 2]);
    expect(errors).toContainEqual(expect.stringMatching(/no member holds this namespace whole any more/));
  });

  test('a concurrent revocation wins over a grant at every instance', async () => {
    const [, members] = await cluster(2);
    await members[0]!.engine.put('approvals.d1', { by: 'alice' });
    await untilValue(members[1]!, 'approvals.d1', { by: 'alice' });
    await Promise.all([
      members[0]!.engine.put('approvals.d1', { by: 'bob' }),
      members[1]!.engine.delete('approvals.d1'),
    ]);
    await members[0]!.engine.put('approvals.end', 1);
    await members[1]!.engine.put('approvals.end2', 1);
    for (const member of members) {
      await untilValue(member, 'approvals.end', 1);
      await untilValue(member, 'approvals.end2', 1);
      expect(await valueAt(member, 'approvals.d1')).toBeUndefined();
    }
  });

  test('staleness counts from the last moment at which all peers were covered', async () => {
    const [, members] = await cluster(2);
    await members[0]!.engine.put('users.a', 1);
    await untilValue(members[1]!, 'users.a', 1);
    await until(members[1]!, async () => {
      await members[0]!.engine.put('users.tick', Math.random());
      return members[1]!.replication.stalenessMs('users') < 5_000;
    });
  });
});

describe('instances that do not hear each other', () => {
  /** Two members, each of which does that by itself before they hear of each other. */
  async function twoAlone(alone: (engine: Engine) => Promise<unknown>): Promise<Member[]> {
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const exchange = new MemoryExchange();
    return Promise.all([0, 1].map((index) => startMember(mesh, index, { exchange, alone })));
  }

  test('each let as many requests through as a limit allows, and count all of them afterwards', async () => {
    const limit = 5;
    const allowed: number[] = [];
    const members = await twoAlone(async (engine) => {
      const counted = async () => Number((await engine.get('requests.alice')).value ?? 0);
      const target = { namespace: 'requests', key: 'requests.alice' };
      let count = 0;
      for (; (await counted()) < limit; count++)
        await engine.submit({ writes: [{ op: 'add', ...target, amount: 1 }], atomic: false, sizeBytes: 64 });
      allowed.push(count);
    });
    expect(allowed).toEqual([limit, limit]);
    for (const member of members) await untilValue(member, 'requests.alice', 2 * limit);
  });

  test('each accept a write on the condition that nobody wrote before; all keep one of them', async () => {
    const accepted: number[] = [];
    const members = await twoAlone(async (engine) => {
      const value = accepted.length;
      accepted.push(value);
      await engine.put('users.root', value, { ifVersion: 0 });
    });
    const values = () => Promise.all(members.map((member) => valueAt(member, 'users.root')));
    const isSettled = async () => new Set(await values()).size === 1;
    // Whichever of the two hears of the other's write last.
    await Promise.race(members.map((member) => until(member, isSettled)));
    expect(accepted).toEqual([0, 1]);
    expect(accepted).toContain((await values())[0]);
  });
});

describe('records whose time lies far ahead', () => {
  const hourMs = 3_600_000;

  test('are held back by all others, and applied by all once an operator of one releases them', async () => {
    const mesh = await startMesh(3);
    cleanups.push(() => mesh.close());
    const ahead = await startMember(mesh, 0, { now: () => Date.now() + 2 * hourMs });
    const first = await startMember(mesh, 1);
    const second = await startMember(mesh, 2);
    await ahead.engine.put('users.early', 1);
    for (const member of [first, second]) await untilHeld(member, 1);
    expect(await valueAt(first, 'users.early')).toBeUndefined();
    const [record] = await first.replication.quarantine.list(10);
    await first.replication.quarantine.release(idOf(record!), 'alice');
    for (const member of [first, second]) await untilValue(member, 'users.early', 1);
    expect(second.engine.replica.heldBackCount).toBe(0);
  });

  test('that an operator rejects are undone everywhere, at their writer too', async () => {
    const mesh = await startMesh(3);
    cleanups.push(() => mesh.close());
    const clock = { aheadMs: 0 };
    const ahead = await startMember(mesh, 0, { now: () => Date.now() + clock.aheadMs });
    const first = await startMember(mesh, 1);
    const second = await startMember(mesh, 2);
    await first.engine.put('users.k', 'good');
    for (const member of [ahead, second]) await untilValue(member, 'users.k', 'good');
    clock.aheadMs = 2 * hourMs;
    await ahead.engine.put('users.k', 'bad');
    const seen: unknown[] = [];
    for (const { engine } of [first, second])
      engine.onApplied(({ cells }) => void seen.push(cells.get('users.k')?.after.value));
    for (const member of [first, second]) await untilHeld(member, 1);
    const [record] = await second.replication.quarantine.list(10);
    await second.replication.quarantine.reject(idOf(record!), 'alice');
    await untilValue(ahead, 'users.k', 'good');
    await untilHeld(first, 0);
    for (const member of [first, second]) expect(await valueAt(member, 'users.k')).toBe('good');
    expect(seen).not.toContain('bad');
  });

  test('are given to a member that loads the states, which holds them back too', async () => {
    const mesh = await startMesh(3);
    cleanups.push(() => mesh.close());
    const clock = { aheadMs: 0 };
    const ahead = await startMember(mesh, 0, { now: () => Date.now() + clock.aheadMs });
    const first = await startMember(mesh, 1, { logBytesMax: 1 });
    await first.engine.put('users.now', 1);
    clock.aheadMs = 2 * hourMs;
    await ahead.engine.put('users.early', 1);
    await untilHeld(first, 1);
    for (let i = 0; i < 5; i++) await first.engine.housekeep();
    await ahead.replication.close();
    await mesh.peers[0]!.close();
    const second = await startMember(mesh, 2, { memory: {} });
    await untilValue(second, 'users.now', 1);
    await untilHeld(second, 1);
    const [record] = await second.replication.quarantine.list(10);
    await second.replication.quarantine.release(idOf(record!), 'alice');
    await untilValue(second, 'users.early', 1);
    await untilValue(first, 'users.early', 1);
  });
});

describe('an instance whose clock is off', () => {
  test('refuses new writes under `strict`, and says how far it is off; otherwise it only tells', async () => {
    const mesh = await startMesh(3);
    cleanups.push(() => mesh.close());
    const clock = { aheadMs: 2_000 };
    const ahead = await startMember(mesh, 0, { now: () => Date.now() + clock.aheadMs, isStrict: true });
    const right = await startMember(mesh, 1, { isStrict: true });
    await startMember(mesh, 2);
    await expect.poll(() => Math.abs((ahead.replication.clockAheadMs() ?? 0) - 2_000)).toBeLessThan(400);
    await expect(ahead.engine.put('users.a', 1)).rejects.toMatchObject({ reason: 'unavailable', state: 'unchanged' });
    await ahead.engine.put('_sys.a', 1);
    // Measured against both peers: against the one that is ahead alone, it would be this one that is off.
    await expect.poll(() => Math.abs(right.replication.clockAheadMs() ?? Number.NaN)).toBeLessThan(400);
    await right.engine.put('users.a', 1);
    clock.aheadMs = 0;
    await expect.poll(() => ahead.replication.refusesWrites('users')).toBeUndefined();
    await ahead.engine.put('users.b', 1);
  });
});

describe('sealing', () => {
  test('an evicted member is given no new key and cannot open what is published afterwards', async () => {
    const exchange = new MemoryExchange();
    const [mesh, members] = await cluster(3, { exchange });
    const [first, second, third] = members as [Member, Member, Member];
    await first.engine.put('users.before', 1);
    await untilValue(third, 'users.before', 1);

    const down = once(mesh.peers[0]!, 'down');
    const record = mesh.directories[0]!.byOrigin(mesh.identities[2]!.origin)!;
    const evicted = signMember(mesh.keys.key!, { ...record, state: 'evicted', sequence: 2, lastAccepted: {} });
    for (const directory of mesh.directories.slice(0, 2)) directory.put(evicted);
    first.ring.rotate(mesh.keys.key!, 1);
    await down;
    await first.engine.put('users.after', 'secret');
    await untilValue(second, 'users.after', 'secret');

    const { body } = exchange.read(exchange.end - 1)!.message;
    const signer = mesh.identities[0]!.signing.publicKey;
    expect(openBatch(body, signer, (number) => second.ring.keyOf(number))).toMatchObject({ namespace: 'users' });
    expect(openBatch(body, signer, (number) => third.ring.keyOf(number))).toEqual({ unknownKey: 2 });
    expect(third.ring.current.number).toBe(1);
    expect(await valueAt(third, 'users.after')).toBeUndefined();
    expect(third.replication.status().parked).toBe(1);
  });

  test('a batch under a key that is not known yet waits until the key arrives', async () => {
    const exchange = new MemoryExchange();
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const first = await startMember(mesh, 0, { exchange, intervalMs: 3_600_000 });
    first.ring.rotate(mesh.keys.key!, 1);
    await first.engine.put('users.early', 1);
    const second = await startMember(mesh, 1, { exchange, intervalMs: 3_600_000 });
    await untilValue(second, 'users.early', 1);
    expect(second.ring.current.number).toBe(2);
    expect(second.replication.status().rejected).toEqual({ malformed: 0, forged: 0, evicted: 0, unreadable: 0 });
  });

  test('rings keep what the cluster key signed, across restarts, and the newest 64 of it', async () => {
    const mesh = await startMesh(1);
    cleanups.push(() => mesh.close());
    const ring = await KeyRing.open(mesh.keysFolder, mesh.keys);
    const [forger] = [mesh.identities[0]!.signing];
    ring.rotate(forger, 1);
    expect(ring.current.number).toBe(1);
    const first = ring.current.key;
    for (let i = 0; i < 70; i++) ring.rotate(mesh.keys.key!, i);
    await ring.close();
    const read = await KeyRing.open(mesh.keysFolder, mesh.keys);
    expect(read.current).toEqual(ring.current);
    expect(read.after(0)).toHaveLength(64);
    expect(read.keyOf(71)).not.toEqual(first);
    expect(read.keyOf(7)).toBeUndefined();
  });
});

describe('batches', () => {
  test('come back as they were packed, sealed or not, and nothing of them can be changed unseen', async () => {
    const mesh = await startMesh(1);
    cleanups.push(() => mesh.close());
    const { signing, origin } = mesh.identities[0]!;
    const sealing = { number: 3, key: new Uint8Array(32).fill(9) };
    const batch = { namespace: 'approvals', origin, records: [Buffer.from('first'), Buffer.alloc(2_000, 7)] };
    for (const options of [{ signing }, { signing, sealing }]) {
      const packed = packBatch(batch, options);
      const keyOf = (number: number) => (number === 3 ? sealing.key : undefined);
      const opened = openBatch(packed, signing.publicKey, keyOf);
      if ('unknownKey' in opened) throw new Error('not opened');
      expect(opened.records.map((record) => Buffer.from(record))).toEqual(batch.records);
      for (let i = 0; i < packed.length; i += 7) {
        const altered = Uint8Array.from(packed);
        altered[i]! ^= 1;
        expect(() => openBatch(altered, signing.publicKey, keyOf)).toThrow();
      }
    }
    const sealed = packBatch(batch, { signing, sealing });
    expect(Buffer.from(sealed).includes('first')).toBe(false);
    expect(openBatch(sealed, signing.publicKey, () => undefined)).toEqual({ unknownKey: 3 });
  });
});
