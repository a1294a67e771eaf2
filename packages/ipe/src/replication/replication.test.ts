import type { MessagePlane, PlaneDelivery, PlaneInterest, PlaneMessage, PlaneSubscription } from '@ipe/core/plane';
import { dataFamilies } from '@ipe/core/replica';
import { openMemoryKv } from '@ipe/core/store';
import { afterEach, describe, expect, test } from 'vitest';
import { type Engine, openEngine } from '../data/engine.ts';
import { settingsFrom } from '../data/settings.ts';
import { MemoryExchange, openMemoryPlane } from '../planes/memory/plane.ts';
import { type Mesh, startMesh } from '../testkit/mesh.ts';
import { openBatch, packBatch, sealingKey } from './envelope.ts';
import { Replication, type ReplicationMemory } from './replication.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Member {
  readonly engine: Engine;
  readonly replication: Replication;
}

const settings = settingsFrom({
  conflict_strategy: 'lww',
  history_versions: 2,
  history_age: 86_400_000,
  namespaces: { approvals: { conflict_strategy: 'version-vector', resolver: 'revoke-wins' } },
});

let seed = 1;
/** A small linear congruential generator: epochs need to differ, nothing more. */
const rng = () => {
  seed = (seed * 48_271) % 2_147_483_647;
  return seed / 2_147_483_647;
};

async function startMember(
  mesh: Mesh,
  index: number,
  options: {
    exchange?: MemoryExchange;
    openPlane?: () => MessagePlane;
    memory?: ReplicationMemory;
    logBytesMax?: number;
  } = {},
): Promise<Member> {
  const engine = await openEngine({
    kv: openMemoryKv({ families: dataFamilies }),
    origin: mesh.identities[index]!.origin,
    durability: 'fsync',
    settingsOf: settings,
    batchWritesMax: 1_000,
    flushIntervalMs: 10,
    tombstoneGraceMs: 0,
    logBytesMax: options.logBytesMax ?? 1024 ** 3,
    cacheBytesMax: 1024 ** 2,
    now: Date.now,
    rng,
    housekeepingIntervalMs: 0,
  });
  const replication = await Replication.start({
    engine,
    identity: mesh.identities[index]!,
    directory: mesh.directories[index]!,
    peers: mesh.peers[index]!,
    interest: 'all',
    clusterSecret: mesh.keys.secret,
    memory: { load: async () => options.memory ?? { settledInterest: 'all' }, save: async () => {} },
    now: Date.now,
    intervalMs: 50,
    log: { warn: () => {}, info: () => {} },
    ...(options.exchange && { plane: openMemoryPlane(options.exchange) }),
    ...(options.openPlane && { plane: options.openPlane() }),
  });
  cleanups.push(async () => {
    await replication.close();
    await engine.close();
  });
  return { engine, replication };
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
async function until(member: Member, isSo: () => Promise<boolean>): Promise<void> {
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

async function valueAt({ engine }: Member, key: string): Promise<unknown> {
  const cell = await engine.get(key);
  return cell.seenAt(engine.readMs()) === undefined ? undefined : cell.value;
}

const untilValue = (member: Member, key: string, value: unknown) =>
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

  test('a member for which the log is too short is given the states instead, and loses nothing of its own', async () => {
    const mesh = await startMesh(2);
    cleanups.push(() => mesh.close());
    const first = await startMember(mesh, 0, { logBytesMax: 1 });
    for (let i = 0; i < 30; i++) await first.engine.put(`users.u${i}`, i);
    await first.engine.delete('users.u3');
    for (let i = 0; i < 5; i++) await first.engine.housekeep();
    const second = await startMember(mesh, 1, { memory: {} });
    await second.engine.put('users.mine', 'kept');
    await untilValue(second, 'users.u29', 29);
    expect(second.replication.status().joinedStates).toBeGreaterThan(0);
    expect(await valueAt(second, 'users.u3')).toBeUndefined();
    expect(await valueAt(second, 'users.mine')).toBe('kept');
    await untilValue(first, 'users.mine', 'kept');
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

describe('batches', () => {
  test('come back as they were packed, sealed or not, and nothing of them can be changed unseen', async () => {
    const mesh = await startMesh(1);
    cleanups.push(() => mesh.close());
    const { signing, origin } = mesh.identities[0]!;
    const sealing = sealingKey(mesh.keys.secret, 3);
    const batch = { namespace: 'approvals', origin, records: [Buffer.from('first'), Buffer.alloc(2_000, 7)] };
    for (const options of [{ signing }, { signing, sealing }]) {
      const packed = packBatch(batch, options);
      const keyOf = (number: number) => (number === 3 ? sealing.key : undefined);
      const opened = openBatch(packed, signing.publicKey, keyOf);
      expect(opened.records.map((record) => Buffer.from(record))).toEqual(batch.records);
      for (let i = 0; i < packed.length; i += 7) {
        const altered = Uint8Array.from(packed);
        altered[i]! ^= 1;
        expect(() => openBatch(altered, signing.publicKey, keyOf)).toThrow();
      }
    }
    const sealed = packBatch(batch, { signing, sealing });
    expect(Buffer.from(sealed).includes('first')).toBe(false);
    expect(() => openBatch(sealed, signing.publicKey, () => undefined)).toThrow(/does not have/);
  });
});
