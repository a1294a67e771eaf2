import type { Kv } from '../store/index.ts';
import type { PolicyFamily, PolicyStore, PolicyStoreOptions } from '../tree/index.ts';
import { assertDeepEqual } from './assert.ts';
import { type TreeFixture, type TreeRuntime, treeFixture } from './tree-fixture.ts';
import { historyCases } from './tree-history.ts';
import { readCases } from './tree-reads.ts';
import { writeCases } from './tree-writes.ts';

/** What a backend hands to `runTreeConformance`. */
export interface TreeConformanceOptions {
  /** The test runner: registers a named case. vitest's and node:test's `test` fit. */
  readonly test: (title: string, body: () => Promise<void>) => void;
  readonly runtime: TreeRuntime;
  /** Opens an empty store with `policyFamilies`. Called once a case. */
  readonly open: () => Promise<Kv<PolicyFamily>>;
  /** Opens what the last `open` or `reopen` left behind after its close. Absent: the kit opens a policy store anew on the same `Kv`. */
  readonly reopen?: () => Promise<Kv<PolicyFamily>>;
  /** Removes what `open` made. Called after every case, with the store closed. */
  readonly destroy?: () => Promise<void>;
  /** Cases that are not run, by title, with the reason. They are registered and pass. */
  readonly skip?: Readonly<Record<string, string>>;
  /** Options of the policy store: cache sizes, so that the kit runs through the cache and without. */
  readonly options?: Partial<PolicyStoreOptions>;
}

/** What a case is given. */
export interface TreeCaseContext extends TreeFixture {
  readonly store: PolicyStore;
  readonly primitives: TreeRuntime['primitives'];
  /** Closes the store and opens it again, as after a restart; `store` is then of no more use. */
  restart(): Promise<PolicyStore>;
}

export type TreeCase = (context: TreeCaseContext) => Promise<void>;

/**
 * Registers the cases that a policy store must pass on every backend, each with a check of the whole store at its end.
 *
 * @example
 * runTreeConformance({ test, runtime, open: async () => openMemoryKv({ families: policyFamilies }) });
 */
export function runTreeConformance(options: TreeConformanceOptions): void {
  const cases: Readonly<Record<string, TreeCase>> = { ...writeCases, ...readCases, ...historyCases };
  for (const [title, body] of Object.entries(cases)) {
    const reason = options.skip?.[title];
    if (reason !== undefined) {
      options.test(`${title} (not run here: ${reason})`, async () => {});
      continue;
    }
    options.test(title, async () => {
      const fixture = treeFixture(options.runtime);
      let kv = await options.open();
      try {
        let store = await fixture.open(kv, options.options);
        const restart = async (): Promise<PolicyStore> => {
          await store.close();
          if (options.reopen !== undefined) {
            await kv.close();
            kv = await options.reopen();
          }
          store = await fixture.open(kv, options.options);
          assertDeepEqual(store.status().indexRebuilt, null, 'the index after a restart');
          return store;
        };
        await body({ ...fixture, store, restart, primitives: options.runtime.primitives });
        assertDeepEqual((await store.verify()).problems, [], 'verify');
        const before = await store.current().getSubtree('');
        assertDeepEqual(await (await restart()).current().getSubtree(''), before, 'the tree after a restart');
      } finally {
        await kv.close();
        await options.destroy?.();
      }
    });
  }
}
