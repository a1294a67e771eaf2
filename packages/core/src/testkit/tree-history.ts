import { assertDeepEqual, assertRejects, assertTrue } from './assert.ts';
import type { TreeCase } from './tree.ts';
import { refused } from './tree-writes.ts';

const day = 24 * 3600 * 1000;

/** History, differences, revisions, verification, collection, copies. */
export const historyCases: Readonly<Record<string, TreeCase>> = {
  'the log tells commits newest first, page by page, with message and trailers': async ({
    store,
    apply,
    put,
    author,
  }) => {
    const commits: string[] = [];
    for (let i = 0; i < 5; i++) {
      const more = {
        message: `change ${i}\n\nwhy`,
        trailers: [['Ipe-Compiler', '1']] as const,
        timeMs: 1_750_000_000_500 + i * 1000,
      };
      commits.unshift((await apply(store, [put('a', `${i}`)], more)).commit);
    }
    const first = await store.log({ limit: 3 });
    const rest = await store.log({ limit: 3, cursor: first.cursor! });
    const items = [...first.items, ...rest.items];
    assertDeepEqual(
      items.map((item) => item.commit),
      commits,
    );
    assertDeepEqual(rest.cursor, undefined);
    const { message, trailers, timeMs, parents } = items[0]!;
    assertDeepEqual(
      [message, trailers, timeMs, parents],
      ['change 4\n\nwhy', [['Ipe-Compiler', '1']], 1_750_000_004_000, [commits[1]]],
    );
    assertDeepEqual(items[0]!.author, author);
  },

  'the log of a policy or a directory names the commits that changed it, page by page, at every root': async ({
    store,
    apply,
    put,
    restart,
  }) => {
    const change = async (...changes: Parameters<typeof apply>[1]) => (await apply(store, changes)).commit;
    const first = await change(put('a.b.c', '1'), put('d', '1'));
    const second = await change(put('a.x', '1'));
    const third = await change(put('d', '2'));
    const fourth = await change(put('a.b.c', '2'));
    const fifth = await change({ path: 'a.x', delete: true });
    for (const again of [false, true]) {
      const each = again ? await restart() : store;
      const log = async (path: string, ref?: string) =>
        (await each.log({ path, ...(ref === undefined ? {} : { ref }) })).items.map((item) => item.commit);
      assertDeepEqual(await log('a'), [fifth, fourth, second, first]);
      assertDeepEqual(await log('a.b'), [fourth, first]);
      assertDeepEqual(await log('a.b.c'), [fourth, first]);
      assertDeepEqual(await log('d'), [third, first]);
      assertDeepEqual(await log('a', third), [second, first]);
      assertDeepEqual(await log('a.x', fourth), [second]);
      assertDeepEqual(await log(''), [fifth, fourth, third, second, first]);
      const page = await each.log({ path: 'a', limit: 3 });
      const rest = await each.log({ path: 'a', cursor: page.cursor! });
      assertDeepEqual(
        [...page.items, ...rest.items].map((item) => item.commit),
        [fifth, fourth, second, first],
      );
      assertDeepEqual(rest.cursor, undefined);
      await assertRejects(() => each.log({ path: 'a.y' }), refused('not_found'));
    }
  },

  'a history goes back through removal and return, page by page': async ({ store, apply, put, restart }) => {
    const versions: string[] = [];
    const step = async (change: Parameters<typeof apply>[1][number]) => {
      versions.unshift((await apply(store, [change, put('other', `${versions.length}`)])).changed[0]!.version);
    };
    await step(put('a.b', '1'));
    await step(put('a.b', '2'));
    await step({ path: 'a.b', delete: true });
    const gone = await store.history('a.b');
    assertDeepEqual(gone.items[0]!.hash, null);
    await step(put('a.b', '1'));
    for (const again of [false, true]) {
      const each = again ? await restart() : store;
      const first = await each.history('a.b', { limit: 3 });
      const rest = await each.history('a.b', { cursor: first.cursor! });
      assertDeepEqual(
        [...first.items, ...rest.items].map((item) => item.version),
        versions,
      );
      for (const item of first.items) assertDeepEqual((await each.resolve(item.version)).commit, item.commit);
      await assertRejects(() => each.history('a.c'), refused('not_found', { nearest: 'a.b' }));
    }
  },

  'the last change of a policy and of a directory is known at every root': async ({ store, apply, put }) => {
    const first = await apply(store, [put('a.b', '1'), put('c.d', '1')]);
    const second = await apply(store, [put('a.b', '2')]);
    const third = await apply(store, [{ path: 'a.b', delete: true }, put('a.e', '1')]);
    const last = async (revision: string, path: string) => (await (await store.at(revision)).lastChange(path))?.commit;
    assertDeepEqual(await last('main', 'c.d'), first.commit);
    assertDeepEqual(await last('main', 'c'), first.commit);
    assertDeepEqual(await last('main', 'a'), third.commit);
    assertDeepEqual(await last('main', ''), third.commit);
    assertDeepEqual(await last('main', 'a.b'), undefined);
    assertDeepEqual(await last(second.commit, 'a.b'), second.commit);
    assertDeepEqual(await last(second.commit, 'a'), second.commit);
    assertDeepEqual(await last(first.commit, 'a'), first.commit);
    assertDeepEqual(
      (await (await store.at(second.commit)).lookup('a.b'))!.updatedAtMs,
      (await store.at(second.commit)).timeMs,
    );
  },

  'a diff names what differs, with patches where asked': async ({ store, apply, put }) => {
    const first = await apply(store, [
      put('a.b', 'one\ntwo\nthree\n', 'tests\n'),
      put('a.c', '1'),
      put('keep.it', '1'),
    ]);
    const second = await apply(store, [put('a.b', 'one\n2\nthree\n'), { path: 'a.c', delete: true }, put('d', 'new')]);
    const entries = await store.diff(first.commit, second.root, { patches: true });
    assertDeepEqual(
      entries.map(({ path, change, parts }) => [path, change, parts]),
      [
        ['a.b', 'changed', ['source', 'program', 'test']],
        ['a.c', 'removed', ['source', 'program', 'manifest']],
        ['d', 'added', ['source', 'program', 'manifest']],
      ],
    );
    assertDeepEqual(
      entries[0]!.sourcePatch,
      '--- a/a/b.policy.yaml\n+++ b/a/b.policy.yaml\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n',
    );
    assertDeepEqual(entries[0]!.testPatch, '--- a/a/b.test.yaml\n+++ /dev/null\n@@ -1 +0,0 @@\n-tests\n');
    assertDeepEqual(
      entries[2]!.sourcePatch,
      '--- /dev/null\n+++ b/d.policy.yaml\n@@ -0,0 +1 @@\n+new\n\\ No newline at end of file\n',
    );
    assertDeepEqual(
      (await store.diff(first.root, second.root, { prefix: 'a.c' })).map((entry) => entry.path),
      ['a.c'],
    );
    assertDeepEqual(await store.diff('main', second.commit), []);
  },

  "revisions are named in full or by a beginning that is no other's": async ({ store, apply, put }) => {
    const results = [];
    for (let i = 0; i < 40; i++) results.push(await apply(store, [put('a', `${i}`)]));
    for (const { root, commit, changed } of results) {
      const kinds = [
        ['root', root],
        ['commit', commit],
        ['version', changed[0]!.version],
      ] as const;
      for (const [kind, id] of kinds) {
        for (const text of [id, id.slice(0, 16), id.slice(0, 16).toUpperCase()]) {
          const found = await store.resolve(text);
          assertDeepEqual([found.kind, found.root, found.commit], [kind, root, commit]);
        }
      }
    }
    await assertRejects(() => store.resolve('0'.repeat(64)), refused('not_found'));
    await assertRejects(() => store.resolve('mian'), refused('not_found', { nearest: 'main' }));
    await assertRejects(() => store.resolve(''), refused('invalid_params'));
  },

  'a beginning of several ids is refused with all of them': async ({ store, apply, put }) => {
    const ids: string[] = [];
    for (let i = 0; ; i++) {
      const { commit, root, changed } = await apply(store, [put('a', `${i}`)]);
      ids.push(commit, root, changed[0]!.version);
      const beginnings = ids.map((id) => id.slice(0, 4));
      const twice = beginnings.find((each, at) => beginnings.indexOf(each) !== at);
      if (twice !== undefined) {
        await assertRejects(() => store.resolve(twice), refused('invalid_params'));
        return;
      }
    }
  },

  'verification finds nothing in a whole store at any level, and a scrub gets round': async ({ store, apply, put }) => {
    for (let i = 0; i < 10; i++) await apply(store, [put(`a.p${i}`, '1'), put('b', `${i}`)]);
    for (const level of ['quick', 'connectivity', 'full'] as const) {
      const report = await store.verify({ level });
      assertDeepEqual([report.problemCount, report.root], [0, store.current().root]);
    }
    let checked = 0;
    for (let cursor: string | undefined, rounds = 0; rounds === 0 || cursor !== undefined; rounds++) {
      const slice = await store.scrub(cursor, 7);
      assertDeepEqual(slice.problems, []);
      checked += slice.checkedObjects;
      cursor = slice.cursor;
    }
    assertDeepEqual(checked, (await store.verify()).checkedObjects);
  },

  'a collection gives up what is older than retention and keeps the rest whole': async ({
    store,
    apply,
    put,
    restart,
  }) => {
    const now = 1_760_000_000_000;
    const commits: string[] = [];
    for (let i = 0; i < 4; i++)
      commits.unshift(
        (await apply(store, [put('a', `${i}`), put(`b.n${i}`, '1')], { timeMs: now - (4 - i) * day })).commit,
      );
    const before = await store.current().getSubtree('');
    await store.collect({ nowMs: now, retentionMs: 1.5 * day, graceMs: day });
    const { deleted } = await store.collect({ nowMs: now + day, retentionMs: 2.5 * day, graceMs: day });
    assertTrue(deleted > 0, 'something was collected');
    for (const again of [false, true]) {
      const each = again ? await restart() : store;
      assertDeepEqual(await each.current().getSubtree(''), before);
      assertDeepEqual(
        (await each.log()).items.map((item) => item.commit),
        commits.slice(0, 2),
      );
      assertDeepEqual((await each.history('b.n0')).items.length, 1);
      await assertRejects(() => each.at(commits[3]!), refused('not_found'));
    }
  },

  'a copy taken in elsewhere is the same store, and an increment brings it up to date': async (context) => {
    const { store, apply, put, author } = context;
    const meta = { author, timeMs: 1_750_000_000_000 };
    await apply(store, [put('a.b', '1'), put('c', '1', 'tests')]);
    await apply(store, [put('a.b', '2'), { path: 'c', delete: true }]);
    const other = await context.open(context.newKv());
    const take = async (since?: string): Promise<number> => {
      const copy = await store.copy(since === undefined ? {} : { since });
      const { newObjects, release } = await other.ingest({
        objects: copy.objects(),
        heads: [copy.commit!],
        shallow: copy.shallow,
      });
      await other.promote({ from: copy.commit!, ...meta });
      release();
      copy.release();
      return newObjects;
    };
    await take();
    assertDeepEqual(await other.current().getSubtree(''), await store.current().getSubtree(''));
    const since = other.current().commit!;
    await apply(store, [put('c', '1', 'tests')]);
    // The root's tree, the root commit, a version: all else was there.
    assertDeepEqual(await take(since), 3);
    assertDeepEqual(await other.history('c'), await store.history('c'));
    assertDeepEqual(await other.log(), await store.log());
    assertDeepEqual((await other.verify()).problems, []);
  },

  'objects that are malformed or incomplete are refused': async ({ store, apply, put, newKv, open, primitives }) => {
    const { commit } = await apply(store, [put('a.b', '1')]);
    const copy = await store.copy();
    const objects: { type: 'blob' | 'tree' | 'commit'; body: Uint8Array }[] = [];
    for await (const { type, body } of copy.objects()) objects.push({ type, body });
    copy.release();
    const take = async (list: typeof objects) => {
      const other = await open(newKv());
      await other.ingest({
        objects: (async function* () {
          yield* list;
        })(),
        heads: [commit],
      });
      return other;
    };
    await take(objects);
    for (let i = 0; i < objects.length; i++) {
      const { type, body } = objects[i]!;
      const isVersion = type === 'commit' && primitives.utf8Decode(body).includes('Ipe-Path');
      // Versions and the empty tree can be derived: without them the rest is whole.
      if (isVersion || body.length === 0) continue;
      await assertRejects(() => take(objects.toSpliced(i, 1)), refused('corrupt'));
      await assertRejects(
        () => take(objects.with(i, { type, body: body.with(body.length - 1, body.at(-1)! ^ 1) })),
        refused('corrupt'),
      );
    }
  },
};
