import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { treeFixture } from '@ipe/core/testkit';
import type { PolicyStore, TreeChange } from '@ipe/core/tree';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  exportRepository,
  importRepository,
  nodePrimitives,
  restoreBackup,
  writeBackup,
  writeBundle,
  zlibCodec,
} from './index.ts';

const { apply, author, newKv, open, put } = treeFixture({ primitives: nodePrimitives, codec: zlibCodec });
const day = 24 * 3600 * 1000;
const meta = { author, timeMs: 1_760_000_000_000 };

let scratch = '';
let names = 0;
const fresh = (): string => join(scratch, `d${names++}`);
const git = (directory: string, ...args: string[]): string =>
  execFileSync('git', ['-C', directory, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'ipe-repository-'));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A generator of numbers that is the same in every run (mulberry32). */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** A store with a past: policies, names that sort badly among them, changed, removed and made again; staging, a pin. */
async function storeWithPast(policies: number, updates: number): Promise<PolicyStore> {
  const store = await open(newKv());
  const random = seeded(policies + updates);
  const top = ['config', 'config0', 'config-a', 'x'];
  const path = (i: number) => `${top[i % 4]}.n${i % 7}.p${i}`;
  const source = (i: number, n: number) =>
    `description: policy ${i}\nvalidations:\n  - expression: size(${n}) > ${i}\n`;
  const all = Array.from({ length: policies }, (_, i) =>
    put(path(i), source(i, 0), i % 3 === 0 ? 'tests: []\n' : undefined),
  );
  const start = meta.timeMs - updates * 60_000;
  await apply(store, all, { timeMs: start });
  const gone = new Set<string>();
  for (let n = 1; n <= updates; n++) {
    const changes = new Map<string, TreeChange>();
    for (let k = random(3); k >= 0; k--) {
      const at = path(random(policies));
      const remove = random(6) === 0 && !gone.has(at);
      changes.set(at, remove ? { path: at, delete: true } : put(at, source(n, random(50))));
    }
    for (const change of changes.values())
      if ('delete' in change) gone.add(change.path);
      else gone.delete(change.path);
    await apply(store, [...changes.values()], { timeMs: start + n * 60_000, message: `Update ${n}\n\nWhy: <because>` });
  }
  await apply(store, [put('only.staging', 'staged: true\n')], { ref: 'staging', timeMs: meta.timeMs });
  await store.pin('release-1', (await store.log({ limit: 5 })).items.at(-1)!.commit);
  return store;
}

const state = async (store: PolicyStore) => ({
  tree: await store.current().getSubtree(''),
  log: await store.log(),
  refs: store.refs(),
  history: await store.history('config.n0.p0'),
});

describe('an exported repository', () => {
  test("satisfies stock git: fsck, log, diff, clone, a policy's own history", async () => {
    const store = await storeWithPast(200, 60);
    const directory = fresh();
    const report = await exportRepository(store, directory);
    expect(git(directory, 'fsck', '--full', '--strict')).toBe('');
    expect(git(directory, 'rev-parse', 'main')).toBe(report.commit);
    expect(git(directory, 'rev-parse', 'main^{tree}')).toBe(store.current().root);
    expect(git(directory, 'log', '--format=%H', 'main').split('\n')).toEqual(
      (await store.log()).items.map((item) => item.commit),
    );
    const [latest, before] = (await store.log({ limit: 2 })).items;
    const paths = (await store.diff(before!.commit, latest!.commit)).map((entry) => entry.path.replaceAll('.', '/'));
    const files = git(directory, 'diff', '--name-only', before!.commit, latest!.commit).split('\n');
    expect([...new Set(files.map((file) => file.replace(/\.(policy\/.*|test\.yaml)$/, '')))].sort()).toEqual(
      paths.sort(),
    );
    const versions = (await store.history('config.n0.p0')).items.map((item) => item.version);
    expect(git(directory, 'log', '--format=%H', 'refs/ipe/policy/config/n0/p0.policy').split('\n')).toEqual(versions);
    const clone = fresh();
    git(scratch, 'clone', '-q', directory, clone);
    expect(readFileSync(join(clone, 'x/n3/p3.policy/source.yaml'), 'utf8')).toContain('description: policy');
  });

  test('comes back as the same store, history, refs and all, also after stock git repacked it', async () => {
    const store = await storeWithPast(60, 40);
    const directory = fresh();
    await exportRepository(store, directory);
    for (const repacked of [false, true]) {
      if (repacked) git(directory, 'repack', '-a', '-d', '-f', '-q', '--depth=20', '--window=50');
      const copy = await open(newKv());
      const report = await importRepository(copy, directory, meta);
      expect(report.outcome).toBe('fast-forward');
      expect(await state(copy)).toEqual(await state(store));
      expect(await copy.verify()).toMatchObject({ problemCount: 0 });
      const again = await importRepository(copy, directory, meta);
      expect(again).toMatchObject({ outcome: 'none', newObjects: 0 });
    }
  });

  test('satisfies stock git after collection and retention, and is imported with the history that is left', async () => {
    const store = await storeWithPast(80, 60);
    await store.collect({ nowMs: meta.timeMs, retentionMs: 20 * 60_000, graceMs: 0 });
    const { deleted } = await store.collect({ nowMs: meta.timeMs + 1, retentionMs: 20 * 60_000, graceMs: 0 });
    expect(deleted).toBeGreaterThan(50);
    const directory = fresh();
    await exportRepository(store, directory);
    expect(git(directory, 'fsck', '--full', '--strict')).toBe('');
    expect(git(directory, 'log', '--format=%H', 'main').split('\n')).toHaveLength((await store.log()).items.length);
    const copy = await open(newKv());
    await importRepository(copy, directory, meta);
    expect(await state(copy)).toEqual(await state(store));
    expect(await copy.verify()).toMatchObject({ problemCount: 0 });
  });

  test('goes only where nothing is', async () => {
    const store = await storeWithPast(3, 1);
    const directory = fresh();
    await exportRepository(store, directory);
    await expect(exportRepository(store, directory)).rejects.toMatchObject({ reason: 'invalid_params' });
    expect(readdirSync(scratch).filter((name) => name.includes('.tmp-'))).toEqual([]);
  });
});

