import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createNodeCompiler } from '../policies/node-compiler.ts';
import type { CompileOptions, PolicyText } from '../policies/types.ts';
import { type ControlFixture, controlFixture, memoryState } from '../testkit/control.ts';
import { type FixtureRepository, fixtureRepository } from '../testkit/git-repository.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ipe-sync-'));
  cleanups.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function repository(): FixtureRepository {
  const made = fixtureRepository();
  cleanups.push(made.destroy);
  return made;
}

async function node(options: Parameters<typeof controlFixture>[0] = {}): Promise<ControlFixture> {
  const made = await controlFixture({ stateDir: folder(), ...options });
  cleanups.push(made.close);
  return made;
}

const policies = {
  'policies/prod/a.policy.yaml': 'alpha\n',
  'policies/prod/a.test.yaml': 'alpha\n',
  'policies/prod/deep/b.policy.yaml': 'beta\n',
  'README.md': 'about',
};

describe('a sync of a Git repository', () => {
  test('brings every policy into one commit that keeps where it came from', async () => {
    const source = repository();
    const commit = source.commit(policies, 'Two policies\n\nWith reasons.');
    const { call } = await node();
    const result = await call('sync-from-git', { repository: source.directory, directory: 'policies' });
    expect(result).toMatchObject({
      status: 'completed',
      policies_added: 2,
      policies_updated: 0,
      policies_removed: 0,
      commit,
      branch: 'main',
      policies: 2,
      tests: 1,
    });
    const { commits } = await call('log');
    expect(commits).toHaveLength(1);
    expect(commits[0]).toMatchObject({
      commit: result.root_commit,
      root: result.root,
      author: { name: 'Ada Lovelace', email: 'ada@example.org' },
      trailers: {
        'Ipe-Source-Repository': source.directory,
        'Ipe-Source-Branch': 'main',
        'Ipe-Source-Directory': 'policies',
        'Ipe-Source-Commit': commit,
        'Ipe-Synced-By': 'ada',
        'Ipe-Compiler': 'scripted/1',
      },
    });
    expect(commits[0].message).toContain('Two policies\n\nWith reasons.');
    expect(await call('get-policy', { path: 'prod.deep.b', source: true })).toMatchObject({ source: 'beta\n' });
    expect(await call('get-policy', { path: 'prod.a', root: commit.slice(0, 9) })).toMatchObject({ root: result.root });
    expect(await call('get-sync-status', { sync_id: result.sync_id })).toMatchObject({
      status: 'completed',
      commit,
      policies_added: 2,
    });
  });

  test('takes only what changed, removes what is gone, and does nothing where nothing changed', async () => {
    const source = repository();
    source.commit(policies);
    const { call } = await node();
    const params = { repository: source.directory, directory: 'policies' };
    const first = await call('sync-from-git', params);
    expect(await call('sync-from-git', params)).toMatchObject({
      status: 'up-to-date',
      root: first.root,
      root_commit: first.root_commit,
    });
    source.commit({
      'policies/prod/a.policy.yaml': 'alpha 2\n',
      'policies/prod/deep/b.policy.yaml': null,
      'policies/staging/c.policy.yaml': 'c',
    });
    expect(await call('sync-from-git', params)).toMatchObject({
      policies_added: 1,
      policies_updated: 1,
      policies_removed: 1,
    });
    source.commit({
      'policies/prod/a.policy.yaml': 'alpha\n',
      'policies/prod/deep/b.policy.yaml': 'beta\n',
      'policies/staging': null,
    });
    expect(await call('sync-from-git', params)).toMatchObject({ root: first.root, policies_removed: 1 });
  });

  test('changes nothing where one policy fails, and names every problem at once', async () => {
    const source = repository();
    source.commit(policies);
    const { call, store } = await node();
    const params = { repository: source.directory, directory: 'policies' };
    await call('sync-from-git', params);
    const before = store.current();
    source.commit({
      'policies/prod/a.policy.yaml': 'omega\n',
      'policies/prod/deep/b.policy.yaml': 'beta\nerror: unknown field\n',
      'policies/prod/Bad.policy.yaml': 'x',
      'policies/prod/foo.yaml': 'x',
      'policies/prod/good.policy.yaml': 'fine',
    });
    await expect(call('sync-from-git', params)).rejects.toMatchObject({
      reason: 'policy_invalid',
      state: 'unchanged',
      details: {
        problems: [
          { file: 'prod/Bad.policy.yaml', hint: 'bad' },
          { file: 'prod/foo.yaml', hint: 'foo.policy.yaml' },
          { file: 'prod/deep/b.policy.yaml', path: 'prod.deep.b', line: 2, message: 'unknown field' },
        ],
        failed_tests: [{ path: 'prod.a', file: 'prod/a.test.yaml', name: 'alpha' }],
      },
    });
    expect(store.current().root).toBe(before.root);
    expect(store.current().commit).toBe(before.commit);
    const { mirrors, syncs } = await call('get-sync-status');
    expect(mirrors).toMatchObject([{ status: 'failed', error: { reason: 'policy_invalid' } }]);
    expect(syncs.map(({ status }: { status: string }) => status)).toEqual(['failed', 'completed']);
  });

  test('a dry run shows the patches and the tests whose result would change, and changes nothing', async () => {
    const source = repository();
    source.commit(policies);
    const { call, store } = await node();
    const params = { repository: source.directory, directory: 'policies' };
    await call('sync-from-git', params);
    const before = store.current().root;
    source.commit({
      'policies/prod/a.policy.yaml': 'gamma\n',
      'policies/prod/a.test.yaml': 'gamma\n',
      'policies/prod/deep': null,
    });
    const dry = await call('sync-from-git', { ...params, dry_run: true });
    expect(dry).toMatchObject({
      status: 'dry-run',
      policies_updated: 1,
      policies_removed: 1,
      changes: [
        { path: 'prod.a', change: 'changed' },
        { path: 'prod.deep.b', change: 'removed' },
      ],
      changed_tests: [
        { path: 'prod.a', name: 'alpha', suite: 'current', before: 'passed', after: 'failed' },
        { path: 'prod.a', name: 'gamma', suite: 'incoming', before: 'failed', after: 'passed' },
      ],
    });
    expect(dry.patches[0].source_patch).toBe(
      '--- a/prod.a.policy.yaml\n+++ b/prod.a.policy.yaml\n@@ -1 +1 @@\n-alpha\n+gamma\n',
    );
    expect(dry.patches[1].source_patch).toContain('+++ /dev/null');
    expect(store.current().root).toBe(before);
    expect((await call('get-sync-status')).syncs).toHaveLength(1);
    expect(await call('sync-from-git', params)).toMatchObject({ root: dry.root });
  });

  test('emptying what the mirror owns needs confirmation', async () => {
    const source = repository();
    source.commit(policies);
    const { call } = await node();
    const params = { repository: source.directory, directory: 'policies' };
    await call('sync-from-git', params);
    source.commit({ 'policies/prod': null, 'policies/NOTES.md': 'empty' });
    await expect(call('sync-from-git', params)).rejects.toMatchObject({
      reason: 'conflict',
      details: { would_remove: 2 },
    });
    expect(await call('sync-from-git', { ...params, allow_empty: true })).toMatchObject({ policies_removed: 2 });
  });
});

