import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { RouteRequest } from '../api/method.ts';
import { adminCaller, type ControlFixture, controlFixture } from '../testkit/control.ts';
import { type FixtureRepository, fixtureRepository } from '../testkit/git-repository.ts';
import { fakeTime } from '../testkit/time.ts';
import { type ConfiguredRepository, createGitOpsService, type GitOpsEvent } from './service.ts';
import { isAuthentic, readPush } from './webhook.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const minute = 60_000;

function repository(): FixtureRepository {
  const made = fixtureRepository();
  cleanups.push(made.destroy);
  return made;
}

async function node(): Promise<ControlFixture> {
  const stateDir = mkdtempSync(join(tmpdir(), 'ipe-gitops-'));
  const made = await controlFixture({ stateDir });
  cleanups.push(() => rmSync(stateDir, { recursive: true, force: true }), made.close);
  return made;
}

async function following(fixture: ControlFixture, ...repositories: Partial<ConfiguredRepository>[]) {
  const time = fakeTime();
  const events: GitOpsEvent[] = [];
  const service = createGitOpsService({
    engine: fixture.sync,
    registry: fixture.registry,
    repositories: repositories.map((each) => ({ repository: '', prefix: '', intervalMs: minute, ...each })),
    baseDir: '/',
    timer: time.timer,
    random: () => 0.5,
    onEvent: (event) => events.push(event),
  });
  cleanups.push(() => service.stop());
  await service.start();
  await service.settled();
  return {
    service,
    events,
    kinds: () => events.map(({ kind }) => kind),
    /** Lets time pass, and what falls due come to its end. */
    async pass(ms: number) {
      for (let passed = 0; passed < ms; passed += minute) {
        await time.advance(minute);
        await service.settled();
      }
    },
    webhook(headers: Record<string, string>, body: string): Promise<unknown> {
      const route = service.routes[0]!;
      const request = {
        params: {},
        query: new URLSearchParams(),
        headers,
        body: Buffer.from(body),
        contentType: '',
        json: () => null,
        call: async () => null,
      } satisfies RouteRequest;
      return Promise.resolve(route.handle(request, { caller: adminCaller, signal: new AbortController().signal }));
    },
  };
}

describe('configured repositories', () => {
  test('are synced at the start, and again when the branch has moved', async () => {
    const source = repository();
    source.commit({ 'a.policy.yaml': '1' });
    const fixture = await node();
    const { kinds, pass } = await following(fixture, { repository: source.directory, prefix: 'team' });
    expect(await fixture.call('get-policy', { path: 'team.a', source: true })).toMatchObject({ source: '1' });
    await pass(minute);
    expect(kinds()).toEqual(['synced']);
    source.commit({ 'a.policy.yaml': '2' });
    await pass(minute);
    expect(kinds()).toEqual(['synced', 'synced']);
    expect(await fixture.call('get-policy', { path: 'team.a', source: true })).toMatchObject({ source: '2' });
    expect((await fixture.call('get-sync-status')).mirrors).toMatchObject([
      { configured: true, status: 'synced', prefix: 'team' },
    ]);
    expect((await fixture.call('log')).commits[0].trailers['Ipe-Synced-By']).toBe('git-sync');
  });

  test('a commit that does not compile is tried once, an unreachable repository less and less often', async () => {
    const source = repository();
    source.commit({ 'a.policy.yaml': '1' });
    const fixture = await node();
    const { events, kinds, pass } = await following(
      fixture,
      { repository: source.directory, prefix: 'one' },
      { repository: '/nowhere/at/all', prefix: 'two' },
    );
    expect(kinds().sort()).toEqual(['failed', 'synced']);
    source.commit({ 'a.policy.yaml': 'error: broken' });
    await pass(15 * minute);
    const [one, two] = [
      events.filter(({ repository: from }) => from === source.directory),
      events.filter(({ repository: from }) => from !== source.directory),
    ];
    expect(one.map(({ kind }) => kind)).toEqual(['synced', 'failed']);
    expect(two.map((event) => (event.kind === 'failed' ? event.retryMs / minute : null))).toEqual([1, 2, 4, 8, 16]);
    source.commit({ 'a.policy.yaml': 'mended' });
    await pass(minute);
    expect(events.at(-1)).toMatchObject({ kind: 'synced', repository: source.directory });
  });

  test('drift is told once and left until the next commit; a pinned mirror only looks', async () => {
    const source = repository();
    const first = source.commit({ 'a.policy.yaml': '1' });
    const fixture = await node();
    const { events, pass } = await following(fixture, { repository: source.directory, prefix: 'team' });
    await fixture.call('put-policy', { path: 'team.a', source: 'mine', force: true });
    await pass(3 * minute);
    expect(events.slice(1)).toEqual([{ kind: 'drift', repository: source.directory, paths: ['team.a'] }]);
    expect(await fixture.call('get-policy', { path: 'team.a', source: true })).toMatchObject({ source: 'mine' });
    source.commit({ 'a.policy.yaml': '2' });
    await pass(minute);
    expect(await fixture.call('get-policy', { path: 'team.a', source: true })).toMatchObject({ source: '2' });
    await fixture.call('rollback-to-commit', { commit: first });
    const third = source.commit({ 'a.policy.yaml': '3' });
    await pass(3 * minute);
    expect(await fixture.call('get-policy', { path: 'team.a', source: true })).toMatchObject({ source: '1' });
    expect(events.at(-1)).toEqual({ kind: 'pinned', repository: source.directory, seenCommit: third });
  });

  test('overlapping prefixes are refused, and a mirror of configuration is not taken over by a single sync', async () => {
    const [one, two] = [repository(), repository()];
    one.commit({ 'a.policy.yaml': '1' });
    two.commit({ 'b.policy.yaml': '1' });
    const fixture = await node();
    await expect(
      following(
        fixture,
        { repository: one.directory, prefix: 'team' },
        { repository: two.directory, prefix: 'team.sub' },
      ),
    ).rejects.toThrow('both own');
    await following(fixture, { repository: one.directory, prefix: 'team' });
    await expect(fixture.call('sync-from-git', { repository: two.directory, prefix: 'team' })).rejects.toMatchObject({
      reason: 'conflict',
    });
    await expect(fixture.call('sync-from-git', { repository: two.directory, prefix: 'other' })).resolves.toMatchObject({
      policies_added: 1,
    });
  });
});

