import { afterEach, describe, expect, test } from 'vitest';
import { createNodeCompiler } from '../policies/node-compiler.ts';
import { type ControlFixture, controlFixture, fakeSession } from '../testkit/control.ts';

const open: ControlFixture[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((fixture) => fixture.close()));
});

async function control(options: Parameters<typeof controlFixture>[0] = {}): Promise<ControlFixture> {
  const made = await controlFixture(options);
  open.push(made);
  return made;
}

describe('writing policies', () => {
  test('a policy that is put can be read back, with its version, its author and its place in the history', async () => {
    const { call } = await control();
    const put = await call('put-policy', { path: 'prod.a', source: 'one\nwarning: doubtful', test: 'one' });
    expect(put).toMatchObject({
      path: 'prod.a',
      changed: true,
      warnings: [{ message: 'doubtful', line: 2, file: 'prod.a.policy.yaml' }],
    });
    const got = await call('get-policy', { path: 'prod.a', source: true });
    expect(got).toMatchObject({
      version: put.version,
      root: put.root,
      commit: put.commit,
      source: 'one\nwarning: doubtful',
      test: 'one',
      tested: true,
    });
    expect(got.last_change).toMatchObject({
      author: { name: 'ada', email: 't1@ipe' },
      message: 'Put prod.a',
      trailers: { 'Ipe-Compiler': 'scripted/1' },
    });
    expect(await call('get-policy', { path: 'prod.a' })).not.toHaveProperty('source');
    const again = await call('put-policy', { path: 'prod.a', source: 'one\nwarning: doubtful', test: 'one' });
    expect(again).toMatchObject({ version: put.version, root: put.root, commit: put.commit, changed: false });
  });

  test('problems are refused with their places, failing tests by name, and nothing changes', async () => {
    const { call, store } = await control();
    const before = store.current().root;
    const refused = call('apply', {
      changes: [
        { path: 'a', source: 'fine' },
        { path: 'b', source: 'x\nerror: no such field' },
        { path: 'c', source: 'y', test: 'y\nz' },
      ],
    });
    await expect(refused).rejects.toMatchObject({
      reason: 'policy_invalid',
      message: 'b.policy.yaml:2:1: no such field; 1 test failed: `z` of `c`: expected allow, got deny',
      details: {
        problems: [{ file: 'b.policy.yaml', path: 'b', line: 2, column: 1, message: 'no such field' }],
        failed_tests: [{ path: 'c', name: 'z', passed: false }],
        file: 'b.policy.yaml',
        line: 2,
      },
    });
    expect(store.current().root).toBe(before);
  });

  test('expected_root and expected_version are strict, and null means absent', async () => {
    const { call } = await control();
    const first = await call('put-policy', { path: 'a', source: '1', expected_version: null });
    await expect(call('put-policy', { path: 'a', source: '2', expected_version: null })).rejects.toMatchObject({
      reason: 'conflict',
    });
    const second = await call('put-policy', {
      path: 'a',
      source: '2',
      expected_version: first.version,
      expected_root: first.root,
    });
    await expect(call('put-policy', { path: 'a', source: '3', expected_version: first.version })).rejects.toMatchObject(
      { reason: 'conflict' },
    );
    await expect(call('put-policy', { path: 'b', source: '3', expected_root: first.root })).rejects.toMatchObject({
      reason: 'conflict',
      details: { expected: first.root, current: second.root },
    });
    await expect(call('delete-policy', { path: 'a', expected_version: first.version })).rejects.toMatchObject({
      reason: 'conflict',
    });
    expect(await call('delete-policy', { path: 'a', expected_version: second.version })).toMatchObject({ path: 'a' });
  });

  test('many changes are one commit; a dry run is none', async () => {
    const { call, store } = await control();
    await call('put-policy', { path: 'old.x', source: 'x' });
    const before = store.current();
    const changes = [
      { path: 'old.x', delete: true },
      ...Array.from({ length: 50 }, (_, i) => ({ path: `new.p${i}`, source: `${i}`, test: `${i}` })),
    ];
    const dry = await call('apply', { changes, dry_run: true });
    expect(store.current().root).toBe(before.root);
    const applied = await call('apply', { changes, message: 'Move everything' });
    expect(applied.root).toBe(dry.root);
    expect(applied.changed).toHaveLength(51);
    expect(applied.tests).toBe(50);
    const { commits } = await call('log');
    expect(commits[0]).toMatchObject({ commit: applied.commit, parents: [before.commit], message: 'Move everything' });
    expect(await call('status')).toMatchObject({ policies: 50, root: applied.root });
  });

  test('one path twice, an unknown parameter, a removal of nothing and a bad path are each named', async () => {
    const { call } = await control();
    await call('put-policy', { path: 'prod.deployment.approval', source: 'x' });
    await expect(
      call('apply', {
        changes: [
          { path: 'a', source: '1' },
          { path: 'a', delete: true },
        ],
      }),
    ).rejects.toThrow('`a` ');
    await expect(call('put-policy', { pth: 'a', source: '1' })).rejects.toThrow('did you mean `path`?');
    await expect(call('apply', { changes: [{ path: 'a', delete: true, source: 'x' }] })).rejects.toThrow(
      '`changes[0].source` does not go together with `delete`',
    );
    await expect(call('delete-policy', { path: 'prod.deploymnt.aproval' })).rejects.toMatchObject({
      reason: 'not_found',
      details: { nearest: 'prod.deployment.approval' },
    });
    await expect(call('get-policy', { path: 'prod.deployment.aproval' })).rejects.toThrow(
      'did you mean `prod.deployment.approval`?',
    );
    await expect(call('get-policy', { path: 'prod.deployment' })).rejects.toThrow('is a directory');
    for (const path of ['Prod', 'a..b', '.a', 'a b', 'x'.repeat(65)])
      await expect(call('put-policy', { path, source: 'x' }), path).rejects.toMatchObject({ reason: 'invalid_params' });
    await expect(call('put-policy', { path: 'prod.deployment', source: 'x' })).rejects.toMatchObject({
      reason: 'invalid_params',
    });
  });

  test('check compiles and tests without storing', async () => {
    const { call, store } = await control();
    const root = store.current().root;
    const report = await call('check', {
      changes: [
        { path: 'a', source: 'warning: w', test: 'w\nq' },
        { path: 'b', source: 'error: e' },
      ],
    });
    expect(report).toMatchObject({
      ok: false,
      policies: 2,
      problems: [{ path: 'b', message: 'e' }],
      warnings: [{ path: 'a', message: 'w' }],
      tests: { passed: 1, failed: 1 },
    });
    expect(await call('check', { changes: [{ path: 'a', source: 'x', test: 'x' }] })).toMatchObject({
      ok: true,
      refused: null,
    });
    expect(
      await call('check', {
        changes: [
          { path: 'a', source: 'x' },
          { path: 'a.b', source: 'x' },
        ],
      }),
    ).toMatchObject({ ok: false, problems: [], refused: { reason: 'invalid_params' } });
    expect(store.current().root).toBe(root);
  });
});

