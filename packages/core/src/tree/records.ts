import { type Primitives, toHex } from '../bytes/index.ts';
import { type Commit, decodeCommit } from '../git/index.ts';
import type { Kv, KvOperation } from '../store/index.ts';
import { versionBody, versionOf } from './commits.ts';
import { type Comparison, compareRoots } from './compare.ts';
import { LruCache } from './lru.ts';
import type { ObjectStore, PreparedObject } from './objects.ts';
import { comparePaths, parentPath } from './paths.ts';
import {
  type ChainState,
  type CommitRecord,
  type DirectoryState,
  decodeRecord,
  encodeRecord,
  fromAscii,
  metadataKeys,
  put,
} from './rows.ts';
import { slices } from './slices.ts';
import { type Codec, emptyRoot, type ObjectId, type PolicyFamily } from './types.ts';

/** States of version chains and directories at some root commit. A path that is absent never had any. */
export interface States {
  readonly policies: Map<string, ChainState>;
  readonly directories: Map<string, DirectoryState>;
}

/**
 * What differs between a root commit's states and those of the current index; null: nothing was there. Where `detached`
 * is set the commit shares no history with the index and the states are all there is.
 */
export interface StatePatch {
  readonly policies: Map<string, ChainState | null>;
  readonly directories: Map<string, DirectoryState | null>;
  readonly detached: boolean;
}

/** The first parent of a commit whose record is derived. */
export interface DerivedFrom {
  readonly root: ObjectId;
  readonly generation: number;
  /** States at it of (at least) the paths that differ. */
  readonly statesAt: (changed: Comparison) => Promise<States>;
}

export function noStates(): States {
  return { policies: new Map(), directories: new Map() };
}

/**
 * The derived facts of root commits: read, derived again where lost, and put together into the states of any commit.
 */
export class Records {
  readonly #kv: Kv<PolicyFamily>;
  readonly #objects: ObjectStore;
  readonly #primitives: Primitives;
  readonly #codec: Codec;
  readonly #breathe: () => Promise<void>;
  readonly #notePut: (ids: Iterable<ObjectId>) => void;
  readonly #cache: LruCache<ObjectId, CommitRecord>;

