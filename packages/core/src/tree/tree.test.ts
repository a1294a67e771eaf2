import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { codec, primitives } from '../../test/node-runtime.ts';
import { treeFixture } from '../testkit/tree-fixture.ts';
import { emptyRoot, type PolicyStore, type TreeChange } from './index.ts';

const { apply, files, newKv, open } = treeFixture({ primitives, codec });
// A few names that sort badly, so that random paths collide as policy and namespace often enough to matter.
const segment = fc.constantFrom('a', 'b', 'a-b', 'config', 'config0');
const path = fc.array(segment, { minLength: 1, maxLength: 3 }).map((segments) => segments.join('.'));
const content = fc.record({
  text: fc.constantFrom('x', 'y', 'z'),
  tests: fc.option(fc.constantFrom('t', 'u'), { nil: undefined }),
});
type Content = { text: string; tests: string | undefined };
type Step = { path: string; content: Content | null };
const step: fc.Arbitrary<Step> = fc.record({ path, content: fc.option(content, { nil: null }) });

/** The tree as a plain map: what must come of the same steps. */
function applyToModel(model: Map<string, Content>, { path: at, content: what }: Step): boolean {
  if (what === null) return model.delete(at);
  const clash = [...model.keys()].some((other) => other.startsWith(`${at}.`) || at.startsWith(`${other}.`));
  if (clash) return false;
  model.set(at, what);
  return true;
}

const toChange = ({ path: at, content: what }: Step): TreeChange =>
  what === null ? { path: at, delete: true } : { path: at, files: files(what.text, what.tests) };

async function contents(store: PolicyStore): Promise<Map<string, Content>> {
  const found = new Map<string, Content>();
  const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));
  for (const info of await store.current().policiesBelow('')) {
    const policy = (await store.current().readPolicy(info.path))!;
    found.set(info.path, { text: text(policy.files.source)!, tests: text(policy.files.test) });
  }
  return found;
}

test('a first update that changes nothing makes a commit, and an index that fits it', async () => {
  const store = await open(newKv());
  const { commit, changed } = await apply(store, []);
  expect(changed).toEqual([]);
  expect(store.current()).toMatchObject({ commit, root: emptyRoot });
  expect(await store.verify()).toMatchObject({ problems: [] });
  await apply(store, [{ path: 'a', files: files('x') }]);
  expect(await store.verify()).toMatchObject({ problems: [] });
  await store.close();
});

