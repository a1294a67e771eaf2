import type { Primitives } from '../bytes/index.ts';
import type { ObjectType } from '../git/index.ts';
import type { Kv } from '../store/index.ts';
import type { TreeProof } from './proof.ts';

/** Lower-case hexadecimal SHA-256 id of a Git object: 64 characters. */
export type ObjectId = string;

/** Families of the `Kv` that a policy store lives in. */
export type PolicyFamily = 'objects' | 'path_index' | 'metadata';

/** The families to name when opening a `Kv` for a policy store. */
export const policyFamilies: readonly PolicyFamily[] = ['objects', 'path_index', 'metadata'];

/** The tree of a store in which nothing was ever written: the Git id of the empty tree. */
export const emptyRoot: ObjectId = '6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321';

/** What a policy is made of, as the compiler prepared it. The store never looks inside. Bytes are not copied: do not write to them afterwards. */
export interface PolicyFiles {
  /** The document as its author wrote it (`source.yaml`). */
  readonly source: Uint8Array;
  /** Canonical compiled form (`program`). */
  readonly program: Uint8Array;
  /** Canonical JSON: language version and the data namespaces read (`manifest.json`). */
  readonly manifest: Uint8Array;
  /** The policy's tests, kept beside it as `<name>.test.yaml`. Absent: the policy has none (earlier ones are removed). */
  readonly test?: Uint8Array;
}

/**
 * One change of an update. `expectedVersion` guards it alone: a version id (the path must still be at that version) or
 * `null` (the path must hold no policy). Absent: whatever is there is replaced.
 */
export type TreeChange =
  | { readonly path: string; readonly files: PolicyFiles; readonly expectedVersion?: ObjectId | null }
  | { readonly path: string; readonly delete: true; readonly expectedVersion?: ObjectId | null };

/** Who a commit is by, as Git writes it: neither part may hold `<`, `>`, NUL or a line break. */
export interface Author {
  readonly name: string;
  readonly email: string;
}

/** `Key: value` lines at the end of a commit message, such as `Ipe-Compiler` or `Ipe-Source-Commit`. */
export type Trailers = readonly (readonly [key: string, value: string])[];

export interface UpdateRequest {
  /** Any number of changes; at most one for a path. All take effect together or none does. */
  readonly changes: readonly TreeChange[];
  /** Ref to move; default `main`. A ref that does not exist yet starts from `main`. */
  readonly ref?: string;
  /** Content root (or root commit) that the ref must be at, strictly; else `conflict`. */
  readonly expectedRoot?: ObjectId;
  readonly author: Author;
  readonly message: string;
  /** Time of the commit, Unix milliseconds; kept in whole seconds, as Git does. */
  readonly timeMs: number;
  readonly trailers?: Trailers;
  /** Makes a root commit even where no content changes (a mirror recording its source commit). Default false. */
  readonly allowEmpty?: boolean;
  /** Computes the result, checks every condition and stores nothing. Default false. */
  readonly dryRun?: boolean;
}

export interface ChangedPolicy {
  readonly path: string;
  readonly change: 'added' | 'changed' | 'removed';
  /** Version commit that the change made (for `removed`, the one that marks the deletion). */
  readonly version: ObjectId;
  /** Version before; null when the path held no policy. */
  readonly previousVersion: ObjectId | null;
}

export interface UpdateResult {
  readonly ref: string;
  /** Content root: the tree id, a pure function of the content. */
  readonly root: ObjectId;
  /** Root commit that the ref is at now; the one before where nothing changed. */
  readonly commit: ObjectId;
  readonly previousRoot: ObjectId;
  readonly previousCommit: ObjectId | null;
  /** In path order. Changes that restate what is stored are left out. */
  readonly changed: readonly ChangedPolicy[];
  /** Objects of the new tree along the touched paths that were there already. */
  readonly reusedObjects: number;
  /** Objects stored by this update, commits included. */
  readonly newObjects: number;
}

/** Metadata of a policy at some root. */
export interface PolicyInfo {
  readonly kind: 'policy';
  readonly path: string;
  /** Id of the policy's own tree: its content. */
  readonly hash: ObjectId;
  /** Version commit: content, path, author, time and the version before. */
  readonly version: ObjectId;
  /** Blob id of the compiled program: plan once per id. */
  readonly program: ObjectId;
  /** Blob id of the tests, null where there are none. */
  readonly test: ObjectId | null;
  /** Time of the last root commit that changed the policy, Unix milliseconds. */
  readonly updatedAtMs: number;
}

