import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { holderOf, layoutOf, lockDirectory, makeFolders } from './directory.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ipe-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

test('a directory that another node has open is refused, naming the process, until it is given back', async () => {
  const layout = layoutOf(root);
  const release = await lockDirectory(layout);
  await expect(lockDirectory(layout)).rejects.toMatchObject({ reason: 'unavailable', details: { pid: process.pid } });
  expect(await holderOf(layout)).toBe(process.pid);
  await release();
  expect(await holderOf(layout)).toBeUndefined();
  await (await lockDirectory(layout))();
  expect(await readdir(root)).toEqual([]);
});

test('the lock of a process that is gone, and one that is damaged, are taken over', async () => {
  const layout = layoutOf(root);
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  for (const content of [
    JSON.stringify({ pid: dead, start: '1', nonce: 'x' }),
    JSON.stringify({ pid: process.pid, start: '1', nonce: 'x' }),
    '{"pid"',
  ]) {
    await writeFile(layout.lock, content);
    await (await lockDirectory(layout))();
  }
});

test('of many that take over at once, one wins', async () => {
  const layout = layoutOf(root);
  await writeFile(layout.lock, '{"pid"');
  const taken = await Promise.allSettled(Array.from({ length: 20 }, () => lockDirectory(layout)));
  expect(taken.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});

test("keys and audit are their owner's alone", async () => {
  const layout = layoutOf(join(root, 'deep', 'er'));
  await makeFolders(layout);
  for (const folder of [layout.keys, layout.audit]) expect((await stat(folder)).mode & 0o077).toBe(0);
});

test('a state directory that cannot be made is reported', async () => {
  await writeFile(join(root, 'file'), '');
  await expect(makeFolders(layoutOf(join(root, 'file', 'x')))).rejects.toMatchObject({ reason: 'unavailable' });
});
