import { type Page, type PolicySnapshot, verifyProof } from '../tree/index.ts';
import { assertDeepEqual, assertRejects, assertTrue } from './assert.ts';
import type { TreeCase, TreeCaseContext } from './tree.ts';
import { refused } from './tree-writes.ts';

/** A tree whose names sort badly, with a second root after it, so that reads of both old and current roots are tried. */
async function filled({
  store,
  apply,
  put,
}: TreeCaseContext): Promise<{ current: PolicySnapshot; old: PolicySnapshot }> {
  const paths = [
    'config',
    'config-a.x',
    'config0',
    'prod.api.rate_limit',
    'prod.deployment.approval',
    'prod.deployment.validation',
  ];
  const first = await apply(
    store,
    paths.map((path) => put(path, `policy ${path}`, path === 'config' ? 'tests' : undefined)),
  );
  await apply(store, [put('prod.api.rate_limit', 'newer'), put('staging.deployment.approval', 'one more')]);
  return { current: store.current(), old: await store.at(first.commit) };
}

async function allPages<T>(read: (cursor: string | undefined) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  for (let cursor: string | undefined, pages = 0; pages === 0 || cursor !== undefined; pages++) {
    const page = await read(cursor);
    items.push(...page.items);
    cursor = page.cursor;
    assertTrue(pages < 100, 'pages come to an end');
  }
  return items;
}

const paths = (items: readonly { readonly path: string }[]): string[] => items.map((item) => item.path);