test('a sync compiles and tests only what is new or changed, and still sees what stays beside it', async () => {
  const source = repository();
  const policy = (id: string, more = '') =>
    `validations: [{expression: 'subject.id == "${id}"', reason: not_${id}}]${more}\n`;
  const tests = (path: string, decision: string) =>
    `${path}\nrequest: {subject: {type: user, id: ada}, action: {name: a}, resource: {type: t, id: r}}\ntests: [{name: ada, expect: {decision: ${decision}}}]\n`;
  source.commit({
    'p/ada.policy.yaml': policy('ada'),
    'p/ada.test.yaml': tests('', 'allow'),
    'p/bob.policy.yaml': policy('bob'),
    'q/all.policy.yaml': policy('ada'),
    'q/all.test.yaml': tests('path: p', 'deny'),
  });
  const compiled: string[][] = [];
  const real = createNodeCompiler('0.0.0');
  const compiler = {
    ...real,
    compile: (texts: readonly PolicyText[], options?: CompileOptions) => {
      compiled.push(texts.map(({ path }) => path));
      return real.compile(texts, options);
    },
  };
  const { call } = await node({ compiler });
  const params = { repository: source.directory };
  await call('sync-from-git', params);
  source.commit({ 'p/ada.policy.yaml': policy('ada', ' # same program') });
  expect(await call('sync-from-git', params)).toMatchObject({ policies: 3, tests: 2, policies_updated: 1 });
  expect(compiled).toEqual([
    ['p.ada', 'p.bob', 'q.all'],
    ['p.ada', 'q.all'],
  ]);
  source.commit({ 'p/bob.policy.yaml': null });
  await expect(call('sync-from-git', params)).rejects.toMatchObject({
    reason: 'policy_invalid',
    details: { failed_tests: [{ path: 'q.all', name: 'ada', message: 'expected deny, got allow' }] },
  });
});

