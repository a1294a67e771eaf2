// Checks a store of many policies against stock git: fill, update at random, collect, export, fsck, log, diff, clone,
// and every backup, full or incremental: checked by git, restored, the same root. Usage: node scripts/check-repository.mjs [policies = 10000] [updates = 1000]
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openMemoryKv } from '../packages/core/dist/store/index.js';
import { policyFamilies } from '../packages/core/dist/tree/index.js';
import {
  exportRepository,
  importRepository,
  openPolicyRepository,
  restoreBackup,
  writeBackup,
  writeBundle,
} from '../packages/ipe/dist/repository/index.js';

const [policies = 10_000, updates = 1000] = process.argv.slice(2).map(Number);
const scratch = mkdtempSync(join(tmpdir(), 'ipe-check-'));
const author = { name: 'Check', email: 'check@example.com' };
const git = (directory, ...args) =>
  execFileSync('git', ['-C', directory, ...args], { encoding: 'utf8', maxBuffer: 1 << 28 }).trim();
const bytes = (text) => new TextEncoder().encode(text);
let seed = 1;
const random = (below) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % below;
const path = (i) => `${['config', 'config0', 'config-a', 'team'][i % 4]}.n${i % 97}.p${i}`;
const put = (i, n) => ({
  path: path(i),
  files: { source: bytes(`description: ${i} ${n}\n`), program: bytes(`{"p":${i},"n":${n}}`), manifest: bytes('{}') },
});
const expect = (condition, what) => {
  if (!condition) throw new Error(`not so: ${what}`);
  console.log(`ok: ${what}`);
};

const newStore = () => openPolicyRepository(openMemoryKv({ families: policyFamilies }));
const meta = { author, timeMs: 1_750_000_000_000 };

/** A full backup is a bare repository for git, and restores to the same root. */
async function checkFull(name, store) {
  const file = join(scratch, `${name}.tar`);
  const { objects } = await writeBackup(store, file, meta.timeMs);
  const directory = join(scratch, `${name}-extracted`);
  mkdirSync(directory);
  execFileSync('tar', ['-xf', file, '-C', directory]);
  const said = git(directory, 'fsck', '--full', '--strict');
  expect(said === '', `${name}: git fsck of ${objects} objects is clean${said}`);
  const restored = await newStore();
  await restoreBackup(restored, file, meta);
  expect(restored.current().root === store.current().root, `${name}: restored to the same root`);
  expect((await restored.verify()).problemCount === 0, `${name}: verify of the restored finds nothing`);
  return { directory, restored };
}

try {
  const store = await newStore();
  const changes = Array.from({ length: policies }, (_, i) => put(i, 0));
  const startMs = meta.timeMs;
  const { commit: first } = await store.update({ changes, author, message: 'Fill', timeMs: startMs });
  const { restored: mirror } = await checkFull('full-backup', store);
  const incremental = [];
  let since = first;
  const gone = new Set();
  for (let n = 1; n <= updates; n++) {
    const i = random(policies);
    const remove = random(5) === 0 && !gone.has(i);
    if (remove) gone.add(i);
    else gone.delete(i);
    const change = remove ? { path: path(i), delete: true } : put(i, n);
    await store.update({ changes: [change], author, message: `Update ${n}`, timeMs: startMs + n * 60_000 });
    if (n % Math.ceil(updates / 4) !== 0 && n !== updates) continue;
    const file = join(scratch, `incremental-${n}.bundle`);
    await writeBundle(store, file, since);
    const { commit, root } = store.current();
    incremental.push({ file, root });
    since = commit;
  }
  const check = async (name) => {
    const directory = join(scratch, name);
    const { objects } = await exportRepository(store, directory);
    expect(
      git(directory, 'fsck', '--full', '--strict') === '',
      `${name}: git fsck --full --strict of ${objects} objects is clean`,
    );
    const log = [];
    for (let cursor; ; ) {
      const page = await store.log({ limit: 1000, ...(cursor && { cursor }) });
      log.push(...page.items.map((item) => item.commit));
      cursor = page.cursor;
      if (cursor === undefined) break;
    }
    expect(
      git(directory, 'log', '--format=%H', 'main') === log.join('\n'),
      `${name}: git log is ours, ${log.length} commits`,
    );
    expect(git(directory, 'rev-parse', 'main^{tree}') === store.current().root, `${name}: root is ours`);
    const older = log[Math.min(log.length - 1, 100)];
    const ours = (await store.diff(older, 'main')).length;
    const files = git(directory, 'diff', '--name-only', older, 'main').split('\n').filter(Boolean);
    const theirs = new Set(files.map((file) => file.replace(/\.(policy\/.*|test\.yaml)$/, ''))).size;
    expect(ours === theirs, `${name}: git diff names our ${ours} policies`);
    git(scratch, 'clone', '-q', directory, `${directory}-clone`);
    expect(git(`${directory}-clone`, 'rev-parse', 'HEAD') === log[0], `${name}: git clone is at our commit`);
    git(scratch, 'clone', '-q', '--bare', directory, `${directory}-bare`);
    return directory;
  };
  const full = await check('whole');
  for (const [i, { file, root }] of incremental.entries()) {
    const name = `incremental backup ${i + 1} of ${incremental.length}`;
    expect(git(full, 'bundle', 'verify', file).includes('requires'), `${name}: git bundle verify`);
    await restoreBackup(mirror, file, meta);
    expect(mirror.current().root === root, `${name}: restored to the same root`);
  }
  expect(mirror.current().commit === store.current().commit, 'the whole chain of backups ends at the same commit');
  const nowMs = startMs + updates * 60_000;
  const retention = { retentionMs: (updates / 4) * 60_000, graceMs: 0 };
  await store.collect({ nowMs, ...retention });
  const { deleted } = await store.collect({ nowMs: nowMs + 1, ...retention });
  expect(deleted > 0, `collection deleted ${deleted} objects`);
  const collected = await check('collected');
  await checkFull('backup-after-collection', store);
  const imported = await newStore();
  await importRepository(imported, `${collected}-bare`, meta);
  expect(imported.current().commit === store.current().commit, 'a clone of the export is imported to the same commit');
  expect((await store.verify()).problemCount === 0, 'verify finds nothing');
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
