import { isIpeError, type Reason } from '../errors.ts';
import { emptyRoot, type TreeChange, type UpdateEvent } from '../tree/index.ts';
import { assertDeepEqual, assertRejects, assertTrue } from './assert.ts';
import type { TreeCase } from './tree.ts';

/** Accepts an `IpeError` of a reason whose details hold what is given. */
export function refused(reason: Reason, details: Readonly<Record<string, unknown>> = {}): (error: unknown) => boolean {
  return (error) => {
    if (!isIpeError(error) || error.reason !== reason || error.state !== 'unchanged') return false;
    for (const [field, value] of Object.entries(details)) assertDeepEqual(error.details[field], value, field);
    return true;
  };
}

/** Updates, their conditions and limits, refs. */
export const writeCases: Readonly<Record<string, TreeCase>> = {
  'a new store is empty and has the empty root': async ({ store }) => {
    assertDeepEqual(store.current().root, emptyRoot);
    assertDeepEqual(store.current().commit, null);
    assertDeepEqual(await store.current().listPolicies(), { items: [] });
    assertDeepEqual(store.refs(), []);
  },

  'an update says what it changed, added, removed and reused': async ({ store, apply, put }) => {
    const first = await apply(store, [put('a.b.c', '1'), put('a.b.d', '1'), put('a.e', '1', 'tests')]);
    assertDeepEqual(
      first.changed.map(({ path, change }) => [path, change]),
      [
        ['a.b.c', 'added'],
        ['a.b.d', 'added'],
        ['a.e', 'added'],
      ],
    );
    const second = await apply(store, [put('a.b.c', '2'), { path: 'a.e', delete: true }, put('a.b.d', '1')]);
    assertDeepEqual(
      second.changed.map(({ path, change }) => [path, change]),
      [
        ['a.b.c', 'changed'],
        ['a.e', 'removed'],
      ],
    );
    assertDeepEqual(second.previousRoot, first.root);
    assertDeepEqual(second.changed[0]!.previousVersion, first.changed[0]!.version);
    // Source, program and tree of `a.b.c`, three directories, the root commit, two versions.
    assertDeepEqual(second.newObjects, 9);
    assertTrue(second.reusedObjects >= 2, 'manifest and `a.b.d` are reused');
  },

  'an update that changes nothing makes no commit': async ({ store, apply, put }) => {
    const first = await apply(store, [put('a', '1', 'tests')]);
    const second = await apply(store, [put('a', '1', 'tests')]);
    assertDeepEqual(second.commit, first.commit);
    assertDeepEqual(second.changed, []);
    const third = await apply(store, [], { allowEmpty: true, trailers: [['Ipe-Source-Commit', 'abc']] });
    assertDeepEqual(third.root, first.root);
    assertTrue(third.commit !== first.commit, 'a commit was asked for');
    assertDeepEqual((await store.log()).items[0]!.trailers, [['Ipe-Source-Commit', 'abc']]);
  },

  'a change of the tests alone is a version of the policy with the same content': async ({ store, apply, put }) => {
    const before = await apply(store, [put('a', '1', 'one')]);
    const after = await apply(store, [put('a', '1', 'two')]);
    const [newer, older] = (await store.history('a')).items;
    assertDeepEqual(newer!.hash, older!.hash);
    assertDeepEqual(
      (await store.diff(before.root, after.root)).map((entry) => entry.parts),
      [['test']],
    );
    await apply(store, [put('a', '1')]);
    assertDeepEqual((await store.current().readPolicy('a'))!.files.test, undefined);
  },

  'a dry run says the same and stores nothing': async ({ store, apply, put }) => {
    await apply(store, [put('a', '1')]);
    const before = store.current();
    const timeMs = 1_750_000_000_000;
    const dry = await apply(store, [put('a', '2'), put('b', '1')], { dryRun: true, timeMs });
    assertDeepEqual([store.current().root, store.current().commit], [before.root, before.commit]);
    assertDeepEqual(await apply(store, [put('a', '2'), put('b', '1')], { timeMs }), dry);
  },

  'a root that moved is a conflict that names what is current': async ({ store, apply, put }) => {
    const first = await apply(store, [put('a', '1')], { expectedRoot: emptyRoot });
    const second = await apply(store, [put('a', '2')], { expectedRoot: first.commit });
    const current = { current: second.root, commit: second.commit, expected: first.root };
    await assertRejects(
      () => apply(store, [put('b', '1')], { expectedRoot: first.root }),
      refused('conflict', current),
    );
    assertDeepEqual(store.current().root, second.root);
  },

  'a version that moved is a conflict of that change, and nothing else is applied': async ({ store, apply, put }) => {
    const first = await apply(store, [{ ...put('a', '1'), expectedVersion: null }]);
    const { version } = first.changed[0]!;
    const change = put('a', '2');
    await assertRejects(
      () => apply(store, [put('b', '1'), { ...change, expectedVersion: null }]),
      refused('conflict', { path: 'a', current: version }),
    );
    await assertRejects(
      () => apply(store, [{ ...put('c', '1'), expectedVersion: version }]),
      refused('conflict', { path: 'c', current: null }),
    );
    await apply(store, [{ ...change, expectedVersion: version }]);
    await assertRejects(
      () => apply(store, [{ path: 'a', delete: true, expectedVersion: version }]),
      refused('conflict', { path: 'a' }),
    );
    assertDeepEqual(
      (await store.current().listPolicies()).items.map((item) => item.path),
      ['a'],
    );
  },

  'bad updates are refused whole': async ({ store, apply, put }) => {
    await apply(store, [put('a.b', '1'), put('prod.deployment', '1')]);
    const { root } = store.current();
    const cases: [TreeChange[], Reason][] = [
      [[put('a.B', '1')], 'invalid_params'],
      [[put('', '1')], 'invalid_params'],
      [[put('a..b', '1')], 'invalid_params'],
      [[put(`a.${'x'.repeat(65)}`, '1')], 'invalid_params'],
      [[put(Array.from({ length: 65 }, () => 'a').join('.'), '1')], 'invalid_params'],
      [[put('ok', '1'), put('c', '1'), put('c', '2')], 'invalid_params'],
      [[put('ok', '1'), put('a', '1')], 'invalid_params'],
      [[put('ok', '1'), put('a.b.c', '1')], 'invalid_params'],
      [[put('n', '1'), put('n.m', '1')], 'invalid_params'],
      [[put('ok', '1'), { path: 'prod.deploymnt', delete: true }], 'not_found'],
      [[{ path: 'a', delete: true }], 'not_found'],
    ];
    for (const [changes, reason] of cases) await assertRejects(() => apply(store, changes), refused(reason));
    await assertRejects(
      () => apply(store, [{ path: 'prod.deploymnt', delete: true }]),
      refused('not_found', { nearest: 'prod.deployment' }),
    );
    await assertRejects(
      () => apply(store, [put('ok', '1')], { author: { name: 'a<b', email: '' } }),
      refused('invalid_params'),
    );
    await assertRejects(
      () => apply(store, [put('ok', '1')], { trailers: [['Bad key', 'x']] }),
      refused('invalid_params'),
    );
    await assertRejects(
      () => apply(store, [put('ok', '1')], { trailers: [['Ipe-Path', 'x']] }),
      refused('invalid_params'),
    );
    await assertRejects(() => apply(store, [put('ok', '1')], { ref: 'a/b' }), refused('invalid_params'));
    assertDeepEqual(store.current().root, root);
  },

  'a name may change from policy to namespace and back in one update': async ({ store, apply, put }) => {
    await apply(store, [put('a', '1')]);
    await apply(store, [{ path: 'a', delete: true }, put('a.b', '1')]);
    assertDeepEqual((await store.current().lookup('a'))!.kind, 'directory');
    await apply(store, [{ path: 'a.b', delete: true }, put('a', '2')]);
    assertDeepEqual((await store.current().lookup('a'))!.kind, 'policy');
    assertDeepEqual((await store.history('a')).items.length, 3);
  },

  'a directory takes 10,000 entries and refuses one more': async ({ store, apply, put }) => {
    const many = Array.from({ length: 10_000 }, (_, i) => put(`wide.p${i}`, '1', i < 50 ? 'tests' : undefined));
    await apply(store, many);
    assertDeepEqual(store.status().policies, 10_000);
    await assertRejects(
      () => apply(store, [put('wide.more', '1')]),
      refused('too_large', { path: 'wide', limit: 10_000 }),
    );
    await apply(store, [{ path: 'wide.p7', delete: true }, put('wide.more', '1')]);
  },

  'paths of 64 segments work': async ({ store, apply, put }) => {
    const deep = Array.from({ length: 64 }, (_, i) => `s${i}`).join('.');
    const result = await apply(store, [put(deep, '1')]);
    assertDeepEqual((await store.current().readPolicy(deep))!.info.version, result.changed[0]!.version);
    assertDeepEqual((await store.current().getSubtree('')).items.length, 65);
  },

  'updates sent at once are applied one after another': async ({ store, apply, put }) => {
    const results = await Promise.all(Array.from({ length: 8 }, (_, i) => apply(store, [put(`p${i}`, '1')])));
    for (let i = 1; i < 8; i++) assertDeepEqual(results[i]!.previousCommit, results[i - 1]!.commit);
    const raced = [put('x', '1'), put('x', '2')].map((change) => apply(store, [{ ...change, expectedVersion: null }]));
    const outcomes = (await Promise.allSettled(raced)).map((each) => each.status);
    assertDeepEqual(outcomes, ['fulfilled', 'rejected']);
  },

  'watchers are told after the update took effect': async ({ store, apply, put }) => {
    const events: UpdateEvent[] = [];
    const stop = store.watch((event) => {
      assertDeepEqual(store.current().root, event.root);
      events.push(event);
    });
    store.watch(() => {
      throw new Error('a listener of its own');
    });
    const { commit } = await apply(store, [put('a.b', '1')]);
    await assertRejects(() => apply(store, [put('BAD', '1')]), refused('invalid_params'));
    stop();
    await apply(store, [put('a.b', '2')]);
    assertDeepEqual(
      events.map((event) => [event.ref, event.commit, event.changed[0]!.path]),
      [['main', commit, 'a.b']],
    );
  },

  'staging is worked on beside main and promoted to it': async ({ store, apply, put, author }) => {
    const meta = { author, timeMs: 1_750_000_000_000 };
    await apply(store, [put('a', '1'), put('b', '1')]);
    const staged = await apply(store, [put('a', '2')], { ref: 'staging' });
    assertDeepEqual(staged.changed[0]!.change, 'changed');
    const { root } = await apply(store, [{ path: 'b', delete: true }, put('c', '1')], { ref: 'staging' });
    assertDeepEqual(
      (await store.current().listPolicies()).items.map((item) => item.path),
      ['a', 'b'],
    );
    assertDeepEqual(
      (await (await store.at('staging')).listPolicies()).items.map((item) => item.path),
      ['a', 'c'],
    );
    assertDeepEqual((await store.history('a', { ref: 'staging' })).items.length, 2);
    assertDeepEqual((await store.history('a')).items.length, 1);
    const promoted = await store.promote({ from: 'staging', to: 'main', ...meta });
    assertDeepEqual(
      promoted.changed.map(({ path, change }) => [path, change]),
      [
        ['a', 'changed'],
        ['b', 'removed'],
        ['c', 'added'],
      ],
    );
    assertDeepEqual(store.current().root, root);
    assertDeepEqual((await store.log()).items.length, 3);
    assertDeepEqual((await store.history('a')).items.length, 2);
    assertDeepEqual((await store.promote({ from: 'staging', to: 'main', ...meta })).changed, []);
  },

  'a promotion that would lose changes is a conflict unless forced': async ({ store, apply, put, author }) => {
    const meta = { author, timeMs: 1_750_000_000_000 };
    await apply(store, [put('a', '1'), put('b', '1')]);
    const staged = await apply(store, [put('a', '2')], { ref: 'staging' });
    const moved = await apply(store, [put('b', '2'), put('c.d', '1')]);
    const lost = { paths: ['b', 'c.d'], current: moved.root };
    await assertRejects(() => store.promote({ from: 'staging', ...meta }), refused('conflict', lost));
    const forced = await store.promote({ from: 'staging', force: true, ...meta });
    assertDeepEqual(forced.root, staged.root);
    assertDeepEqual((await store.log()).items[0]!.parents, [moved.commit, staged.commit]);
    assertDeepEqual((await store.history('b')).items.length, 3);
  },

  'pins hold a root under a name and do not move': async ({ store, apply, put }) => {
    const first = await apply(store, [put('a', '1')]);
    await store.pin('release-1', 'main');
    const second = await apply(store, [put('a', '2')]);
    assertDeepEqual((await store.at('release-1')).root, first.root);
    await assertRejects(() => store.pin('release-1', second.commit), refused('conflict', { current: first.root }));
    await assertRejects(() => apply(store, [put('a', '3')], { ref: 'release-1' }), refused('invalid_params'));
    assertDeepEqual(
      store.refs().map(({ name, kind, root }) => [name, kind, root]),
      [
        ['main', 'branch', second.root],
        ['release-1', 'pin', first.root],
      ],
    );
    await store.unpin('release-1');
    await assertRejects(() => store.at('release-1'), refused('not_found'));
    await assertRejects(() => store.unpin('main'), refused('invalid_params'));
  },

  'a restore is one new commit with the old content': async ({ store, apply, put, author }) => {
    const first = await apply(store, [put('a.b', '1'), put('c', '1')]);
    const second = await apply(store, [put('a.b', '2'), { path: 'c', delete: true }, put('d', '1')]);
    const restored = await store.restore({ revision: first.root, author, timeMs: 1_750_000_000_000, message: 'undo' });
    assertDeepEqual(restored.root, first.root);
    assertDeepEqual(restored.previousCommit, second.commit);
    assertDeepEqual(
      restored.changed.map(({ path, change }) => [path, change]),
      [
        ['a.b', 'changed'],
        ['c', 'added'],
        ['d', 'removed'],
      ],
    );
    assertDeepEqual(
      (await store.history('c')).items.map((item) => item.hash === null),
      [false, true, false],
    );
    const [newest] = (await store.log()).items;
    assertDeepEqual([newest!.message, newest!.trailers], ['undo', [['Ipe-Restored', first.root]]]);
  },
};