/** Metadata of a directory (namespace) at some root. The root directory has the path `""`. */
export interface DirectoryInfo {
  readonly kind: 'directory';
  readonly path: string;
  /** Tree id. */
  readonly hash: ObjectId;
  /** Time of the last root commit that changed anything in or below it, Unix milliseconds. */
  readonly updatedAtMs: number;
}

export type NodeInfo = PolicyInfo | DirectoryInfo;

/** A policy with its bytes, each verified against its id when read. */
export interface StoredPolicy {
  readonly info: PolicyInfo;
  readonly files: PolicyFiles;
}

/** Part of a listing. `cursor` is present where more follows. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly cursor?: string;
}

export interface PageOptions {
  /** At most this many items; default 1,000, at most 10,000. */
  readonly limit?: number;
  /**
   * From the page before. It names the last item returned, so that a listing of the moving current root never repeats
   * an item and never skips one that stands through all pages; a listing at a fixed root is exactly that root's.
   */
  readonly cursor?: string;
}

export interface LogOptions extends PageOptions {
  /** From this revision back; default `main`. */
  readonly ref?: string;
  /** Only commits that changed the policy, or anything at or below the directory, that stands there; back to when it came to be. */
  readonly path?: string;
}

export interface SubtreeOptions extends PageOptions {
  /** Levels below `path` to go down; 0 is the node itself. Absent: all. */
  readonly depth?: number;
  /** Depth first (default; parents before children, names in order) or breadth first. */
  readonly order?: 'dfs' | 'bfs';
}

export type SubtreeNode = NodeInfo & { readonly depth: number };

/**
 * The current root's path index: synchronous, O(1), in memory. Valid in the tick it was obtained in; an update swaps it.
 */
export interface PathIndex {
  readonly root: ObjectId;
  readonly commit: ObjectId | null;
  lookup(path: string): NodeInfo | undefined;
  /** Every policy at or below `path` in path order (a policy's own path gives that one); empty where there is none. */
  policiesBelow(path: string): readonly PolicyInfo[];
}

/**
 * Reads of one root, which never change: while the root is current they come from the index, afterwards from a walk of
 * the tree. Holding a snapshot costs nothing; one that must outlive a garbage collection also holds a `lease`.
 *
 * @throws IpeError `corrupt` from any read that meets a damaged or missing object (it names the object); `invalid_params`
 * for a malformed path or cursor; `not_found` from listings of a path that is not there (with the nearest one).
 */
export interface PolicySnapshot {
  /** Content root. */
  readonly root: ObjectId;
  /** Root commit; null for the empty store. */
  readonly commit: ObjectId | null;
  readonly timeMs: number;
  /** The in-memory index while this root is the current one, else undefined: then use the asynchronous reads. */
  index(): PathIndex | undefined;
  lookup(path: string): Promise<NodeInfo | undefined>;
  /** A policy's files, through the cache. */
  readPolicy(path: string): Promise<StoredPolicy | undefined>;
  policiesBelow(path: string): Promise<readonly PolicyInfo[]>;
  /** Policies whose path starts with the whole segments of `prefix` (default `""`: all), in path order. */
  listPolicies(options?: PageOptions & { readonly prefix?: string }): Promise<Page<PolicyInfo>>;
  /** Direct children of a directory, by name. */
  listChildren(path: string, options?: PageOptions): Promise<Page<NodeInfo & { readonly name: string }>>;
  getSubtree(path: string, options?: SubtreeOptions): Promise<Page<SubtreeNode>>;
  /** Which root commit last changed the policy or directory at `path`; undefined where nothing is there. */
  lastChange(path: string): Promise<CommitInfo | undefined>;
}

export interface CommitInfo {
  readonly commit: ObjectId;
  readonly root: ObjectId;
  readonly parents: readonly ObjectId[];
  readonly author: Author;
  readonly timeMs: number;
  /** Without its trailers. */
  readonly message: string;
  readonly trailers: Trailers;
}

/** One version of a policy, from its version chain. */
export interface PolicyVersion {
  readonly version: ObjectId;
  readonly path: string;
  /** The policy's tree, or null for the version that marks a deletion. */
  readonly hash: ObjectId | null;
  /** Root commit that made it. */
  readonly commit: ObjectId;
  readonly author: Author;
  readonly timeMs: number;
  /** First line of the root commit's message. */
  readonly message: string;
}