describe('a policy store', () => {
  test('does what a plain map of paths does, one step after another', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const kv = newKv();
        const store = await open(kv);
        const model = new Map<string, Content>();
        for (const each of steps) {
          if (applyToModel(model, each)) await apply(store, [toChange(each)]);
          else await expect(apply(store, [toChange(each)])).rejects.toMatchObject({ state: 'unchanged' });
        }
        const sorted = (map: Map<string, Content>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
        expect(sorted(await contents(store))).toEqual(sorted(model));
        const again = await open(kv);
        expect(again.status().indexRebuilt).toBe(null);
        expect(again.current().root).toBe(store.current().root);
        expect(await again.current().getSubtree('')).toEqual(await store.current().getSubtree(''));
      }),
      { numRuns: 60 },
    );
  });

  test('has the same root whatever the order and grouping of the same updates', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 15 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 5 })),
        fc.infiniteStream(fc.nat()),
        async (steps, sizes, picks) => {
          const model = new Map<string, Content>();
          for (const each of steps) applyToModel(model, each);
          const changes = [...model].map(([at, what]) => toChange({ path: at, content: what }));
          const whole = await open(newKv());
          await apply(whole, changes);

          const store = await open(newKv());
          await apply(store, [{ path: 'zz.temporary', files: files('gone') }]);
          const left = [...changes];
          while (left.length > 0) {
            const group: TreeChange[] = [];
            for (let n = sizes.next().value!; n > 0 && left.length > 0; n--) {
              group.push(...left.splice(picks.next().value! % left.length, 1));
            }
            await apply(store, group);
          }
          await apply(store, [{ path: 'zz.temporary', delete: true }]);
          expect(store.current().root).toBe(whole.current().root);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('rebuilds from history the very index that updates kept', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        const kv = newKv();
        const store = await open(kv);
        for (const each of steps) await apply(store, [toChange(each)]).catch(() => {});
        const rows = async () => {
          const all: string[] = [];
          for (const family of ['path_index', 'metadata', 'objects'] as const) {
            for await (const [key, value] of kv.entries(family)) all.push(Buffer.concat([key, value]).toString('hex'));
          }
          return all;
        };
        const before = await rows();
        const doomed: Uint8Array[] = [];
        for await (const [key] of kv.entries('path_index')) doomed.push(key);
        await kv.write(doomed.map((key) => ({ type: 'delete', family: 'path_index', key })));
        const records: Uint8Array[] = [];
        for await (const [key] of kv.entries('metadata'))
          if (/^(commit|chain)\//.test(Buffer.from(key).toString())) records.push(key);
        await kv.write(records.map((key) => ({ type: 'delete', family: 'metadata', key })));
        const again = await open(kv);
        if (store.current().commit !== null) expect(again.status().indexRebuilt).not.toBe(null);
        expect(await rows()).toEqual(before);
      }),
      { numRuns: 40 },
    );
  });

  test('goes back to the old root when a change is taken back', async () => {
    const store = await open(newKv());
    expect(store.current().root).toBe(emptyRoot);
    const first = await apply(store, [{ path: 'a.b', files: files('one') }]);
    const second = await apply(store, [
      { path: 'a.b', files: files('two') },
      { path: 'c', files: files('x') },
    ]);
    expect(second.changed.map(({ path: at, change }) => [at, change])).toEqual([
      ['a.b', 'changed'],
      ['c', 'added'],
    ]);
    const third = await apply(store, [
      { path: 'a.b', files: files('one') },
      { path: 'c', delete: true },
    ]);
    expect(third.root).toBe(first.root);
    expect(third.commit).not.toBe(first.commit);
    await apply(store, [{ path: 'a.b', delete: true }]);
    expect(store.current().root).toBe(emptyRoot);
  });

  test('finds a policy written, changed, removed and written back in its history', async () => {
    const kv = newKv();
    const store = await open(kv);
    await apply(store, [{ path: 'a.b', files: files('one') }], { message: 'write' });
    await apply(store, [{ path: 'a.b', files: files('two') }], { message: 'change' });
    await apply(store, [{ path: 'a.b', delete: true }], { message: 'remove' });
    await apply(store, [{ path: 'other', files: files('other') }], { message: 'other' });
    await apply(store, [{ path: 'a.b', files: files('one') }], { message: 'write back' });
    for (const each of [store, await open(kv)]) {
      const { items } = await each.history('a.b');
      expect(items.map((item) => [item.message, item.hash === null])).toEqual([
        ['write back', false],
        ['remove', true],
        ['change', false],
        ['write', false],
      ]);
      expect(items[0]!.hash).toBe(items[3]!.hash);
      expect(items[0]!.version).not.toBe(items[3]!.version);
    }
  });

  test('shows every root of its history as it was, whatever came after', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (steps) => {
        const store = await open(newKv());
        const seen: { commit: string; tree: unknown; list: unknown }[] = [];
        for (const each of steps) {
          await apply(store, [toChange(each)]).catch(() => {});
          const now = store.current();
          if (now.commit === null) continue;
          seen.push({ commit: now.commit, tree: await now.getSubtree(''), list: await now.listPolicies() });
        }
        for (const { commit, tree, list } of seen) {
          const then = await store.at(commit);
          expect(await then.getSubtree('')).toEqual(tree);
          expect(await then.listPolicies()).toEqual(list);
        }
      }),
      { numRuns: 40 },
    );
  });
});