describe('what a mirror owns', () => {
  test('is not written from elsewhere without force, and forced writes are drift until the next sync', async () => {
    const source = repository();
    source.commit(policies);
    const { call } = await node();
    const params = { repository: source.directory, directory: 'policies' };
    const synced = await call('sync-from-git', params);
    for (const [method, more] of [
      ['put-policy', { path: 'prod.a', source: 'mine' }],
      ['put-policy', { path: 'prod.new.policy', source: 'mine' }],
      ['delete-policy', { path: 'prod.a' }],
      [
        'apply',
        {
          changes: [
            { path: 'dev.x', source: 'x' },
            { path: 'prod.x', source: 'x' },
          ],
        },
      ],
    ] as const)
      await expect(call(method, more), method).rejects.toMatchObject({
        reason: 'forbidden',
        details: { repository: source.directory },
      });
    await call('put-policy', { path: 'dev.x', source: 'free' });
    await call('put-policy', { path: 'prod.a', source: 'mine', force: true });
    await call('put-policy', { path: 'prod.extra', source: 'mine', force: true });
    expect((await call('get-sync-status')).mirrors[0].drift).toEqual(['prod.a', 'prod.extra']);
    const again = await call('sync-from-git', params);
    expect(again).toMatchObject({
      status: 'completed',
      policies_updated: 1,
      policies_removed: 1,
      drift_reverted: ['prod.a', 'prod.extra'],
    });
    expect((await call('get-sync-status')).mirrors[0].drift).toEqual([]);
    expect(await call('get-policy', { path: 'prod.a' })).toMatchObject({ version: expect.any(String) });
    expect(await call('get-policy', { path: 'dev.x', source: true })).toMatchObject({ source: 'free' });
    expect(synced.root).not.toBe(again.root);
  });

  test('a prefix puts the repository below it, and leaves the rest alone', async () => {
    const source = repository();
    source.commit({ 'a.policy.yaml': 'a', 'b/c.policy.yaml': 'c' });
    const { call } = await node();
    await call('put-policy', { path: 'team.other', source: 'kept' });
    await call('put-policy', { path: 'team.mirror.old', source: 'owned from now on' });
    const result = await call('sync-from-git', { repository: source.directory, prefix: 'team.mirror' });
    expect(result).toMatchObject({ policies_added: 2, policies_removed: 1 });
    expect((await call('list-policies')).policies.map(({ path }: { path: string }) => path)).toEqual([
      'team.mirror.a',
      'team.mirror.b.c',
      'team.other',
    ]);
    await expect(call('sync-from-git', { repository: source.directory, prefix: 'Bad Prefix' })).rejects.toMatchObject({
      details: { field: 'prefix' },
    });
  });

  test('a second repository takes over what a first single sync brought; detaching frees it', async () => {
    const [one, two] = [repository(), repository()];
    one.commit({ 'prod/a.policy.yaml': 'a', 'x/y.policy.yaml': 'y' });
    two.commit({ 'prod/b.policy.yaml': 'b' });
    const { call, registry } = await node();
    await call('sync-from-git', { repository: one.directory });
    expect(await call('sync-from-git', { repository: two.directory })).toMatchObject({
      policies_added: 1,
      policies_removed: 1,
    });
    expect(registry.list().map(({ owned }) => owned)).toEqual([['x'], ['prod']]);
    await call('sync-from-git', { repository: two.directory, detach: true });
    await call('put-policy', { path: 'prod.a', source: 'free again' });
    await expect(call('sync-from-git', { repository: two.directory, detach: true })).rejects.toMatchObject({
      reason: 'not_found',
    });
  });

  test('copies of repositories are kept while they are mirrored, and mended where they lost something', async () => {
    const source = repository();
    source.commit(policies);
    const stateDir = folder();
    const { call, sync } = await node({ stateDir });
    const params = { repository: source.directory, directory: 'policies' };
    await call('sync-from-git', params);
    await sync.tidy();
    const mirrors = join(stateDir, 'mirrors');
    const [copy] = readdirSync(mirrors);
    source.git('gc', '--quiet');
    rmSync(join(mirrors, copy!, 'objects'), { recursive: true });
    mkdirSync(join(mirrors, copy!, 'objects'));
    expect(await call('sync-from-git', params)).toMatchObject({ status: 'up-to-date', policies: 2 });
    await call('sync-from-git', { detach: true });
    expect(readdirSync(mirrors)).toEqual([]);
  });

  test('survives a restart', async () => {
    const source = repository();
    source.commit(policies);
    const state = memoryState();
    const first = await node({ state });
    await first.call('sync-from-git', { repository: source.directory, directory: 'policies' });
    const second = await node({ state });
    await expect(second.call('put-policy', { path: 'prod.a', source: 'mine' })).rejects.toMatchObject({
      reason: 'forbidden',
    });
  });
});

