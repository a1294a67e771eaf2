import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dataFamilies, liveKey, logKey } from '@ipe/core/replica';
import { createMemoryDisk, type Kv, openMemoryKv } from '@ipe/core/store';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Engine, openEngine } from '../data/engine.ts';
import { Scrubber } from '../data/scrub.ts';
import { settingsFrom } from '../data/settings.ts';
import { dataLayouts, Keyring, sealKv } from '../stores/sealed/index.ts';
import { type Mesh, startMesh } from '../testkit/mesh.ts';
import { patience } from '../testkit/patience.ts';
import { Replication } from './replication.ts';
import { decodeSlice, encodeLogRequest, logRequestName } from './transfer.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let seed = 1;
/** A small linear congruential generator: epochs need to differ, nothing more. */
const rng = () => {
  seed = (seed * 48_271) % 2_147_483_647;
  return seed / 2_147_483_647;
};
const settings = settingsFrom({
  conflict_strategy: 'lww',
  history_versions: 2,
  history_age: 86_400_000,
  namespaces: {},
});

type FactKv = Kv<(typeof dataFamilies)[number]>;

/** One member whose disk outlives its restarts. */
class Member {
  readonly disk = createMemoryDisk();
  readonly errors: string[] = [];
  engine!: Engine;
  scrubber!: Scrubber;
  replication: Replication | undefined;
  readonly #mesh: Mesh;
  readonly #index: number;
  readonly #wrap: (inner: FactKv) => FactKv;

  constructor(mesh: Mesh, index: number, wrap: (inner: FactKv) => FactKv) {
    this.#mesh = mesh;
    this.#index = index;
    this.#wrap = wrap;
  }

  async start(): Promise<void> {
    await this.open();
    await this.join();
  }

  async open(): Promise<void> {
    const kv = this.#wrap(openMemoryKv({ families: dataFamilies, disk: this.disk }));
    this.engine = await openEngine({
      kv,
      origin: this.#mesh.identities[this.#index]!.origin,
      durability: 'fsync',
      settingsOf: settings,
      batchWritesMax: 1_000,
      flushIntervalMs: 10,
      tombstoneGraceMs: 3_600_000,
      logBytesMax: 1024 ** 3,
      cacheBytesMax: 1024 ** 2,
      now: Date.now,
      rng,
      housekeepingIntervalMs: 0,
      isClustered: true,
    });
    const log = {
      error: (_: object, message: string) => void this.errors.push(message),
      warn: () => {},
      info: () => {},
    };
    this.scrubber = new Scrubber({ engine: this.engine, intervalMs: 0, rowsPerSecond: 1_000_000, log });
  }

  async join(): Promise<void> {
    this.replication = await Replication.start({
      engine: this.engine,
      identity: this.#mesh.identities[this.#index]!,
      directory: this.#mesh.directories[this.#index]!,
      peers: this.#mesh.peers[this.#index]!,
      interest: 'all',
      digestSecret: this.#mesh.keys.secret,
      scrubber: this.scrubber,
      comparison: { intervalMs: 200, retryMs: 100, confirmMs: 50 },
      memory: { load: async () => ({ settledInterest: 'all' }), save: async () => {} },
      now: Date.now,
      intervalMs: 50,
      log: { error: (_, message) => void this.errors.push(message), warn: () => {}, info: () => {} },
    });
    this.engine.attach(this.replication);
  }

  async stop(): Promise<void> {
    await this.replication?.close();
    this.replication = undefined;
    await this.scrubber.close();
    await this.engine.close();
  }

  /** Changes rows while the member is stopped, below whatever seals them. */
  async damage(change: (kv: FactKv) => Promise<void>): Promise<void> {
    const kv = openMemoryKv({ families: dataFamilies, disk: this.disk });
    await change(kv);
    await kv.sync();
    await kv.close();
  }

  /** Asks the only peer. */
  async ask(name: string, body: Uint8Array): Promise<Uint8Array> {
    const peers = this.#mesh.peers[this.#index]!;
    await until(() => peers.links().length > 0);
    return await peers.links()[0]!.request(name, body);
  }