/** What a text given for a root named: a ref, a root commit, a content root or a policy version, in full or by prefix. */
export interface Revision {
  readonly kind: 'ref' | 'commit' | 'root' | 'version';
  readonly name: string;
  /** Root commit; for a content root the latest one that has it; for a version the one that made it. Null: empty store. */
  readonly commit: ObjectId | null;
  readonly root: ObjectId;
}

export interface RefInfo {
  readonly name: string;
  readonly commit: ObjectId;
  readonly root: ObjectId;
  readonly timeMs: number;
  /** `branch` moves with updates and promotions; `pin` never moves and holds its root against collection. */
  readonly kind: 'branch' | 'pin';
}

export interface DiffOptions {
  /** Adds unified patches of source and tests. Default false. */
  readonly patches?: boolean;
  /** Only what lies at or below this path. */
  readonly prefix?: string;
}

export interface DiffEntry {
  readonly path: string;
  readonly change: 'added' | 'changed' | 'removed';
  /** Policy tree ids before and after; null where the policy did not exist. */
  readonly before: ObjectId | null;
  readonly after: ObjectId | null;
  /** What differs: `test` alone means that the policy's tests changed and the policy did not. */
  readonly parts: readonly ('source' | 'program' | 'manifest' | 'test')[];
  /** Unified diffs, with patches asked. */
  readonly sourcePatch?: string;
  readonly testPatch?: string;
}

/** Told after an update took effect, in the same tick. */
export interface UpdateEvent {
  readonly ref: string;
  readonly root: ObjectId;
  readonly commit: ObjectId;
  readonly previousRoot: ObjectId;
  readonly changed: readonly ChangedPolicy[];
}

/** Keeps a root's objects from collection until released. */
export interface Lease {
  readonly commit: ObjectId;
  readonly holder: string;
  release(): void;
}

/** What a garbage collection is told. */
export interface CollectOptions {
  /** Now, Unix milliseconds. */
  readonly nowMs: number;
  /** History younger than this is kept, and on each ref the commit that was in force then. */
  readonly retentionMs: number;
  /** How long an object stays condemned before a later run deletes it. Default 24 hours. */
  readonly graceMs?: number;
  /** Root commits or content roots that retained decisions name. */
  readonly keep?: Iterable<ObjectId>;
  /** Says what would be deleted, and changes nothing. */
  readonly dryRun?: boolean;
  readonly progress?: (progress: { readonly phase: 'mark' | 'sweep'; readonly done: number }) => void;
}

export interface CollectReport {
  readonly dryRun: boolean;
  readonly retainedCommits: number;
  /** Commits at which history now ends. */
  readonly boundaryCommits: number;
  /** Objects that something kept reaches. */
  readonly reachable: number;
  readonly scanned: number;
  readonly unreachable: number;
  /** Newly marked for deletion by a later run. */
  readonly condemned: number;
  /** Marks taken back: reachable again. */
  readonly cleared: number;
  /** Condemned before, still within their grace. */
  readonly waiting: number;
  /** Deleted; with `dryRun`, what would be. */
  readonly deleted: number;
  readonly deletedBytes: number;
}

/** How thoroughly to verify: refs and root; that everything reachable is there; every object's hash, index and chains. */
export type VerifyLevel = 'quick' | 'connectivity' | 'full';

export interface VerifyOptions {
  /** Default `full`. */
  readonly level?: VerifyLevel;
  readonly progress?: (progress: { readonly checked: number }) => void;
}

export interface VerifyProblem {
  readonly kind: 'ref' | 'missing' | 'damaged' | 'index' | 'record' | 'chain';
  /** Object, ref or path it is about. */
  readonly subject: string;
  readonly message: string;
}

export interface VerifyReport {
  readonly level: VerifyLevel;
  readonly root: ObjectId;
  readonly commit: ObjectId | null;
  readonly checkedObjects: number;
  /** Objects that no ref reaches: garbage, not a problem. With `full` only. */
  readonly unreachableObjects?: number;
  /** Problems found; the first 1,000 of them are listed. */
  readonly problemCount: number;
  readonly problems: readonly VerifyProblem[];
}

/** One step of a scrub. */
export interface ScrubSlice {
  readonly checkedObjects: number;
  readonly problems: readonly VerifyProblem[];
  /** Where the next slice begins; absent: the last object was reached, begin anew. */
  readonly cursor?: string;
}

/** An object on its way between stores. */
export interface TransferObject {
  readonly type: ObjectType;
  readonly body: Uint8Array;
}

