import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { codec, primitives } from '../../test/node-runtime.ts';
import type { KvOperation } from '../store/index.ts';
import { treeFixture } from '../testkit/tree-fixture.ts';
import type { PolicyFamily, PolicyStore } from './index.ts';

const { apply, author, files, newKv, open } = treeFixture({ primitives, codec });

const day = 24 * 3600 * 1000;
const now = 1_800_000_000_000;

/** Two runs a grace apart. */
async function collectTwice(store: PolicyStore, retentionMs: number, nowMs = now) {
  await store.collect({ nowMs, retentionMs, graceMs: day });
  return store.collect({ nowMs: nowMs + day, retentionMs: retentionMs + day, graceMs: day });
}

const clean = { problemCount: 0, unreachableObjects: 0 };

describe('a collection', () => {
  test('keeps history within retention and gives up what is older, for good and everywhere alike', async () => {
    const kv = newKv();
    const store = await open(kv);
    const versions: string[] = [];
    for (let i = 0; i < 6; i++) {
      const at = now - (6 - i) * day;
      const { changed } = await apply(
        store,
        [
          { path: 'a.b', files: files(`v${i}`) },
          { path: `only.n${i}`, files: files('n') },
        ],
        { timeMs: at },
      );
      versions.unshift(changed[0]!.version);
      if (i === 1) await apply(store, [{ path: 'only.n0', delete: true }], { timeMs: at + 1000 });
    }
    const before = await store.current().getSubtree('');
    const commits = (await store.log()).items;
    const report = await collectTwice(store, 2.5 * day);
    expect(report).toMatchObject({ retainedCommits: 3, boundaryCommits: 1, unreachable: report.deleted });
    expect(report.deleted).toBeGreaterThan(5);
    for (const each of [store, await open(kv)]) {
      expect(each.status().indexRebuilt).toBe(null);
      expect(await each.current().getSubtree('')).toEqual(before);
      expect((await each.log()).items).toEqual(commits.slice(0, 3));
      expect((await each.history('a.b')).items.map((item) => item.version)).toEqual(versions.slice(0, 3));
      expect((await each.history('only.n0')).items.map((item) => item.hash)).toEqual([null]);
      expect((await each.history('only.n1')).items).toHaveLength(1);
      const oldest = await each.at(commits[2]!.commit);
      expect((await oldest.listPolicies()).items.map((item) => item.path)).toEqual([
        'a.b',
        'only.n1',
        'only.n2',
        'only.n3',
      ]);
      await expect(each.at(commits[4]!.commit)).rejects.toMatchObject({ reason: 'not_found' });
      expect(await each.verify()).toMatchObject(clean);
    }
    // Written again, the removed policy continues its chain.
    await apply(store, [{ path: 'only.n0', files: files('back') }], { timeMs: now });
    expect((await store.history('only.n0')).items.map((item) => item.hash === null)).toEqual([false, true]);
  });

  test('rebuilds the same index after retention cut the history', async () => {
    const kv = newKv();
    const store = await open(kv);
    for (let i = 0; i < 5; i++) {
      await apply(store, [{ path: `a.p${i}`, files: files(`v${i}`) }], { timeMs: now - (5 - i) * day });
    }
    await collectTwice(store, 1.5 * day);
    const rows = async () => {
      const all: string[] = [];
      for await (const [key, value] of kv.entries('path_index')) all.push(Buffer.concat([key, value]).toString('hex'));
      return all;
    };
    const before = await rows();
    const doomed: KvOperation<PolicyFamily>[] = [];
    for await (const [key] of kv.entries('path_index')) doomed.push({ type: 'delete', family: 'path_index', key });
    await kv.write(doomed);
    expect((await open(kv)).status().indexRebuilt).not.toBe(null);
    expect(await rows()).toEqual(before);
  });

  test('does not condemn a root commit that is made while it marks', async () => {
    let meanwhile: (() => Promise<unknown>) | undefined;
    const store = await open(newKv(), {
      breathe: async () => {
        const work = meanwhile;
        meanwhile = undefined;
        await work?.();
      },
    });
    await apply(store, [{ path: 'a', files: files('one') }]);
    meanwhile = () => apply(store, [{ path: 'b', files: files('two') }]);
    const { commit } = store.current();
    await store.collect({ nowMs: 2e12, retentionMs: 0, graceMs: 0 });
    const made = store.current().commit!;
    expect(made).not.toBe(commit);
    store.lease(made, 'test').release();
    expect((await store.at(made)).root).toBe(store.current().root);
    (await store.copy()).release();
  });

  test('keeps what pins, leases and decisions name', async () => {
    const store = await open(newKv());
    const roots: { root: string; commit: string }[] = [];
    for (let i = 0; i < 5; i++)
      roots.push(await apply(store, [{ path: 'a', files: files(`v${i}`) }], { timeMs: now - 50 * day + i }));
    await store.pin('release-1', roots[0]!.commit);
    const lease = store.lease(roots[1]!.commit, 'backup');
    const keep = [roots[2]!.root];
    const options = { retentionMs: 0, graceMs: day, keep };
    await store.collect({ ...options, nowMs: now });
    await store.collect({ ...options, nowMs: now + 2 * day });
    for (const i of [0, 1, 2, 4])
      expect((await (await store.at(roots[i]!.commit)).readPolicy('a'))!.files.source).toEqual(files(`v${i}`).source);
    await expect(store.at(roots[3]!.commit)).rejects.toMatchObject({ reason: 'not_found' });
    lease.release();
    await store.unpin('release-1');
    await store.collect({ ...options, keep: [], nowMs: now + 3 * day });
    await store.collect({ ...options, keep: [], nowMs: now + 5 * day });
    for (const i of [0, 1, 2]) await expect(store.at(roots[i]!.commit)).rejects.toMatchObject({ reason: 'not_found' });
    expect(await store.verify()).toMatchObject(clean);
  });

  test('in a dry run says what it would delete and changes nothing', async () => {
    const kv = newKv();
    const store = await open(kv);
    for (let i = 0; i < 4; i++)
      await apply(store, [{ path: 'a', files: files(`v${i}`) }], { timeMs: now - 9 * day + i });
    await store.collect({ nowMs: now, retentionMs: 0, graceMs: day });
    const image = async () => {
      const all: string[] = [];
      for (const family of kv.families)
        for await (const [key] of kv.entries(family)) all.push(Buffer.from(key).toString('hex'));
      return all;
    };
    const before = await image();
    const dry = await store.collect({ nowMs: now + day, retentionMs: 0, graceMs: day, dryRun: true });
    expect(await image()).toEqual(before);
    const wet = await store.collect({ nowMs: now + day, retentionMs: 0, graceMs: day });
    expect(wet).toEqual({ ...dry, dryRun: false });
    expect(wet.deleted).toBeGreaterThan(0);
  });

  test('deletes nothing where something reachable is missing', async () => {
    const kv = newKv();
    const store = await open(kv);
    await apply(store, [{ path: 'a.b', files: files('one') }]);
    await apply(store, [{ path: 'a.b', files: files('two') }]);
    const { hash } = (await store.current().lookup('a'))!;
    await kv.write([{ type: 'delete', family: 'objects', key: Buffer.from(hash, 'hex') }]);
    await expect(store.collect({ nowMs: now, retentionMs: 0 })).rejects.toMatchObject({ reason: 'corrupt' });
    expect((await (await open(kv)).log()).items).toHaveLength(2);
  });

  test('beside updates in any interleaving loses nothing that a ref reaches', async () => {
    // Few contents, so that updates keep coming back to objects that a collection has condemned.
    const kinds = fc.constantFrom('one', 'two', 'start', 'restore', 'pin', 'unpin', 'delete', 'take');
    const elsewhere = await recordOf(await open(newKv()));
    await fc.assert(
      fc.asyncProperty(fc.array(kinds, { minLength: 4, maxLength: 10 }), fc.scheduler(), async (steps, scheduler) => {
        const real = newKv();
        // Every read and write waits its turn, which the scheduler picks: so they interleave in any order.
        const kv: typeof real = Object.assign(Object.create(real) as typeof real, {
          families: real.families,
          get: scheduler.scheduleFunction(real.get.bind(real)),
          getMany: scheduler.scheduleFunction(real.getMany.bind(real)),
          write: scheduler.scheduleFunction(real.write.bind(real)),
          sync: real.sync.bind(real),
          compact: real.compact.bind(real),
          entries: real.entries.bind(real),
        });
        const store = await open(real);
        await apply(store, [{ path: 'a', files: files('start') }], { timeMs: now });
        const first = await apply(store, [{ path: 'b.c', files: files('kept') }], { timeMs: now });
        await apply(store, [{ path: 'a', files: files('one') }], { timeMs: now });
        let time = now + 5000;
        await store.collect({ nowMs: time, retentionMs: 0, graceMs: 0 });
        const raced = await scheduler.waitFor(open(kv));

        const run = (kind: string): Promise<unknown> => {
          time += 1000;
          const meta = { author, timeMs: time };
          if (kind === 'restore') return raced.restore({ revision: first.commit, ...meta });
          if (kind === 'pin') return raced.pin('pinned', first.commit);
          if (kind === 'unpin') return raced.unpin('pinned');
          if (kind === 'take') return takeIn(raced, elsewhere, meta);
          if (kind === 'delete') return apply(raced, [{ path: 'b.c', delete: true }], meta);
          return apply(raced, [{ path: kind === 'two' ? 'b.c' : 'a', files: files(kind) }], meta);
        };
        const writer = async () => {
          for (const kind of steps) {
            // What is asked may be gone by now, and say so; it may not break anything.
            await run(kind).catch((error) => {
              if (error.details?.problem !== 'missing') expect(['not_found', 'conflict']).toContain(error.reason);
            });
          }
        };
        const collector = async () => {
          for (let i = 0; i < 3; i++) await raced.collect({ nowMs: (time += 1000), retentionMs: 0, graceMs: 0 });
        };
        await scheduler.waitFor(Promise.all([writer(), collector()]));
        const report = await (await open(real)).verify();
        expect(report.problems).toEqual([]);
        expect(report.problemCount).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test('deletes nothing after one that was cut short, and goes on after that', async () => {
    const kv = newKv();
    const store = await open(kv);
    for (let i = 0; i < 4; i++)
      await apply(store, [{ path: 'a', files: files(`v${i}`) }], { timeMs: now - 9 * day + i });
    const options = { retentionMs: 0, graceMs: 0 };
    const write = kv.write.bind(kv);
    const isMark = (each: KvOperation<PolicyFamily>) => Buffer.from(each.key).toString().startsWith('condemned/');
    // Half of the marks are written, as when the process dies.
    kv.write = async (operations) => {
      if (!operations.some(isMark)) return write(operations);
      await write(operations.slice(0, operations.length / 2));
      throw new Error('the process dies');
    };
    await expect(store.collect({ ...options, nowMs: now })).rejects.toThrow(/dies/);
    kv.write = write;
    const again = await open(kv);
    const second = await again.collect({ ...options, nowMs: now + day });
    expect(second.deleted).toBe(0);
    expect(second.waiting).toBeGreaterThan(0);
    expect((await again.collect({ ...options, nowMs: now + 2 * day })).deleted).toBeGreaterThan(0);
    expect(await again.verify()).toMatchObject(clean);
  });
});

interface Sent {
  readonly head: string;
  readonly objects: readonly {
    readonly id: string;
    readonly type: 'blob' | 'tree' | 'commit';
    readonly body: Uint8Array;
  }[];
}

/** What another instance would send: contents that the racing updates write too, in commits of its own. */
async function recordOf(store: PolicyStore): Promise<Sent> {
  await apply(store, [{ path: 'a', files: files('one') }], { timeMs: now });
  await apply(store, [{ path: 'b.c', files: files('two') }], { timeMs: now });
  const copy = await store.copy();
  const objects: Sent['objects'][number][] = [];
  for await (const object of copy.objects()) objects.push(object);
  return { head: copy.commit!, objects };
}

/** As a follower does: only what is not here is sent, then the head is looked at and `main` moves to its content. */
async function takeIn(
  store: PolicyStore,
  { head, objects }: Sent,
  meta: { readonly author: typeof author; readonly timeMs: number },
): Promise<void> {
  const absent = new Set(await store.missing(objects.map(({ id }) => id)));
  const sent = objects.filter(({ id }) => absent.has(id));
  const none: typeof objects = [];
  const each = async function* (list: typeof objects) {
    yield* list;
  };
  (await store.ingest({ objects: each(sent), heads: [] })).release();
  const { release } = await store.ingest({ objects: each(none), heads: [head] });
  try {
    await store.promote({ from: head, force: true, ...meta });
  } finally {
    release();
  }
}
