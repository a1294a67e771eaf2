import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type FixtureRepository, fixtureRepository } from '../../testkit/git-repository.ts';
import {
  checkBranch,
  checkDirectory,
  createGit,
  listTree,
  mirrorLimits,
  openMirror,
  parseLocation,
  readBlobs,
  readCommit,
  readLimits,
  resolveCommit,
  verifySignature,
} from './index.ts';
import { redact, sshCommand } from './run.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ipe-git-'));
  cleanups.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function repository(objectFormat: 'sha1' | 'sha256' = 'sha1'): FixtureRepository {
  const made = fixtureRepository({ objectFormat });
  cleanups.push(made.destroy);
  return made;
}

function mirrorOf(source: string, limits = mirrorLimits) {
  const stateDir = folder();
  const git = createGit({ stateDir, environment: process.env });
  return openMirror(git, join(stateDir, 'mirrors'), parseLocation(source, '/'), {}, limits);
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

describe.each(['sha1', 'sha256'] as const)('a mirror of a %s repository', (format) => {
  test('reads files and metadata of a commit without a checkout, and follows the branch', async () => {
    const source = repository(format);
    const first = source.commit({ 'policies/prod/a.policy.yaml': 'one', 'README.md': 'x' }, 'First\n\nWith a body');
    const mirror = mirrorOf(source.directory);

    const before = await mirror.update('main');
    expect(before).toEqual({ branch: 'main', commit: first });
    const entries = await listTree(mirror, first, 'policies');
    expect(entries.map(({ path, kind, sizeBytes }) => ({ path, kind, sizeBytes }))).toEqual([
      { path: 'prod/a.policy.yaml', kind: 'file', sizeBytes: 3 },
    ]);
    expect((await readBlobs(mirror, entries)).map(text)).toEqual(['one']);
    expect(await readCommit(mirror, first)).toEqual({
      id: first,
      author: { name: 'Ada Lovelace', email: 'ada@example.org' },
      authoredAt: 1_750_000_060,
      committedAt: 1_750_000_061,
      message: 'First\n\nWith a body',
    });

    const second = source.commit({ 'policies/prod/a.policy.yaml': 'two' });
    expect(await mirror.update()).toEqual({ branch: 'main', commit: second });
    expect((await readBlobs(mirror, await listTree(mirror, second, ''))).map(text)).toEqual(['x', 'two']);
    expect(await resolveCommit(mirror, first.slice(0, 10))).toBe(first);
    await expect(resolveCommit(mirror, 'feedfeedfeed')).rejects.toMatchObject({ reason: 'not_found' });
  });
});

test('a branch that was rewritten is followed, and tags are accepted where a branch is', async () => {
  const source = repository();
  const first = source.commit({ 'a.policy.yaml': '1' });
  source.git('tag', '-a', 'v1', '-m', 'release');
  source.commit({ 'a.policy.yaml': '2' });
  const mirror = mirrorOf(source.directory);
  await mirror.update('main');
  source.git('reset', '--quiet', '--hard', first);
  const rewritten = source.commit({ 'a.policy.yaml': '3' });
  expect((await mirror.update('main')).commit).toBe(rewritten);
  expect((await mirror.update('v1')).commit).toBe(first);
});

test('hooks and configuration of the repository or the user never run a program', async () => {
  const source = repository();
  source.commit({ 'a.policy.yaml': '1' });
  const mark = join(folder(), 'ran');
  const script = join(folder(), 'script.sh');
  writeFileSync(script, `#!/bin/sh\ntouch '${mark}'\n`);
  chmodSync(script, 0o755);
  const hooks = join(source.directory, '.git', 'hooks');
  mkdirSync(hooks, { recursive: true });
  for (const name of ['post-checkout', 'pre-auto-gc', 'reference-transaction', 'post-update']) {
    writeFileSync(join(hooks, name), `#!/bin/sh\ntouch '${mark}'\n`);
    chmodSync(join(hooks, name), 0o755);
  }
  source.git('config', 'uploadpack.packObjectsHook', script);
  source.git('config', 'core.fsmonitor', script);
  const home = folder();
  writeFileSync(
    join(home, '.gitconfig'),
    `[uploadpack]\n\tpackObjectsHook = ${script}\n[core]\n\tfsmonitor = ${script}\n`,
  );
  const stateDir = folder();
  const git = createGit({
    stateDir,
    environment: { ...process.env, HOME: home, GIT_SSH_COMMAND: script, GIT_CONFIG_GLOBAL: join(home, '.gitconfig') },
  });
  const mirror = openMirror(git, join(stateDir, 'mirrors'), parseLocation(source.directory, '/'));
  await mirror.update('main');
  expect(existsSync(mark)).toBe(false);
});

test('a copy left locked, cut short or damaged is made anew', async () => {
  const source = repository();
  const first = source.commit({ 'a.policy.yaml': '1' });
  const mirror = mirrorOf(source.directory);
  await mirror.update('main');
  writeFileSync(join(mirror.directory, 'refs', 'mirror', 'main.lock'), '');
  expect((await mirror.update('main')).commit).toBe(first);
  const second = source.commit({ 'a.policy.yaml': '2' });
  writeFileSync(join(mirror.directory, 'refs', 'mirror', 'main.lock'), '');
  expect((await mirror.update('main')).commit).toBe(second);
  writeFileSync(join(mirror.directory, 'HEAD'), 'nonsense');
  expect((await mirror.update('main')).commit).toBe(second);
  const blob = (await listTree(mirror, second, ''))[0]!;
  rmSync(join(mirror.directory, 'objects'), { recursive: true });
  mkdirSync(join(mirror.directory, 'objects'));
  await expect(readBlobs(mirror, [blob])).rejects.toMatchObject({ reason: 'corrupt' });
  await mirror.update('main');
  expect((await readBlobs(mirror, [blob])).map(text)).toEqual(['2']);
});

test('a missing folder, a plain folder, a missing branch and a missing directory each get an error that says so', async () => {
  const source = repository();
  const commit = source.commit({ 'a.policy.yaml': '1' });
  await expect(mirrorOf('/nowhere/at/all').update()).rejects.toThrow('`/nowhere/at/all` does not exist');
  await expect(mirrorOf(folder()).update()).rejects.toThrow('is not a Git repository');
  await expect(mirrorOf(repository().directory).update()).rejects.toThrow('has no commits');
  const mirror = mirrorOf(source.directory);
  await expect(mirror.update('mian')).rejects.toThrow('has no branch or tag `mian`');
  await mirror.update();
  await expect(listTree(mirror, commit, 'policies')).rejects.toThrow('has no folder `policies`');
  await expect(listTree(mirror, commit, 'a.policy.yaml')).rejects.toThrow('is not a folder');
});

test('symbolic links and submodules are told apart from files', async () => {
  const source = repository();
  source.commit({ 'a.policy.yaml': '1' });
  symlinkSync('/etc/passwd', join(source.directory, 'b.policy.yaml'));
  source.git('update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},module`);
  source.git('add', 'b.policy.yaml');
  source.git('commit', '--quiet', '-m', 'links');
  const mirror = mirrorOf(source.directory);
  const { commit } = await mirror.update();
  const kinds = Object.fromEntries((await listTree(mirror, commit, '')).map((entry) => [entry.path, entry.kind]));
  expect(kinds).toEqual({ 'a.policy.yaml': 'file', 'b.policy.yaml': 'symlink', module: 'submodule' });
});

test('limits on a file, on all files, on entries and on the mirror are errors, not truncation', async () => {
  const source = repository();
  source.commit({ 'a.policy.yaml': 'x'.repeat(100), 'b.policy.yaml': 'y'.repeat(100) });
  const mirror = mirrorOf(source.directory);
  const { commit } = await mirror.update();
  const entries = await listTree(mirror, commit, '');
  await expect(readBlobs(mirror, entries, { ...readLimits, fileMaxBytes: 99 })).rejects.toMatchObject({
    reason: 'too_large',
  });
  await expect(readBlobs(mirror, entries, { ...readLimits, totalMaxBytes: 199 })).rejects.toMatchObject({
    reason: 'too_large',
  });
  await expect(listTree(mirror, commit, '', { ...readLimits, entriesMax: 1 })).rejects.toMatchObject({
    reason: 'too_large',
  });
  await expect(mirrorOf(source.directory, { ...mirrorLimits, mirrorMaxBytes: 10 }).update()).rejects.toMatchObject({
    reason: 'too_large',
  });
});

test('a command that takes too long or is given up ends', async () => {
  const stateDir = folder();
  const slow = join(stateDir, 'slow');
  writeFileSync(slow, '#!/bin/sh\nif [ "$1" = --version ]; then echo git version 2.40.0; else exec sleep 600; fi\n');
  chmodSync(slow, 0o755);
  const git = createGit({ stateDir, executable: slow, environment: process.env });
  await expect(git.run(['anything'], { timeoutMs: 50 })).rejects.toThrow('took longer');
  const controller = new AbortController();
  const run = git.run(['anything'], { signal: controller.signal });
  controller.abort();
  await expect(run).rejects.toThrow('given up');
});

test('a missing or old git is named with the command that installs it', async () => {
  const stateDir = folder();
  const old = join(stateDir, 'old');
  writeFileSync(old, '#!/bin/sh\necho git version 2.25.1\n');
  chmodSync(old, 0o755);
  await expect(createGit({ stateDir, executable: old, environment: process.env }).version()).rejects.toThrow(
    /git 2\.34 or newer is needed, `.*` is 2\.25\.1; install it with `apt-get install git`/,
  );
  await expect(
    createGit({ stateDir, executable: join(stateDir, 'none'), environment: process.env }).version(),
  ).rejects.toThrow('was not found; install it');
});

describe('locations', () => {
  test.each([
    ['/srv/policies', 'path', '/srv/policies'],
    ['policies', 'path', '/base/policies'],
    ['./a:b', 'path', '/base/a:b'],
    ['file:///srv/policies', 'path', '/srv/policies'],
    ['git@example.org:team/policies.git', 'ssh', 'git@example.org:team/policies.git'],
    ['ssh://git@example.org:2222/policies.git', 'ssh', 'ssh://git@example.org:2222/policies.git'],
    ['https://example.org/p.git', 'https', 'https://example.org/p.git'],
  ])('%s is taken as %s', (input, kind, url) => {
    expect(parseLocation(input, '/base')).toMatchObject({ kind, url, shown: url });
  });

  test('credentials are taken out of a URL and shown nowhere', () => {
    const location = parseLocation('https://bot:s3cret@example.org/p.git', '/');
    expect(location.credentials).toEqual({ user: 'bot', token: 's3cret' });
    expect(JSON.stringify({ ...location, credentials: undefined })).not.toContain('s3cret');
    expect(parseLocation('https://tok@example.org/p.git', '/').credentials).toEqual({
      user: 'x-access-token',
      token: 'tok',
    });
    expect(redact('fatal: https://bot:s3cret@example.org/ and s3cret', ['s3cret'])).toBe(
      'fatal: https://***@example.org/ and ***',
    );
  });

  test.each([
    '',
    '-upload-pack=x',
    'ext::sh -c id',
    'http://example.org/p',
    'git://example.org/p',
    'ftp://e/p',
    'file://host/p',
    'ssh://-oProxyCommand=id/p',
    '-oProxyCommand=id:p',
    'a\nb',
  ])('`%s` is refused', (input) => {
    expect(() => parseLocation(input, '/')).toThrow(expect.objectContaining({ reason: 'invalid_params' }));
  });

  test('branches and directories are checked before git sees them', () => {
    for (const bad of ['', '-x', 'a..b', 'a b', 'x.lock', '/a', 'a/', '@', 'a@{1}', 'a//b', 'a/.b'])
      expect(() => checkBranch(bad), bad).toThrow();
    for (const good of ['main', 'release/1.2', 'v1']) expect(checkBranch(good)).toBe(good);
    expect(checkDirectory('./a//b/')).toBe('a/b');
    expect(() => checkDirectory('../x')).toThrow('inside the repository');
  });

  test('the ssh command reads no configuration and quotes its files', () => {
    expect(sshCommand({ keyFile: "/k/it's here" })).toContain("'/k/it'\\''s here'");
    expect(sshCommand({})).toMatch(/^ssh -F \/dev\/null -oBatchMode=yes -oStrictHostKeyChecking=yes/);
  });
});

describe('signatures', () => {
  const haveKeygen = (() => {
    try {
      execFileSync('ssh-keygen', ['-?'], { stdio: 'ignore' });
      return true;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== 'ENOENT';
    }
  })();

  test.skipIf(!haveKeygen)('only commits signed by an accepted SSH key pass', async () => {
    const keys = folder();
    for (const name of ['ada', 'eve'])
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(keys, name)], { stdio: 'ignore' });
    const allowed = join(keys, 'allowed');
    writeFileSync(allowed, `ada@example.org ${readFileSync(join(keys, 'ada.pub'), 'utf8')}`);
    const source = repository();
    const unsigned = source.commit({ 'a.policy.yaml': '1' });
    const sign = (name: string): string => {
      source.git(
        '-c',
        'gpg.format=ssh',
        '-c',
        `user.signingKey=${join(keys, name)}`,
        'commit',
        '--quiet',
        '--allow-empty',
        '-S',
        '-m',
        name,
      );
      return source.git('rev-parse', 'HEAD');
    };
    const ada = sign('ada');
    const eve = sign('eve');
    const mirror = mirrorOf(source.directory);
    await mirror.update();
    expect(await verifySignature(mirror, ada, { allowedSignersFile: allowed })).toBe('ada@example.org');
    await expect(verifySignature(mirror, eve, { allowedSignersFile: allowed })).rejects.toMatchObject({
      reason: 'forbidden',
    });
    await expect(verifySignature(mirror, unsigned, { allowedSignersFile: allowed })).rejects.toThrow('is not signed');
    await expect(verifySignature(mirror, ada, {})).rejects.toMatchObject({ reason: 'forbidden' });
  });

  const haveGpg = spawnSync('gpg', ['--version'], { stdio: 'ignore' }).status === 0;
  test.skipIf(!haveGpg)(
    `only commits signed by an accepted OpenPGP key pass${haveGpg ? '' : ' (skipped: no gpg)'}`,
    async () => {
      // Short: GnuPG keeps a socket below its home.
      const home = mkdtempSync('/tmp/ipe-gpg-');
      const gpg = (...args: string[]) =>
        execFileSync(
          'gpg',
          ['--batch', '--homedir', home, '--pinentry-mode', 'loopback', '--passphrase', '', ...args],
          {
            stdio: ['ignore', 'pipe', 'ignore'],
          },
        );
      try {
        const source = repository();
        const unsigned = source.commit({ 'a.policy.yaml': '1' });
        const sign = (name: string, expire = '0'): string => {
          const address = `${name}@example.org`;
          gpg('--quick-generate-key', `${name} <${address}>`, 'ed25519', 'sign', expire);
          writeFileSync(join(home, 'sign'), `#!/bin/sh\nexec gpg --homedir ${home} "$@"\n`, { mode: 0o755 });
          const program = ['-c', `gpg.program=${join(home, 'sign')}`, '-c', `user.signingKey=${address}`];
          source.git(...program, 'commit', '--quiet', '--allow-empty', '-S', '-m', name);
          return source.git('rev-parse', 'HEAD');
        };
        const [ada, eve] = [sign('ada'), sign('eve')];
        const armoured = join(folder(), 'keys.asc');
        writeFileSync(armoured, gpg('--armor', '--export', 'ada@example.org'));
        const binary = join(folder(), 'keys.gpg');
        writeFileSync(binary, gpg('--export', 'ada@example.org'));
        const mirror = mirrorOf(source.directory);
        await mirror.update();
        for (const openpgpKeysFile of [armoured, binary]) {
          expect(await verifySignature(mirror, ada, { openpgpKeysFile })).toBe('ada <ada@example.org>');
          const refused = { reason: 'forbidden' };
          await expect(verifySignature(mirror, eve, { openpgpKeysFile })).rejects.toMatchObject(refused);
          await expect(verifySignature(mirror, unsigned, { openpgpKeysFile })).rejects.toThrow('is not signed');
        }
        await expect(verifySignature(mirror, ada, {})).rejects.toMatchObject({ reason: 'forbidden' });
        const revoked = join(folder(), 'revoked.asc');
        const [fingerprint] = /(?<=^fpr:+)[0-9A-F]{40}/m.exec(
          gpg('--with-colons', '-k', 'ada@example.org').toString(),
        )!;
        const certificate = readFileSync(join(home, 'openpgp-revocs.d', `${fingerprint}.rev`), 'utf8');
        writeFileSync(join(home, 'rev'), certificate.replace(/^:(?=-----BEGIN)/m, ''));
        gpg('--import', join(home, 'rev'));
        writeFileSync(revoked, gpg('--armor', '--export', 'ada@example.org'));
        await expect(verifySignature(mirror, ada, { openpgpKeysFile: revoked })).rejects.toMatchObject({
          reason: 'forbidden',
        });
        const absent = verifySignature(mirror, ada, { openpgpKeysFile: join(home, 'absent') });
        await expect(absent).rejects.toMatchObject({
          reason: 'unavailable',
          message: expect.stringContaining('absent'),
        });
      } finally {
        spawnSync('gpgconf', ['--homedir', home, '--kill', 'all'], { stdio: 'ignore' });
        rmSync(home, { recursive: true, force: true });
      }
    },
    60_000,
  );
});
