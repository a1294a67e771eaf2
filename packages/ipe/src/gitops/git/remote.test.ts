import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type FixtureRepository, fixtureRepository } from '../../testkit/git-repository.ts';
import { startGitServer } from '../../testkit/git-server.ts';
import { createGit, listTree, openMirror, parseLocation } from './index.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ipe-remote-'));
  cleanups.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function repository(): FixtureRepository {
  const made = fixtureRepository();
  cleanups.push(made.destroy);
  return made;
}

test('a repository over https is read with a token, which stands in no argument, file or message', async () => {
  const source = repository();
  const commit = source.commit({ 'a.policy.yaml': '1' });
  const token = 'tok-3f9a77';
  const server = await startGitServer(source.directory, folder(), token);
  cleanups.push(server.close);
  const stateDir = folder();
  const git = createGit({ stateDir, environment: process.env });
  const tokenFile = join(folder(), 'token');
  const open = (access: object) =>
    openMirror(git, join(stateDir, 'mirrors'), parseLocation(server.url, '/'), { caFile: server.caFile, ...access });

  writeFileSync(tokenFile, `${token}\n`);
  const mirror = open({ tokenFile });
  expect(await mirror.update('main')).toEqual({ branch: 'main', commit });
  expect(await listTree(mirror, commit, '')).toHaveLength(1);
  expect(readFileSync(join(mirror.directory, 'config'), 'utf8')).not.toContain(token);

  // A token that was exchanged is taken up by itself.
  const next = source.commit({ 'a.policy.yaml': '2' });
  writeFileSync(tokenFile, 'wrong-token\n');
  const refused = await mirror.update('main').catch((error: unknown) => error);
  expect(refused).toMatchObject({ reason: 'forbidden' });
  expect(JSON.stringify(refused) + String(refused)).not.toMatch(/wrong-token|d3Jvbmc/);
  writeFileSync(tokenFile, token);
  expect((await mirror.update('main')).commit).toBe(next);

  await expect(open({}).update('main')).rejects.toMatchObject({ reason: 'forbidden' });
  await expect(
    openMirror(git, join(stateDir, 'other'), parseLocation(server.url, '/'), { token }).update('main'),
  ).rejects.toMatchObject({ reason: 'unavailable' });
  const inUrl = openMirror(
    git,
    join(stateDir, 'url'),
    parseLocation(server.url.replace('https://', `https://bot:${token}@`), '/'),
    { caFile: server.caFile },
  );
  expect((await inUrl.update('main')).commit).toBe(next);
  expect(inUrl.location.shown).toBe(server.url);
});

test('a repository over ssh is read with its key, and never with a question', async () => {
  const source = repository();
  const commit = source.commit({ 'a.policy.yaml': '1' });
  // Stands in for ssh: writes down how it was called, and runs what the far side would.
  const bin = folder();
  const calls = join(bin, 'calls');
  writeFileSync(
    join(bin, 'ssh'),
    `#!/bin/sh\nprintf '%s\\n' "$*" >> '${calls}'\nfor last; do :; done\nexec sh -c "$last"\n`,
  );
  chmodSync(join(bin, 'ssh'), 0o755);
  const stateDir = folder();
  const git = createGit({ stateDir, environment: { ...process.env, PATH: `${bin}:${process.env['PATH']}` } });
  const location = parseLocation(`ssh://git@example.org:2222${source.directory}`, '/');
  const mirror = openMirror(git, join(stateDir, 'mirrors'), location, {
    ssh: { keyFile: '/keys/deploy key', knownHostsFile: '/keys/known' },
  });
  expect((await mirror.update('main')).commit).toBe(commit);
  const called = readFileSync(calls, 'utf8').split('\n')[0];
  expect(called).toContain('-F /dev/null -oBatchMode=yes -oStrictHostKeyChecking=yes');
  expect(called).toContain('-oIdentitiesOnly=yes -i /keys/deploy key -oUserKnownHostsFile=/keys/known');
  expect(called).toContain('-p 2222 git@example.org git-upload-pack');
});
