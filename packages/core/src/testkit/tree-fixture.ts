import type { Primitives } from '../bytes/index.ts';
import { type Kv, openMemoryKv } from '../store/index.ts';
import {
  type Author,
  type Codec,
  openPolicyStore,
  type PolicyFamily,
  type PolicyFiles,
  type PolicyStore,
  type PolicyStoreOptions,
  policyFamilies,
  type TreeChange,
  type UpdateRequest,
  type UpdateResult,
} from '../tree/index.ts';

/** What a runtime lends to the tests of policy trees. */
export interface TreeRuntime {
  readonly primitives: Primitives;
  readonly codec: Codec;
  /** Lets other work run; default: none. */
  readonly breathe?: () => Promise<void>;
}

/** Short-hands with which tests of policy trees say what they mean. Times go up by a second with each update. */
export interface TreeFixture {
  readonly author: Author;
  newKv(): Kv<PolicyFamily>;
  /** Opens a store and waits for its index. */
  open(kv: Kv<PolicyFamily>, options?: Partial<PolicyStoreOptions>): Promise<PolicyStore>;
  /** Opens a store whose index is still to be loaded. */
  openAtOnce(kv: Kv<PolicyFamily>, options?: Partial<PolicyStoreOptions>): Promise<PolicyStore>;
  /** Files of a policy whose source is `text`. */
  files(text: string, tests?: string): PolicyFiles;
  put(path: string, text: string, tests?: string): TreeChange;
  apply(store: PolicyStore, changes: readonly TreeChange[], more?: Partial<UpdateRequest>): Promise<UpdateResult>;
}

/** @example const { open, newKv, apply, put } = treeFixture({ primitives, codec }); */
export function treeFixture(runtime: TreeRuntime): TreeFixture {
  const { primitives } = runtime;
  const author: Author = { name: 'Alice', email: 'alice@example.com' };
  const openAtOnce: TreeFixture['openAtOnce'] = (kv, options) =>
    openPolicyStore({ kv, ...runtime, now: () => 0, ...options });
  let timeMs = 1_700_000_000_000;
  const files = (text: string, tests?: string): PolicyFiles => ({
    source: primitives.utf8Encode(text),
    program: primitives.utf8Encode(`program of ${text}`),
    manifest: primitives.utf8Encode('{"language":1}'),
    ...(tests === undefined ? {} : { test: primitives.utf8Encode(tests) }),
  });
  return {
    author,
    newKv: () => openMemoryKv({ families: policyFamilies }),
    openAtOnce,
    async open(kv, options) {
      const store = await openAtOnce(kv, options);
      await store.ready();
      return store;
    },
    files,
    put: (path, text, tests) => ({ path, files: files(text, tests) }),
    apply: (store, changes, more) => {
      timeMs += 1000;
      return store.update({ changes, author, message: 'change', timeMs, ...more });
    },
  };
}