  async value(key: string): Promise<unknown> {
    const cell = await this.engine.get(key);
    return cell.seenAt(this.engine.readMs()) === undefined ? undefined : cell.value;
  }
}

async function pair(wrap: (inner: FactKv) => FactKv = (inner) => inner): Promise<[Member, Member]> {
  const mesh = await startMesh(2);
  cleanups.push(() => mesh.close());
  const members = [new Member(mesh, 0, wrap), new Member(mesh, 1, wrap)] as [Member, Member];
  for (const member of members) {
    await member.start();
    cleanups.push(() => member.stop());
  }
  return members;
}

/** What is waited for takes several exchanges with a peer. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  await vi.waitUntil(isSo, patience);
}

const isThere = (member: Member, key: string) => async () => {
  try {
    return (await member.value(key)) !== undefined;
  } catch {
    return false;
  }
};

/** Two members that hold the same, the second of which starts again with a damaged record in its log. */
async function withDamagedRecord() {
  const [first, second] = await filled(10);
  const [source, head] = [...second.engine.replica.headsOf('users')][0]!;
  const key = logKey('users', source, head);
  const sound = (await first.engine.kv.get('log', key))!;
  await second.stop();
  await second.damage((kv) => kv.write([{ type: 'put', family: 'log', key, value: sound.slice(0, 20) }]));
  await second.start();
  return { first, second, source, head, key, sound };
}

async function filled(count: number, wrap?: (inner: FactKv) => FactKv): Promise<[Member, Member]> {
  const members = await pair(wrap);
  const writes = Array.from({ length: count }, (_, i) => ({
    op: 'put' as const,
    namespace: 'users',
    key: `users.u${i}`,
    json: JSON.stringify({ name: `user ${i}` }),
  }));
  await members[0].engine.submit({ writes, atomic: false, sizeBytes: 100 * count });
  await until(isThere(members[1], `users.u${count - 1}`));
  return members;
}