describe('backups', () => {
  test('full and incremental, restored one after another, give the same store; git verifies them', async () => {
    const store = await storeWithPast(100, 20);
    const full = fresh();
    const first = await writeBackup(store, full, meta.timeMs);
    await apply(store, [put('x.n3.p3', 'changed: 1\n'), put('new.policy', 'new: 1\n')], { timeMs: meta.timeMs });
    await apply(store, [{ path: 'x.n3.p3', delete: true }], { timeMs: meta.timeMs + 1000 });
    const increment = fresh();
    const second = await writeBundle(store, increment, first.commit!);
    expect(second.objects).toBeLessThan(30);

    const directory = fresh();
    execFileSync('mkdir', [directory]);
    execFileSync('tar', ['-xf', full, '-C', directory]);
    expect(git(directory, 'fsck', '--full', '--strict')).toBe('');
    expect(git(directory, 'bundle', 'verify', increment)).toContain('The bundle');
    git(directory, 'fetch', '-q', increment, '+refs/*:refs/*');
    expect(git(directory, 'fsck', '--full', '--strict')).toBe('');

    const copy = await open(newKv());
    await expect(restoreBackup(copy, increment, meta)).rejects.toMatchObject({ reason: 'invalid_params' });
    expect((await restoreBackup(copy, full, meta)).outcome).toBe('fast-forward');
    expect((await restoreBackup(copy, increment, meta)).outcome).toBe('fast-forward');
    expect(await state(copy)).toEqual(await state(store));
    expect(await copy.verify()).toMatchObject({ problemCount: 0 });
    await store.unpin('staging');
    await expect(writeBundle(store, fresh(), 'main')).rejects.toMatchObject({ reason: 'invalid_params' });
  });

  test('a full bundle is cloned by stock git', async () => {
    const store = await storeWithPast(20, 5);
    const bundle = fresh();
    await writeBundle(store, bundle);
    const clone = fresh();
    git(scratch, 'clone', '-q', '--mirror', bundle, clone);
    expect(git(clone, 'rev-parse', 'main')).toBe(store.current().commit);
    expect(git(clone, 'fsck', '--full', '--strict')).toBe('');
  });

  test('restored into a store that went on make one new commit with the old content', async () => {
    const store = await storeWithPast(10, 3);
    const { root, commit } = store.current();
    const full = fresh();
    await writeBackup(store, full, meta.timeMs);
    await apply(store, [put('later.one', 'later: 1\n')], { timeMs: meta.timeMs + day });
    const log = (await store.log()).items.length;
    const report = await restoreBackup(store, full, { ...meta, timeMs: meta.timeMs + 2 * day });
    expect(report).toMatchObject({ outcome: 'restored', newObjects: 0, update: { root } });
    expect(report.update.commit).not.toBe(commit);
    expect((await store.log()).items).toHaveLength(log + 1);
  });

  test('that are damaged or cut short anywhere are refused and change nothing', async () => {
    const store = await storeWithPast(4, 2);
    const full = fresh();
    await writeBackup(store, full, meta.timeMs);
    const bundle = fresh();
    await writeBundle(store, bundle);
    for (const file of [full, bundle]) {
      const bytes = readFileSync(file);
      const random = seeded(bytes.length);
      for (let round = 0; round < 60; round++) {
        const damaged = fresh();
        writeFileSync(damaged, bytes);
        if (round % 3 === 0) truncateSync(damaged, random(bytes.length));
        else {
          const at = random(bytes.length);
          writeFileSync(damaged, bytes.with(at, bytes[at]! ^ (1 << random(8))));
        }
        const copy = await open(newKv());
        try {
          // Damage may lie where nothing is read from: then what comes out must be the very content.
          await restoreBackup(copy, damaged, meta);
          expect(copy.current().root).toBe(store.current().root);
          expect((await copy.log()).items).toEqual((await store.log()).items);
        } catch (error) {
          expect(error).toMatchObject({ name: 'IpeError' });
          expect(copy.current().commit).toBe(null);
        }
      }
    }
    const longer = fresh();
    writeFileSync(longer, readFileSync(bundle));
    appendFileSync(longer, 'more');
    await expect(restoreBackup(await open(newKv()), longer, meta)).rejects.toMatchObject({ reason: 'corrupt' });
  });
});