  constructor(
    kv: Kv<PolicyFamily>,
    objects: ObjectStore,
    modules: {
      primitives: Primitives;
      codec: Codec;
      now: () => number;
      breathe: () => Promise<void>;
      notePut: (ids: Iterable<ObjectId>) => void;
    },
  ) {
    this.#kv = kv;
    this.#objects = objects;
    this.#primitives = modules.primitives;
    this.#codec = modules.codec;
    this.#breathe = modules.breathe;
    this.#notePut = modules.notePut;
    this.#cache = new LruCache({
      maxBytes: 1_000_000,
      maxAgeMs: 300_000,
      sizeOf: (record) => 400 * (record.policies.length + record.directories.length + 1),
      now: modules.now,
    });
  }

  /** A root commit's record, derived again where it is lost or damaged. @throws IpeError `corrupt` */
  async get(id: ObjectId): Promise<CommitRecord> {
    return (await this.#stored(id)) ?? this.#derive(id);
  }

  /**
   * The record of a commit that retention makes the oldest of its line: all states there are, read before what they
   * came from is collected.
   */
  async baseRecord(id: ObjectId): Promise<CommitRecord> {
    const record = await this.get(id);
    if (record.base === true) return record;
    const states = await this.statesAt(id);
    const base: CommitRecord = {
      ...record,
      policies: byPath(states.policies).map(([path, after]) => [path, null, after]),
      directories: byPath(states.directories).map(([path, after]) => [path, null, after]),
      base: true,
    };
    return base;
  }

  /** What stores a record. */
  async encode(id: ObjectId, record: CommitRecord): Promise<KvOperation<PolicyFamily>> {
    const modules = { primitives: this.#primitives, codec: this.#codec, breathe: this.#breathe };
    return put('metadata', metadataKeys.commit(id), await encodeRecord(modules, id, record));
  }

  async commit(id: ObjectId): Promise<Commit> {
    return decodeCommit(this.#primitives, await this.#objects.read(id, 'commit'));
  }

  /** The latest root commit that had a content root. */
  async latestWithRoot(root: ObjectId): Promise<ObjectId | undefined> {
    const value = await this.#kv.get('metadata', metadataKeys.root(root));
    return value?.length === 64 ? fromAscii(value) : undefined;
  }

  /** Takes over a record just written. */
  remember(id: ObjectId, record: CommitRecord): void {
    this.#cache.set(id, record);
  }

  /** Drops cached records; absent: all, so that the next reads see the disk. */
  forget(ids?: readonly ObjectId[]): void {
    if (ids === undefined) this.#cache.clear();
    else for (const id of ids) this.#cache.delete(id);
  }

  /**
   * What differs between the states at `commit` and those of the index at `main`: undoes the commits of `main` back to
   * where the two met, then redoes those of `commit`. Costs the changes between them.
   */
  async patch(commit: ObjectId, main: ObjectId | null): Promise<StatePatch> {
    const policies = new Map<string, ChainState | null>();
    const directories = new Map<string, DirectoryState | null>();
    if (commit === main) return { policies, directories, detached: false };
    const redo: CommitRecord[] = [];
    let meeting: CommitRecord | undefined;
    let isMain = false;
    for (let id: ObjectId | undefined = commit; id !== undefined && !isMain; ) {
      const record: CommitRecord = await this.get(id);
      if (main !== null && (await this.chainAt(record.generation)) === id) {
        const undo = await this.#undo(main, record.generation);
        if (undo !== undefined) {
          meeting = record;
          for (const each of undo) {
            for (const [path, before] of each.policies) policies.set(path, before);
            for (const [path, before] of each.directories) directories.set(path, before);
          }
          break;
        }
      }
      redo.push(record);
      id = await this.#firstParent(id, record);
      isMain = id === main;
    }
    for (const record of redo.reverse()) {
      for (const [path, , after] of record.policies) policies.set(path, after);
      for (const [path, , after] of record.directories) directories.set(path, after);
    }
    return { policies, directories, detached: meeting === undefined && !isMain };
  }

  /** Records of `main` above a generation, newest first; undefined where retention cut the history in between. */
  async #undo(main: ObjectId, generation: number): Promise<CommitRecord[] | undefined> {
    const records: CommitRecord[] = [];
    for (let id: ObjectId | undefined = main; id !== undefined; ) {
      const record: CommitRecord = await this.get(id);
      if (record.generation <= generation) return records;
      if (record.base === true) return undefined;
      records.push(record);
      id = await this.#firstParent(id, record);
    }
    return undefined;
  }

  /** Root commit of `main` at a generation. */
  async chainAt(generation: number): Promise<ObjectId | undefined> {
    const value = await this.#kv.get('metadata', metadataKeys.chain(generation));
    return value?.length === 64 ? fromAscii(value) : undefined;
  }

  /**
   * States at a commit of the paths asked for (absent: all that ever had one), read from the records back to where each
   * was last changed.
   */
  async statesAt(
    commit: ObjectId,
    wanted?: { policies: Iterable<string>; directories: Iterable<string> },
  ): Promise<States> {
    const states = noStates();
    const policies = wanted === undefined ? undefined : new Set(wanted.policies);
    const directories = wanted === undefined ? undefined : new Set(wanted.directories);
    const gone = new Set<string>();
    for (let id: ObjectId | undefined = commit; id !== undefined; ) {
      const record: CommitRecord = await this.get(id);
      for (const [path, , after] of record.policies) {
        if (states.policies.has(path) || policies?.has(path) === false) continue;
        states.policies.set(path, after);
        policies?.delete(path);
      }
      for (const [path, , after] of record.directories) {
        if (states.directories.has(path) || gone.has(path) || directories?.has(path) === false) continue;
        if (after === null) gone.add(path);
        else states.directories.set(path, after);
        directories?.delete(path);
      }
      if (policies?.size === 0 && directories?.size === 0) break;
      id = await this.#firstParent(id, record);
    }
    return states;
  }

  /**
   * What a commit did: its record, and the version commits it makes.
   * @param comparison  what differs between its first parent's root and its own
   * @param before      states at the first parent of (at least) the paths that differ
   */
  async describe(
    id: ObjectId,
    commit: Commit,
    generation: number,
    comparison: Comparison,
    before: States,
  ): Promise<{ record: CommitRecord; versions: PreparedObject[] }> {
    const updatedAtMs = commit.author.timeSeconds * 1000;
    const versions: PreparedObject[] = [];
    const policies: CommitRecord['policies'][number][] = [];
    const rest = slices(this.#breathe, 64);
    for (const [path, { after }] of comparison.policies) {
      await rest();
      const previous = before.policies.get(path) ?? null;
      const version = { path, tree: after?.hash ?? null, previous: previous?.version ?? null };
      const body = versionBody(this.#primitives, version, { id, commit });
      const made = this.#objects.prepare('commit', body);
      versions.push(made);
      policies.push([path, previous, { version: made.id, updatedAtMs, deleted: after === null }]);
    }
    const directories = byPath(comparison.directories).map(([path, { after }]): CommitRecord['directories'][number] => [
      path,
      before.directories.get(path) ?? null,
      after === null ? null : { commit: id, updatedAtMs },
    ]);
    const { parents, tree: root } = commit;
    return { record: { generation, root, parents, timeMs: updatedAtMs, policies, directories }, versions };
  }

  async #stored(id: ObjectId): Promise<CommitRecord | undefined> {
    const cached = this.#cache.get(id);
    if (cached !== undefined) return cached;
    const bytes = await this.#kv.get('metadata', metadataKeys.commit(id));
    const record = bytes === undefined ? undefined : decodeRecord(this.#primitives, this.#codec, id, bytes);
    if (record !== undefined) this.#cache.set(id, record);
    return record;
  }

  /** Derives lost records, oldest first, and stores them with the versions they make. */
  async #derive(id: ObjectId): Promise<CommitRecord> {
    const lost: ObjectId[] = [];
    let record: CommitRecord | undefined;
    for (let at: ObjectId | undefined = id; at !== undefined && record === undefined; ) {
      lost.push(at);
      const { parents } = await this.commit(at);
      at = (await this.isShallow(at)) ? undefined : parents[0];
      if (at !== undefined) record = await this.#stored(at);
    }
    for (const each of lost.reverse()) {
      const [parent] = record === undefined ? [] : (await this.commit(each)).parents;
      const statesAt = ({ policies, directories }: Comparison) =>
        this.statesAt(parent!, { policies: policies.keys(), directories: directories.keys() });
      record = await this.derive(each, record && { ...record, statesAt });
    }
    return record!;
  }

  /**
   * Derives a commit's record, and stores it with the versions it makes.
   * @param from  the commit's first parent; absent where history begins or ends with it
   */
  async derive(id: ObjectId, from?: DerivedFrom): Promise<CommitRecord> {
    const commit = await this.commit(id);
    const comparison = await compareRoots(this.#objects, from?.root ?? emptyRoot, commit.tree);
    const before = from === undefined ? noStates() : await from.statesAt(comparison);
    const generation = from === undefined ? 0 : from.generation + 1;
    const { record, versions } = await this.describe(id, commit, generation, comparison, before);
    const boundary = from === undefined && (await this.isShallow(id));
    const whole = boundary ? await this.#boundaryRecord(record) : record;
    const operations = [await this.encode(id, whole)];
    if (!boundary) this.#notePut(versions.map(({ id: version }) => version));
    if (!boundary) for (const version of versions) operations.push(this.#objects.operation(version));
    await this.#kv.write(operations);
    this.#cache.set(id, whole);
    return whole;
  }

  /**
   * The record of a commit whose parents were collected: every state counts as its own. Version chains are found among
   * the version commits that retention left, the newest of each path that is not newer than the commit; a directory was
   * last changed when anything below it was, removals included.
   */
  async #boundaryRecord(record: CommitRecord): Promise<CommitRecord> {
    const newest = await this.#newestVersions(record.timeMs);
    const policies = new Map<string, ChainState>();
    const directories = new Map<string, DirectoryState>();
    for (const [path, , after] of record.policies) policies.set(path, after);
    for (const [path, { version, commit, updatedAtMs, deleted }] of newest) {
      const standing = policies.has(path);
      if (standing !== deleted) policies.set(path, { version, updatedAtMs, deleted });
      for (let at = parentPath(path); at !== undefined; at = parentPath(at)) {
        if ((directories.get(at)?.updatedAtMs ?? -1) < updatedAtMs) directories.set(at, { commit, updatedAtMs });
      }
    }
    return {
      ...record,
      policies: byPath(policies).map(([path, after]) => [path, null, after]),
      directories: record.directories.map(([path, , after]) => [path, null, directories.get(path) ?? after]),
      base: true,
    };
  }

  async #newestVersions(notAfterMs: number): Promise<Map<string, ChainState & { readonly commit: ObjectId }>> {
    const newest = new Map<string, ChainState & { readonly commit: ObjectId }>();
    for await (const [key, stored] of this.#kv.entries('objects')) {
      const id = toHex(key);
      const found = this.#objects.decode(id, stored);
      if (found.type !== 'commit') continue;
      const commit = decodeCommit(this.#primitives, found.body);
      const named = versionOf(commit);
      const updatedAtMs = commit.author.timeSeconds * 1000;
      if (named === undefined || updatedAtMs > notAfterMs) continue;
      if ((newest.get(named.path)?.updatedAtMs ?? -1) >= updatedAtMs) continue;
      const deleted = commit.tree === emptyRoot;
      newest.set(named.path, { version: id, commit: named.commit, updatedAtMs, deleted });
    }
    return newest;
  }

  /** Whether retention cut the history before this commit. */
  async isShallow(id: ObjectId): Promise<boolean> {
    return (await this.#kv.get('metadata', metadataKeys.shallow(id))) !== undefined;
  }

  async #firstParent(id: ObjectId, record: CommitRecord): Promise<ObjectId | undefined> {
    const parent = record.parents[0];
    return parent === undefined || (await this.isShallow(id)) ? undefined : parent;
  }
}

/** In path order, so that a record is the same however it came about. */
function byPath<Side>(sides: ReadonlyMap<string, Side>): [string, Side][] {
  return [...sides].sort(([a], [b]) => comparePaths(a, b));
}