describe('webhooks', () => {
  const secret = 'it is a secret';
  const push = (branch: string) => JSON.stringify({ ref: `refs/heads/${branch}` });
  const github = (body: string, key = secret) => ({
    'x-github-event': 'push',
    'x-hub-signature-256': `sha256=${createHmac('sha256', key).update(body).digest('hex')}`,
  });

  test('signed by GitHub or GitLab bring the news at once', async () => {
    const source = repository();
    source.commit({ 'a.policy.yaml': '1' });
    const fixture = await node();
    const followed = await following(fixture, {
      repository: source.directory,
      branch: 'main',
      prefix: 'team',
      webhookSecret: async () => secret,
    });
    const id = fixture.registry.list()[0]!.id;
    source.commit({ 'a.policy.yaml': '2' });
    expect(await followed.webhook(github(push('main')), push('main'))).toEqual({
      status: 202,
      body: { mirrors: [id] },
    });
    await followed.service.settled();
    expect(await fixture.call('get-policy', { path: 'team.a', source: true })).toMatchObject({ source: '2' });
    source.commit({ 'a.policy.yaml': '3' });
    expect(
      await followed.webhook({ 'x-gitlab-event': 'Push Hook', 'x-gitlab-token': secret }, push('main')),
    ).toMatchObject({ body: { mirrors: [id] } });
    await followed.service.settled();
    expect(await fixture.call('get-policy', { path: 'team.a', source: true })).toMatchObject({ source: '3' });
    expect(await followed.webhook(github(push('other')), push('other'))).toMatchObject({ body: { mirrors: [] } });
    expect(await followed.webhook({ ...github('{}'), 'x-github-event': 'ping' }, '{}')).toMatchObject({
      body: { mirrors: [] },
    });
  });

  test('that are unsigned, wrongly signed or altered are refused', async () => {
    const source = repository();
    source.commit({ 'a.policy.yaml': '1' });
    const fixture = await node();
    const { webhook } = await following(fixture, {
      repository: source.directory,
      prefix: 'team',
      webhookSecret: async () => secret,
    });
    for (const [headers, body] of [
      [{ 'x-github-event': 'push' }, push('main')],
      [github(push('main'), 'guess'), push('main')],
      [github(push('main')), push('main ')],
      [{ 'x-gitlab-event': 'Push Hook', 'x-gitlab-token': 'guess' }, push('main')],
    ] as const)
      await expect(webhook(headers, body)).rejects.toMatchObject({ reason: 'unauthenticated' });
    expect(isAuthentic({ headers: { 'x-gitlab-token': '' }, body: new Uint8Array() }, '')).toBe(false);
    const { webhook: none } = await following(await node(), { repository: source.directory, prefix: 'team' });
    await expect(none(github(push('main')), push('main'))).rejects.toMatchObject({ reason: 'unauthenticated' });
  });

  test('name the branch in JSON or in a form, and need not name one', () => {
    const body = (text: string) => ({ headers: { 'x-github-event': 'push' }, body: Buffer.from(text) });
    expect(readPush(body(push('release/1')))).toEqual({ host: 'github', news: true, branch: 'release/1' });
    expect(
      readPush({
        headers: { 'x-github-event': 'push', 'content-type': 'application/x-www-form-urlencoded' },
        body: Buffer.from(`payload=${encodeURIComponent(push('main'))}`),
      }),
    ).toMatchObject({ branch: 'main' });
    for (const odd of ['', 'nonsense', 'null', '{"ref": 3}'])
      expect(readPush(body(odd))).toEqual({ host: 'github', news: true });
    expect(() => readPush({ headers: {}, body: new Uint8Array() })).toThrow('names no event');
  });
});