describe('reading policies', () => {
  test('listings are pages of metadata, at any root', async () => {
    const { call } = await control();
    const first = await call('apply', {
      changes: ['a.x', 'a.y', 'b.z', 'ab.q'].map((path) => ({ path, source: path })),
    });
    await call('delete-policy', { path: 'a.x' });
    const page = await call('list-policies', { limit: 2, root: first.root });
    expect(page.policies.map(({ path }: { path: string }) => path)).toEqual(['a.x', 'a.y']);
    expect(Object.keys(page.policies[0]).sort()).toEqual(['hash', 'path', 'program', 'updated_at', 'version']);
    const rest = await call('list-policies', { limit: 2, cursor: page.cursor, root: first.root });
    expect(rest.policies.map(({ path }: { path: string }) => path)).toEqual(['ab.q', 'b.z']);
    expect((await call('list-policies', { prefix: 'a' })).policies).toHaveLength(1);
    expect(
      (await call('list-children', { path: '' })).children.map(({ name, kind }: { name: string; kind: string }) => [
        name,
        kind,
      ]),
    ).toEqual([
      ['a', 'directory'],
      ['ab', 'directory'],
      ['b', 'directory'],
    ]);
    const tree = await call('get-subtree', { path: '', order: 'bfs' });
    expect(tree.nodes.map(({ path, depth }: { path: string; depth: number }) => [path, depth])).toEqual([
      ['', 0],
      ['a', 1],
      ['ab', 1],
      ['b', 1],
      ['a.y', 2],
      ['ab.q', 2],
      ['b.z', 2],
    ]);
    await expect(call('get-subtree', { path: '', order: 'bsf' })).rejects.toThrow('did you mean `bfs`?');
    await expect(call('list-children', { path: 'bb' })).rejects.toMatchObject({ reason: 'not_found' });
  });

  test('history and diff tell what happened, restore puts it back forwards', async () => {
    const { call } = await control();
    const one = await call('put-policy', { path: 'a', source: '1' });
    const two = await call('put-policy', { path: 'a', source: '2' });
    await call('delete-policy', { path: 'a' });
    const { versions } = await call('history', { path: 'a' });
    expect(
      versions.map(({ version, deleted }: { version: string; deleted: boolean }) => [version, deleted]).slice(1),
    ).toEqual([
      [two.version, false],
      [one.version, false],
    ]);
    expect(versions[0].deleted).toBe(true);
    const diff = await call('diff', { from: one.commit, to: two.commit, patches: true });
    expect(diff).toMatchObject({ added: [], removed: [], changed: [{ path: 'a' }] });
    expect(diff.changed[0].source_patch).toContain('-1');
    const restored = await call('restore', { root: two.root });
    expect(restored).toMatchObject({ root: two.root, warnings: [] });
    expect(restored.commit).not.toBe(two.commit);
    expect(await call('get-policy', { path: 'a', source: true })).toMatchObject({ source: '2' });
    await expect(call('history', { path: 'nowhere' })).rejects.toMatchObject({ reason: 'not_found' });
  });

  test('a staging ref is written, promoted and pinned', async () => {
    const { call } = await control();
    await call('put-policy', { path: 'a', source: '1' });
    const staged = await call('put-policy', { path: 'a', source: '2', ref: 'staging' });
    expect(await call('get-policy', { path: 'a', source: true })).toMatchObject({ source: '1' });
    expect(await call('get-policy', { path: 'a', source: true, root: 'staging' })).toMatchObject({ source: '2' });
    expect(await call('promote', { from: 'staging', to: 'main' })).toMatchObject({ root: staged.root });
    expect(await call('get-policy', { path: 'a', source: true })).toMatchObject({ source: '2' });
    await call('pin', { name: 'release-1', root: 'main' });
    const { refs } = await call('refs');
    expect(refs.map(({ name, kind }: { name: string; kind: string }) => [name, kind]).sort()).toEqual([
      ['main', 'branch'],
      ['release-1', 'pin'],
      ['staging', 'branch'],
    ]);
    await call('unpin', { name: 'release-1' });
    expect((await call('refs')).refs).toHaveLength(2);
  });
});

