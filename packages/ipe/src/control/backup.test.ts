import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { restoreBackup } from '../repository/index.ts';
import { adminCaller, type ControlFixture, controlFixture } from '../testkit/control.ts';
import { backupJob, backupName, backupsAmong, expiredBackups, nextBackup } from './backup-job.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ipe-backup-'));
  cleanups.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function node(): Promise<ControlFixture & { readonly stateDir: string }> {
  const stateDir = folder();
  const made = await controlFixture({ stateDir });
  cleanups.push(made.close);
  return { ...made, stateDir };
}

const changes = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => ({ path: `p.q${from + i}`, source: `policy ${from + i}` }));

async function download(
  call: ControlFixture['call'],
  params: object,
): Promise<{ bytes: Buffer; first: Record<string, unknown> }> {
  const first = await call('backup', params);
  const pieces = [Buffer.from(first.data, 'base64')];
  for (let next = first.next; next !== undefined; ) {
    const piece = await call('backup', { cursor: next });
    pieces.push(Buffer.from(piece.data, 'base64'));
    next = piece.next;
  }
  return { bytes: Buffer.concat(pieces), first };
}

async function upload(call: ControlFixture['call'], bytes: Buffer) {
  let params: { upload?: string } = {};
  for (let at = 0; at < bytes.length; at += 900)
    params = await call('restore-backup', {
      ...params,
      data: bytes.subarray(at, at + 900).toString('base64'),
      more: true,
    });
  return call('restore-backup', { ...params });
}

describe('backups over the wire', () => {
  test('a full one and its increment are fetched in pieces and restored into an empty store', async () => {
    const source = await node();
    await source.call('apply', { changes: changes(0, 20) });
    const full = await download(source.call, {});
    expect(full.first).toMatchObject({
      kind: 'full',
      size_bytes: full.bytes.length,
      commit: source.store.current().commit,
    });
    const since = source.store.current().commit!;
    await source.call('apply', { changes: changes(20, 25) });
    const increment = await download(source.call, { since: since.slice(0, 12) });
    expect(increment.first).toMatchObject({ kind: 'incremental', since: since.slice(0, 12) });
    expect(increment.bytes.length).toBeLessThan(full.bytes.length / 2);

    const target = await node();
    await expect(upload(target.call, increment.bytes)).rejects.toThrow('restore the backups before it first');
    expect(await upload(target.call, full.bytes)).toMatchObject({ outcome: 'fast-forward', commit: since });
    expect(await upload(target.call, increment.bytes)).toMatchObject({
      outcome: 'fast-forward',
      root: source.store.current().root,
    });
    expect((await target.call('list-policies')).policies).toHaveLength(25);
    expect(await upload(target.call, full.bytes)).toMatchObject({ outcome: 'restored' });
    expect((await target.call('list-policies')).policies).toHaveLength(20);
    expect(readdirSync(join(target.stateDir, 'transfers'))).toEqual([]);
    expect(readdirSync(join(source.stateDir, 'transfers'))).toEqual([]);
  });

  test('damage, nonsense and wrong cursors change nothing', async () => {
    const source = await node();
    await source.call('apply', { changes: changes(0, 5) });
    const { bytes } = await download(source.call, {});
    const target = await node();
    bytes[bytes.indexOf('PACK') + 200]! ^= 1;
    await expect(upload(target.call, bytes)).rejects.toMatchObject({
      reason: expect.stringMatching(/corrupt|invalid_params/),
    });
    await expect(upload(target.call, Buffer.from('nonsense'))).rejects.toMatchObject({ reason: 'invalid_params' });
    await expect(target.call('restore-backup', { data: '***' })).rejects.toMatchObject({ details: { field: 'data' } });
    await expect(target.call('restore-backup', { data: 'AAAA', upload: 'nowhere' })).rejects.toMatchObject({
      reason: 'not_found',
    });
    await expect(source.call('backup', { cursor: 'nowhere.0' })).rejects.toMatchObject({ reason: 'not_found' });
    await expect(source.call('backup', { cursor: 'nowhere' })).rejects.toMatchObject({ reason: 'invalid_params' });
    await expect(source.call('backup', { since: 'nowhere' })).rejects.toMatchObject({ reason: 'not_found' });
    expect((await target.call('list-policies')).policies).toEqual([]);
  });
});

describe('scheduled backups', () => {
  const [hour, day] = [3_600_000, 86_400_000];

  test('are full when due, else what came since the last, and only the newest are kept', async () => {
    const { call, store } = await node();
    const directory = join(folder(), 'backups');
    let nowMs = Date.UTC(2026, 0, 1);
    const job = backupJob(store, () => nowMs, { directory, fullEveryMs: 7 * day, incrementalEveryMs: day, keep: 2 });
    const run = () => job.run(new AbortController().signal, () => {});
    expect(await run()).toMatchObject({ kind: 'none' });
    for (let each = 0; each < 22; each++) {
      if (each % 3 !== 2) await call('put-policy', { path: `p${each}`, source: 'x' });
      await run();
      nowMs += day;
    }
    const kept = backupsAmong(readdirSync(directory));
    expect(kept.filter(({ kind }) => kind === 'full').map(({ timeMs }) => new Date(timeMs).getUTCDate())).toEqual([
      15, 22,
    ]);
    expect(kept[0]).toMatchObject({ kind: 'full' });
    expect(kept.length).toBeGreaterThan(5);
    expect(statSync(directory).mode & 0o077).toBe(0);

    const target = await node();
    for (const { name } of kept)
      await restoreBackup(target.store, join(directory, name), {
        author: { name: adminCaller.name, email: 'a@b' },
        timeMs: nowMs,
      });
    expect(target.store.current().root).toBe(store.current().root);
  });

  test('names say what they are, and other files are left alone', () => {
    const commit = 'a'.repeat(64);
    const [full, increment] = [
      backupName('full', Date.UTC(2026, 1, 3, 4, 5, 6, 789), commit),
      backupName('incremental', Date.UTC(2026, 1, 3, 4, 5, 6), commit),
    ];
    expect(full).toBe(`ipe-full-20260203T040506Z-${commit}.tar`);
    const files = backupsAmong([increment, full, 'notes.txt', `ipe-full-20260203T040506Z-${commit}.bundle`, '.tmp']);
    expect(files.map(({ name }) => name)).toEqual([full, increment]);
    expect(nextBackup([], 0, { fullEveryMs: day })).toEqual({ kind: 'full' });
    expect(nextBackup(files, Date.UTC(2026, 1, 3, 6), { fullEveryMs: day })).toEqual({
      kind: 'incremental',
      since: commit,
    });
    expect(nextBackup(files, Date.UTC(2026, 1, 4, 6), { fullEveryMs: day })).toEqual({ kind: 'full' });
    expect(expiredBackups(files, 1)).toEqual([]);
    const later = backupsAmong([backupName('full', Date.UTC(2026, 1, 5), commit)]);
    expect(expiredBackups([...files, ...later], 1)).toEqual(files);
  });

  test('start from what an administrator left in the folder', async () => {
    const { call, store } = await node();
    await call('put-policy', { path: 'a', source: 'x' });
    const directory = folder();
    writeFileSync(join(directory, 'README'), 'mine');
    const job = backupJob(store, () => Date.UTC(2026, 0, 1), {
      directory,
      fullEveryMs: day,
      incrementalEveryMs: hour,
      keep: 1,
    });
    await job.run(new AbortController().signal, () => {});
    expect(readdirSync(directory)).toContain('README');
    expect(backupsAmong(readdirSync(directory))).toHaveLength(1);
  });
});
