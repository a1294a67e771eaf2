import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ask } from '../testkit/door.ts';
import { defaultLimits } from './limits.ts';
import { listenPlain, listenUnix } from './listen.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipe-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const handle = (_: unknown, response: { end(text: string): void }) => response.end('here');

test('a socket has the permissions asked for, and its file goes away with it', async () => {
  const path = join(folder, 'a.sock');
  const listener = await listenUnix(path, 0o600, defaultLimits, handle);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await ask(path, { path: '/' })).text).toBe('here');
  await listener.close();
  await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('the socket file of a process that was killed is replaced', async () => {
  const path = join(folder, 'dead.sock');
  const program = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await promisify(execFile)(process.execPath, ['-e', program]).catch(() => undefined);
  expect((await stat(path)).isSocket()).toBe(true);
  const listener = await listenUnix(path, 0o660, defaultLimits, handle);
  expect((await ask(path, { path: '/' })).text).toBe('here');
  await listener.close();
});

test('a socket that a live process listens on is left alone and reported', async () => {
  const path = join(folder, 'live.sock');
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(path, resolve));
  await expect(listenUnix(path, 0o600, defaultLimits, handle)).rejects.toMatchObject({
    reason: 'unavailable',
    message: expect.stringContaining('is taken'),
  });
  expect((await stat(path)).isSocket()).toBe(true);
  await new Promise((resolve) => other.close(resolve));
});

test('a path longer than the system allows is refused with the limit', async () => {
  const path = join(folder, 'x'.repeat(120));
  await expect(listenUnix(path, 0o600, defaultLimits, handle)).rejects.toMatchObject({
    reason: 'invalid_params',
    message: expect.stringMatching(/has \d+ bytes, the system allows 10[37]/),
  });
});

test('a file that is not a socket is never removed', async () => {
  const path = join(folder, 'notes.txt');
  await writeFile(path, 'precious');
  await chmod(path, 0o600);
  const link = join(folder, 'link.sock');
  await symlink(path, link);
  for (const each of [path, link])
    await expect(listenUnix(each, 0o600, defaultLimits, handle)).rejects.toMatchObject({
      message: expect.stringContaining('is not a socket'),
    });
  expect((await stat(path)).size).toBe(8);
});

test('a TCP address that is taken is reported', async () => {
  const first = await listenPlain('127.0.0.1:0', defaultLimits, handle);
  expect(first.address).toMatch(/^127\.0\.0\.1:\d+$/);
  await expect(listenPlain(first.address, defaultLimits, handle)).rejects.toMatchObject({ reason: 'unavailable' });
  await first.close();
});