describe('repair of states', () => {
  test('a row damaged on disk while the member was stopped is refused, then mended from the peer', async () => {
    const [, second] = await filled(50);
    await second.stop();
    await second.damage(async (kv) => {
      const row = (await kv.get('live', liveKey('users.u7')))!;
      await kv.write([{ type: 'put', family: 'live', key: liveKey('users.u7'), value: row.subarray(0, 9) }]);
    });
    await second.open();
    await expect(second.value('users.u7')).rejects.toMatchObject({ reason: 'corrupt' });
    await second.join();
    await until(isThere(second, 'users.u7'));
    expect(await second.value('users.u7')).toEqual({ name: 'user 7' });
    await until(() => second.scrubber.report().damaged === 0);
    expect(second.scrubber.report().mended).toBe(1);
    // On disk too.
    await second.stop();
    await second.start();
    expect(await second.value('users.u7')).toEqual({ name: 'user 7' });
  });

  test('rows that vanished come back, without fetching much else, and it is said as an error', async () => {
    const [first, second] = await filled(3_000);
    await second.stop();
    const lost = [3, 700, 2_999].map((i) => `users.u${i}`);
    await second.damage((kv) =>
      kv.write(lost.map((key) => ({ type: 'delete' as const, family: 'live' as const, key: liveKey(key) }))),
    );
    await second.start();
    expect(await second.value('users.u3')).toBeUndefined();
    for (const key of lost) await until(isThere(second, key));
    await until(() => second.errors.includes('facts were lost here and came back from a peer'));
    // Counted once the fetch has ended, a moment after readers see what it brought.
    const repaired = () =>
      second.replication!.status().repair!.peers.find(({ namespace }) => namespace === 'users')?.repaired;
    await until(() => repaired() === 3);
    const { fetchedBytes } = second.replication!.status().repair!;
    expect(fetchedBytes).toBeLessThan(100_000);
    expect(first.errors).toEqual([]);
  });

  test('a fact with writes that no peer holds is not mended by an older state', async () => {
    const [first, second] = await filled(5);
    await first.stop();
    await second.engine.put('users.u1', { name: 'newer' });
    await second.stop();
    await second.damage((kv) =>
      kv.write([{ type: 'put', family: 'live', key: liveKey('users.u1'), value: Uint8Array.of(9) }]),
    );
    await first.open();
    await second.open();
    await expect(second.value('users.u1')).rejects.toMatchObject({ reason: 'corrupt' });
    // The first hears of the newer write by the log, and only then is its state good enough.
    await Promise.all([first.join(), second.join()]);
    await until(isThere(second, 'users.u1'));
    expect(await second.value('users.u1')).toEqual({ name: 'newer' });
  });

  test('a damaged record of the log is found by a scrub and fetched again', async () => {
    const { second, key, sound } = await withDamagedRecord();
    await second.scrubber.start();
    await until(async () => Buffer.compare((await second.engine.kv.get('log', key))!, sound) === 0);
    await until(() => second.scrubber.report().damaged_records === 0);
    expect(second.scrubber.report()).toMatchObject({ state: 'done', mended: 1 });
  });

  test('a damaged record of the log that a peer asks for is not handed out, and is fetched again without a scrub', async () => {
    const { first, second, source, head, sound } = await withDamagedRecord();
    const request = encodeLogRequest('users', source.id, head - 1, head);
    await expect(first.ask(logRequestName, request)).rejects.toMatchObject({ reason: 'corrupt' });
    await until(() => second.scrubber.report().mended === 1);
    expect(second.scrubber.report()).toMatchObject({ state: 'idle', damaged_records: 0 });
    expect(Buffer.compare(decodeSlice(await first.ask(logRequestName, request)).records[0]!, sound)).toBe(0);
  });

  test('a row damaged under a fact that is in memory is written again from there', async () => {
    const [, second] = await filled(5);
    expect(await second.value('users.u2')).toEqual({ name: 'user 2' });
    await second.engine.kv.write([{ type: 'put', family: 'live', key: liveKey('users.u2'), value: Uint8Array.of(1) }]);
    await second.scrubber.start();
    await until(() => second.scrubber.report().mended === 1);
    await second.stop();
    await second.start();
    expect(await second.value('users.u2')).toEqual({ name: 'user 2' });
  });

  test('a sealed row that does not open, and so has no name, comes back as well', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ipe-repair-'));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    const keyring = await Keyring.create(join(folder, 'KEYRING'), Buffer.alloc(32, 7));
    const [, second] = await filled(20, (inner) => sealKv({ inner, keyring, layouts: dataLayouts }));
    await second.stop();
    await second.damage(async (kv) => {
      for await (const [key, value] of kv.entries('live', { limit: 5 })) {
        value[value.length - 1]! ^= 1;
        await kv.write([{ type: 'put', family: 'live', key, value }]);
      }
    });
    await second.start();
    for (let i = 0; i < 20; i++) await until(isThere(second, `users.u${i}`));
  });

  test('members that hold the same compare roots and fetch nothing, whatever one of them purges', async () => {
    const [first, second] = await filled(20);
    await first.engine.submit({
      writes: [{ op: 'put', namespace: 'users', key: 'users.brief', json: '1', ttlMs: 1 }],
      atomic: false,
      sizeBytes: 100,
    });
    await first.engine.delete('users.u3');
    await until(async () => (await second.value('users.u3')) === undefined);
    await until(async () => {
      await first.engine.housekeep();
      return (await first.engine.kv.get('live', liveKey('users.brief'))) === undefined;
    });
    const sinceMs = Date.now();
    for (const member of [first, second])
      await until(() =>
        member
          .replication!.status()
          .repair!.peers.some(({ namespace, equalMs = 0 }) => namespace === 'users' && equalMs > sinceMs),
      );
    expect([...first.errors, ...second.errors]).toEqual([]);
    for (const member of [first, second])
      for (const { repaired, differing } of member.replication!.status().repair!.peers)
        expect([repaired, differing]).toEqual([0, 0]);
  });
});