describe('subscriptions', () => {
  test('tell of changes below the prefix until they end', async () => {
    const { call } = await control();
    const session = fakeSession();
    const { subscription } = await call('subscribe', { prefix: 'prod' }, { session });
    const put = await call('put-policy', { path: 'prod.a', source: '1' });
    await call('put-policy', { path: 'dev.a', source: '1' });
    await call('delete-policy', { path: 'prod.a' });
    expect(session.sent).toMatchObject([
      { event: 'policy-updated', data: { path: 'prod.a', change: 'added', version: put.version, root: put.root } },
      { event: 'policy-updated', data: { path: 'prod.a', change: 'removed', version: null } },
    ]);
    await call('unsubscribe', { subscription }, { session });
    await call('put-policy', { path: 'prod.b', source: '1' });
    expect(session.sent).toHaveLength(2);
    await call('subscribe', {}, { session });
    session.end();
    expect(await call('status')).toMatchObject({ subscriptions: 0 });
    await expect(call('subscribe', {})).rejects.toMatchObject({ reason: 'invalid_request' });
  });

  test('a reader that does not keep up is told the newest state of each policy once', async () => {
    const { call } = await control();
    const session = fakeSession();
    const held: (() => void)[] = [];
    const notify = session.notify;
    session.notify = async (event, data) => {
      await new Promise<void>((resolve) => held.push(resolve));
      await notify(event, data);
    };
    await call('subscribe', {}, { session });
    for (let i = 0; i < 20; i++) await call('put-policy', { path: 'a', source: `${i}` });
    const last = await call('put-policy', { path: 'b', source: 'x' });
    while (session.sent.length < 3) {
      for (const resolve of held.splice(0)) resolve();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(session.sent.map(({ data }) => data.path)).toEqual(['a', 'a', 'b']);
    expect(session.sent[2]?.data.root).toBe(last.root);
  });
});

describe('a large apply', () => {
  const source = (i: number) => `
description: policy ${i}
matchConditions: [{expression: resource.type == "thing${i % 7}"}]
validations:
  - expression: subject.id in ["u${i}", "root"] && size(subject.id) < ${i}.0 + 20.0
    reason: not_owner
`;
  const tests = (i: number) => `
now: 2026-01-01T00:00:00Z
request: {subject: {type: user, id: u${i}}, action: {name: read}, resource: {type: thing${i % 7}, id: x}}
tests:
  - {name: owner, expect: {decision: allow}}
  - name: stranger
    request: {subject: {type: user, id: eve}, action: {name: read}, resource: {type: thing${i % 7}, id: x}}
    expect: {decision: deny, reasons: [not_owner]}
`;

  test('of 2,000 policies is one commit, while reads go on and see the old root until it is made', async () => {
    const { call, store } = await control({ compiler: createNodeCompiler('0.0.0') });
    await call('put-policy', { path: 'first', source: source(0), test: tests(0) });
    const before = store.current();
    const changes = Array.from({ length: 2000 }, (_, i) => ({
      path: `area${i % 40}.p${i}`,
      source: source(i),
      ...(i % 20 === 0 && { test: tests(i) }),
    }));
    let done = false;
    const applying = call('apply', { changes }).finally(() => {
      done = true;
    });
    applying.catch(() => {}); // awaited below
    const roots = new Set<string>();
    let reads = 0;
    while (!done) {
      const { root, policies } = await call('list-policies', { limit: 5 });
      expect(policies).toHaveLength(root === before.root ? 1 : 5);
      roots.add(root);
      reads++;
      // Leaves the processor to the worker.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const applied = await applying;
    expect(applied.changed).toHaveLength(2000);
    expect(applied.tests).toBe(200);
    expect(reads).toBeGreaterThan(10);
    expect([...roots].filter((root) => root !== before.root && root !== applied.root)).toEqual([]);
    const { commits } = await call('log');
    expect(commits.map(({ commit }: { commit: string }) => commit)).toEqual([applied.commit, before.commit]);
    expect(commits[0].message).toBe('Put 2000 policies');

    const failing = [...changes.slice(0, 30), { path: 'bad', source: source(5), test: tests(6) }];
    await expect(call('apply', { changes: failing })).rejects.toMatchObject({
      reason: 'policy_invalid',
      details: { failed_tests_total: 2, failed_tests: [{ path: 'bad', name: 'owner' }, { name: 'stranger' }] },
    });
    expect(store.current().root).toBe(applied.root);
  });
});