/** Look-up, enumeration at current and old roots, proofs. */
export const readCases: Readonly<Record<string, TreeCase>> = {
  'a policy is found with its files, and what is not there is not': async (context) => {
    const { current, old } = await filled(context);
    for (const snapshot of [current, old]) {
      const policy = (await snapshot.readPolicy('config'))!;
      assertDeepEqual(policy.files, context.files('policy config', 'tests'));
      assertDeepEqual(await snapshot.lookup('config'), policy.info);
      assertDeepEqual((await snapshot.lookup('prod'))!.kind, 'directory');
      assertDeepEqual((await snapshot.lookup(''))!.hash, snapshot.root);
      for (const absent of ['nothing', 'config.below', 'prod.nothing.at.all']) {
        assertDeepEqual(await snapshot.lookup(absent), undefined);
        assertDeepEqual(await snapshot.readPolicy(absent), undefined);
      }
      assertDeepEqual(await snapshot.readPolicy('prod'), undefined);
      await assertRejects(() => snapshot.lookup('Not A Path'), refused('invalid_params'));
    }
    assertDeepEqual(await old.lookup('staging'), undefined);
    assertDeepEqual(
      (await old.readPolicy('prod.api.rate_limit'))!.files.source,
      context.files('policy prod.api.rate_limit').source,
    );
  },

  'the index of the current root answers at once and steps aside for the next root': async (context) => {
    const { current, old } = await filled(context);
    const index = current.index()!;
    assertDeepEqual(index.root, current.root);
    assertDeepEqual(index.lookup('config'), await current.lookup('config'));
    assertDeepEqual(paths(index.policiesBelow('prod.deployment')), [
      'prod.deployment.approval',
      'prod.deployment.validation',
    ]);
    assertDeepEqual(paths(index.policiesBelow('config')), ['config']);
    assertDeepEqual(index.policiesBelow('nothing'), []);
    assertDeepEqual(old.index(), undefined);
    await context.apply(context.store, [context.put('later', '1')]);
    assertDeepEqual(current.index(), undefined);
    assertDeepEqual(await current.lookup('later'), undefined);
  },

  'policies are listed by whole-segment prefix in path order, page by page': async (context) => {
    const { current, old } = await filled(context);
    const all = [
      'config',
      'config-a.x',
      'config0',
      'prod.api.rate_limit',
      'prod.deployment.approval',
      'prod.deployment.validation',
    ];
    for (const snapshot of [current, old]) {
      const expected = snapshot === current ? [...all, 'staging.deployment.approval'] : all;
      assertDeepEqual(paths((await snapshot.listPolicies()).items), expected);
      assertDeepEqual(paths(await snapshot.policiesBelow('')), expected);
      for (const limit of [1, 2, 3, 5]) {
        const items = await allPages((cursor) =>
          snapshot.listPolicies({ limit, ...(cursor === undefined ? {} : { cursor }) }),
        );
        assertDeepEqual(paths(items), expected);
      }
      assertDeepEqual(paths((await snapshot.listPolicies({ prefix: 'config' })).items), ['config']);
      assertDeepEqual(paths((await snapshot.listPolicies({ prefix: 'prod.dep' })).items), []);
      assertDeepEqual(paths((await snapshot.listPolicies({ prefix: 'prod.deployment' })).items), all.slice(4));
      for (const item of (await snapshot.listPolicies()).items) assertDeepEqual(await snapshot.lookup(item.path), item);
    }
  },

  'children are listed by name with their kind, page by page': async (context) => {
    const { current, old } = await filled(context);
    for (const snapshot of [current, old]) {
      const items = await allPages((cursor) =>
        snapshot.listChildren('', { limit: 2, ...(cursor === undefined ? {} : { cursor }) }),
      );
      const expected = [
        ['config', 'policy'],
        ['config-a', 'directory'],
        ['config0', 'policy'],
        ['prod', 'directory'],
        ['staging', 'directory'],
      ];
      assertDeepEqual(
        items.map(({ name, kind }) => [name, kind]),
        snapshot === current ? expected : expected.slice(0, 4),
      );
    }
    await assertRejects(
      () => current.listChildren('prod.deploymant'),
      refused('not_found', { nearest: 'prod.deployment' }),
    );
    await assertRejects(() => current.listChildren('config'), refused('invalid_params'));
    await assertRejects(() => old.listChildren('nothing'), refused('not_found'));
  },

  'a subtree is walked depth first or breadth first, to any depth, page by page': async (context) => {
    const { current, old } = await filled(context);
    const dfs = [
      'prod',
      'prod.api',
      'prod.api.rate_limit',
      'prod.deployment',
      'prod.deployment.approval',
      'prod.deployment.validation',
    ];
    const bfs = [
      'prod',
      'prod.api',
      'prod.deployment',
      'prod.api.rate_limit',
      'prod.deployment.approval',
      'prod.deployment.validation',
    ];
    for (const snapshot of [current, old]) {
      for (const [order, expected] of [
        ['dfs', dfs],
        ['bfs', bfs],
      ] as const) {
        const whole = await snapshot.getSubtree('prod', { order });
        assertDeepEqual(paths(whole.items), expected);
        assertDeepEqual(
          whole.items.map((item) => item.depth),
          expected.map((path) => path.split('.').length - 1),
        );
        for (const limit of [1, 2, 4]) {
          const items = await allPages((cursor) =>
            snapshot.getSubtree('prod', { order, limit, ...(cursor === undefined ? {} : { cursor }) }),
          );
          assertDeepEqual(items, whole.items);
        }
        const shallow = await snapshot.getSubtree('prod', { order, depth: 1 });
        assertDeepEqual(paths(shallow.items), ['prod', 'prod.api', 'prod.deployment']);
      }
      assertDeepEqual(paths((await snapshot.getSubtree('config')).items), ['config']);
      assertDeepEqual(paths((await snapshot.getSubtree('prod', { depth: 0 })).items), ['prod']);
    }
    await assertRejects(() => current.getSubtree('nothing'), refused('not_found'));
    await assertRejects(() => current.getSubtree('prod', { depth: -1 }), refused('invalid_params'));
  },

  'cursors stay right while the tree changes': async ({ store, apply, put }) => {
    await apply(
      store,
      ['a', 'b', 'c.x', 'd', 'e'].map((path) => put(path, '1')),
    );
    const first = await store.current().listPolicies({ limit: 2 });
    await apply(store, [put('a0', '1'), put('c.y', '1'), { path: 'b', delete: true }, { path: 'd', delete: true }]);
    const second = await store.current().listPolicies({ limit: 10, cursor: first.cursor! });
    // Nothing comes twice; what stood all the time is there; what came behind the cursor too.
    assertDeepEqual(paths([...first.items, ...second.items]), ['a', 'b', 'c.x', 'c.y', 'e']);
    for (const cursor of ['nonsense', 'children:a', 'policies:NOT A PATH']) {
      await assertRejects(() => store.current().listPolicies({ cursor }), refused('invalid_params'));
    }
    for (const limit of [0, -1, 1.5, 10_001]) {
      await assertRejects(() => store.current().listPolicies({ limit }), refused('invalid_params'));
    }
  },

  'an update drops the cached listings that it touches': async ({ store, apply, put }) => {
    await apply(store, [put('a.x', '1'), put('b.x', '1')]);
    for (const text of ['2', '3']) {
      const before = (await store.current().listChildren('')).items;
      await apply(store, [put('a.x', text), put(`a.n${text}`, '1')]);
      const after = (await store.current().listChildren('')).items;
      assertTrue(before[0]!.hash !== after[0]!.hash, 'the directory that changed is listed with its new hash');
      assertDeepEqual(after[1], before[1]);
      assertTrue(
        paths((await store.current().listPolicies()).items).includes(`a.n${text}`),
        'the new policy is listed',
      );
    }
  },

  'a proof shows a policy, a directory or an absence to whoever trusts the commit': async (context) => {
    const { current, old } = await filled(context);
    const { store, primitives } = context;
    for (const snapshot of [current, old]) {
      const rootCommit = snapshot.commit!;
      const prove = async (path: string) =>
        verifyProof(primitives, await store.prove(path, rootCommit), { rootCommit });
      const policy = await prove('prod.deployment.approval');
      const info = (await snapshot.lookup('prod.deployment.approval'))!;
      assertDeepEqual(
        [policy.kind, policy.kind === 'policy' && policy.hash, policy.root],
        ['policy', info.hash, snapshot.root],
      );
      const directory = await prove('prod.deployment');
      const names = directory.kind === 'directory' ? directory.children.map((child) => child.name) : [];
      assertDeepEqual(names, ['approval', 'validation']);
      const root = await prove('');
      assertDeepEqual(root.kind === 'directory' && root.hash, snapshot.root);
      for (const [path, within] of [
        ['prod.nothing', 'prod'],
        ['config.below', 'config'],
        ['nothing.at.all', ''],
      ] as const) {
        const absent = await prove(path);
        assertDeepEqual([absent.kind, absent.kind === 'absent' && absent.within], ['absent', within]);
      }
    }
  },

  'a proof that was altered in any byte, cut, or is of another commit proves nothing': async (context) => {
    const { current, old } = await filled(context);
    const { store, primitives } = context;
    const rootCommit = current.commit!;
    for (const path of ['prod.deployment.approval', 'prod', 'prod.nothing']) {
      const proof = await store.prove(path);
      verifyProof(primitives, proof, { rootCommit });
      const broken = (nodes: readonly Uint8Array[], commit = rootCommit) =>
        assertRejects(() => verifyProof(primitives, { ...proof, nodes }, { rootCommit: commit }), refused('corrupt'));
      await broken(proof.nodes, old.commit!);
      await broken(proof.nodes.slice(0, -1));
      await broken([...proof.nodes, proof.nodes[0]!]);
      for (let i = 0; i < proof.nodes.length; i++) {
        const node = proof.nodes[i]!;
        for (let at = 0; at < node.length; at++) await broken(proof.nodes.with(i, node.with(at, node[at]! ^ 1)));
      }
    }
  },
};