/** A copy of the store as a Git repository or bundle has it. It is kept from collection until released. */
export interface StoreCopy {
  /** Root commit of `main` that was copied; give it as `since` for the next incremental copy. */
  readonly commit: ObjectId | null;
  /** Full names, sorted: `refs/heads/` branches, `refs/tags/` pins, `refs/ipe/policy/` newest versions. */
  readonly refs: readonly (readonly [name: string, id: ObjectId])[];
  /** Commits at which history ends. */
  readonly shallow: readonly ObjectId[];
  /** Commits that the receiver must have already; empty for a full copy. */
  readonly prerequisites: readonly ObjectId[];
  readonly count: number;
  /** Ids of all that is copied. */
  ids(): Iterable<ObjectId>;
  /** Each object once, verified as it is read; with `ids` only those of them that are part of the copy. */
  objects(ids?: Iterable<ObjectId>): AsyncIterable<TransferObject & { readonly id: ObjectId }>;
  release(): void;
}

/** Objects brought in from elsewhere. */
export interface IncomingObjects {
  readonly objects: AsyncIterable<TransferObject>;
  /** Root commits that must be whole once all are in. */
  readonly heads: readonly ObjectId[];
  readonly shallow?: readonly ObjectId[];
}

/** Common to everything that makes a root commit without naming changes. */
export interface CommitMeta {
  readonly author: Author;
  readonly message?: string;
  readonly timeMs: number;
  readonly trailers?: Trailers;
}

export interface PolicyStoreStatus {
  readonly root: ObjectId;
  readonly commit: ObjectId | null;
  /** Null while the index is loaded. */
  readonly policies: number | null;
  readonly directories: number | null;
  /** Ids of commits and directory trees that could not be read: reads that need them answer `corrupt`. */
  readonly damaged: readonly ObjectId[];
  /** Cached policies: bytes, limits, hits and misses since start. */
  readonly cache: {
    readonly entries: number;
    readonly bytes: number;
    readonly maxBytes: number;
    readonly maxAgeMs: number;
    readonly hits: number;
    readonly misses: number;
    readonly evictions: number;
  };
  readonly refs: number;
  readonly leases: number;
  /** Updates waiting or under way. */
  readonly queued: number;
  /** Whether this start had to rebuild the index, and why; null too while the index is loaded. */
  readonly indexRebuilt: string | null;
  /** Why a write was refused since the store last recovered; null where none was. */
  readonly refusesWrites: string | null;
}

/**
 * Policies in a content-addressed tree of Git objects, with history.
 *
 * Readers never wait and never see half a change. Updates are queued and applied one by one, each in one atomic batch.
 */
export interface PolicyStore {
  /** The current root of `main`: synchronous, never waits. */
  current(): PolicySnapshot;
  /** Reads at any ref, root commit, content root or version, in full or by unambiguous prefix. @throws `not_found`, `invalid_params` */
  at(revision: string): Promise<PolicySnapshot>;
  resolve(revision: string): Promise<Revision>;

  /**
   * Applies all changes in one root commit and one atomic batch, then swaps root and index in one tick, then tells watchers.
   * Resolves once the batch is durable.
   * @throws IpeError `conflict` with `{expected, current}` (and `path` for a change's own condition); `invalid_params` for
   * bad names, a path used twice, a name that would be policy and namespace; `too_large` for a directory over its limit;
   * `not_found` for the removal of what is not there. Nothing is changed by any of them.
   */
  update(request: UpdateRequest): Promise<UpdateResult>;

  /**
   * Makes `to` hold what `from` (any revision) holds: a fast-forward where `to` has not moved since, else a `conflict` that names the
   * paths `to` would lose, unless `force` is set (then one commit with both as parents).
   */
  promote(
    request: CommitMeta & {
      readonly from: string;
      readonly to?: string;
      readonly expectedRoot?: ObjectId;
      readonly force?: boolean;
    },
  ): Promise<UpdateResult>;
  /** Forward-only: one new commit on `ref` that carries the content of `revision`. */
  restore(
    request: CommitMeta & { readonly revision: string; readonly ref?: string; readonly expectedRoot?: ObjectId },
  ): Promise<UpdateResult>;
  refs(): readonly RefInfo[];
  /** Names a root for good (`[a-z0-9][a-z0-9._-]{0,63}`). @throws `conflict` where the name is taken by another root. */
  pin(name: string, revision: string): Promise<RefInfo>;
  /** @throws `not_found`; `invalid_params` for `main`. Also drops a branch other than `main`. */
  unpin(name: string): Promise<void>;