describe('a rollback', () => {
  test('goes to an earlier commit and stays there until resumed', async () => {
    const source = repository();
    const first = source.commit({ 'prod/a.policy.yaml': 'one' });
    const { call } = await node();
    const one = await call('sync-from-git', { repository: source.directory });
    const second = source.commit({ 'prod/a.policy.yaml': 'two' });
    await call('sync-from-git', { repository: source.directory });

    const back = await call('rollback-to-commit', { commit: first.slice(0, 8) });
    expect(back).toMatchObject({ status: 'completed', commit: first, root: one.root, pinned: true });
    await expect(call('sync-from-git', { repository: source.directory })).rejects.toMatchObject({
      reason: 'conflict',
      details: { pinned_commit: first },
    });
    expect((await call('get-sync-status')).mirrors[0]).toMatchObject({
      status: 'pinned',
      commit: first,
      seen_commit: second,
      behind: true,
      pin: { by: 'ada' },
    });

    expect(await call('sync-from-git', { resume: true })).toMatchObject({ commit: second, pinned: false });
    expect(await call('get-policy', { path: 'prod.a', source: true })).toMatchObject({ source: 'two' });
    await expect(call('rollback-to-commit', { commit: 'feedbeef' })).rejects.toMatchObject({ reason: 'not_found' });
    source.git('checkout', '--quiet', '-b', 'other', first);
    const elsewhere = source.commit({ 'prod/a.policy.yaml': 'other' });
    source.git('checkout', '--quiet', 'main');
    await expect(call('rollback-to-commit', { commit: elsewhere })).rejects.toMatchObject({ reason: 'not_found' });
  });
});