  /** Versions of the policy at `path`, newest first, also where it was deleted and made again. */
  history(path: string, options?: PageOptions & { readonly ref?: string }): Promise<Page<PolicyVersion>>;
  /** Root commits, newest first, along first parents. @throws IpeError `not_found` where nothing stands at a path asked for */
  log(options?: LogOptions): Promise<Page<CommitInfo>>;
  /** Policies that differ, in path order; equal subtrees are never opened. */
  diff(from: string, to: string, options?: DiffOptions): Promise<readonly DiffEntry[]>;

  /**
   * Nodes that prove what stands at `path`, or that nothing does, to whoever trusts the root commit: check them with
   * `verifyProof`. @throws `not_found` for a store in which nothing was ever written
   */
  prove(path: string, revision?: string): Promise<TreeProof>;
  /** Checks the store and reports; never repairs or deletes. */
  verify(options?: VerifyOptions): Promise<VerifyReport>;
  /** Rehashes the next `objects` (default 1,000) objects in id order, for a slow scrub in the background. */
  scrub(cursor?: string, objects?: number): Promise<ScrubSlice>;
  /**
   * Deletes what no ref, pin, lease or decision within retention reaches, in bounded slices between updates. One at a time.
   * @throws `corrupt` where something reachable cannot be read (nothing is deleted); `unavailable` while another runs
   */
  collect(options: CollectOptions): Promise<CollectReport>;

  /** Whether an object is stored, reachable or not. Does not read it. */
  has(id: ObjectId): Promise<boolean>;
  /** Those of `ids` that are not stored, in their order. */
  missing(ids: readonly ObjectId[]): Promise<readonly ObjectId[]>;
  /**
   * Commits of `main` at distances 0, 1, 2, 4, 8, ... from its head, as far back as history is kept: a few by which
   * another store finds what both have.
   */
  landmarks(): Promise<readonly ObjectId[]>;
  /**
   * Plans a copy of everything, or of what came after the root commit `since` of `main`; with `mainOnly` without other
   * branches and pins. @throws `not_found`
   */
  copy(options?: { readonly since?: string; readonly mainOnly?: boolean }): Promise<StoreCopy>;
  /**
   * Takes in objects from elsewhere: each is rehashed, and each head is whole and leased once this resolves. No ref moves:
   * name a head to `promote` (a fast-forward) or `restore` (a new commit), then release. Costs what is new, not the tree.
   * @throws `corrupt`; what came in is not named by anything and is collected in time
   */
  ingest(incoming: IncomingObjects): Promise<{ readonly newObjects: number; release(): void }>;

  /** Calls `listener` after each change of any ref. @returns a function that stops it. */
  watch(listener: (event: UpdateEvent) => void): () => void;
  /** @throws `not_found` for a root commit that retention has given up */
  lease(commit: ObjectId, holder: string): Lease;
  /**
   * Waits until the path index is loaded and verified; from then on `current().index()` is there. Before, reads are
   * answered from the trees, and writes, `history`, `verify`, `collect`, `copy` and `ingest` wait.
   * @throws IpeError `corrupt` or `unavailable` where it cannot be loaded: reads go on, whatever waits fails with it
   */
  ready(): Promise<void>;
  /**
   * Takes writes again where the disk lacked room, going on from what it holds; does nothing where none was refused. An
   * update that was refused and yet is there is told to watchers.
   * @throws IpeError `unavailable` while there is no room, and for good where the disk failed otherwise
   */
  recover(): Promise<void>;
  status(): PolicyStoreStatus;
  /** Waits for the update under way. The `Kv` belongs to the caller and stays open. */
  close(): Promise<void>;
}

/** Compression handed in: zlib format (RFC 1950), as Git's loose objects have it. */
export interface Codec {
  deflate(bytes: Uint8Array): Uint8Array;
  /** As `deflate`, beside other work; asked for what is large. Absent: `deflate` is used. */
  deflateAside?(bytes: Uint8Array): Promise<Uint8Array>;
  /** @throws on damage or where the result would exceed `maxBytes`. */
  inflate(bytes: Uint8Array, maxBytes: number): Uint8Array;
}

export interface PolicyStoreOptions {
  readonly kv: Kv<PolicyFamily>;
  readonly primitives: Primitives;
  readonly codec: Codec;
  /** Clock of the cache's ages, milliseconds; monotonic. */
  readonly now: () => number;
  /** Lets other work run during large updates (in Node: `setImmediate` as a promise). Default: none. */
  readonly breathe?: () => Promise<void>;
  /** Cache of policy files. Default 10 MB and 5 minutes; 0 bytes turns it off. */
  readonly cacheBytes?: number;
  readonly cacheAgeMs?: number;
}
