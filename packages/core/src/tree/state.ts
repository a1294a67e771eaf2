import type { Primitives } from '../bytes/index.ts';
import { IpeError, isIpeError } from '../errors.ts';
import type { Kv, KvOperation } from '../store/index.ts';
import type { Comparison } from './compare.ts';
import { LruCache } from './lru.ts';
import { ObjectStore } from './objects.ts';
import type { IndexNode, LivePathIndex } from './path-index.ts';
import { nearest } from './paths.ts';
import { noStates, Records, type StatePatch, type States } from './records.ts';
import { decodeDeletedRow, del, encodeRef, metadataKeys, put, refsDigest, rowKey, type StoredRef } from './rows.ts';
import { slices } from './slices.ts';
import { Snapshot, type SnapshotModules } from './snapshot.ts';
import {
  type Codec,
  emptyRoot,
  type ObjectId,
  type PolicyFamily,
  type PolicyFiles,
  type PolicyStoreOptions,
  type UpdateEvent,
} from './types.ts';
import type { Slice } from './walk.ts';

/** Where a ref is. */
export interface Head {
  readonly name: string;
  readonly kind: 'branch' | 'pin';
  /** Null only for `main` of a store in which nothing was ever written. */
  readonly commit: ObjectId | null;
  readonly root: ObjectId;
  readonly timeMs: number;
  /** Distance from the first root commit; absent where it was not asked for since the start (`generationOf`). */
  readonly generation?: number;
  /** Set where the ref's commit could not be read at start: the ref then answers with it. */
  readonly damage?: IpeError;
}

/** Holders of a leased root commit. */
export type Leases = Map<ObjectId, string[]>;

/** The ref whose root is served, and whose nodes the path index holds. */
export const mainRef = 'main';

/** `main` of an empty store. */
export const emptyHead: Head = {
  name: mainRef,
  kind: 'branch',
  commit: null,
  root: emptyRoot,
  timeMs: 0,
  generation: -1,
};

/** What the parts of a policy store share. Only updates, which are queued, change it. */
export class StoreState {
  readonly kv: Kv<PolicyFamily>;
  readonly primitives: Primitives;
  readonly codec: Codec;
  readonly objects: ObjectStore;
  readonly records: Records;
  readonly breathe: () => Promise<void>;
  readonly files: LruCache<string, PolicyFiles>;
  readonly heads = new Map<string, Head>();
  readonly leases: Leases = new Map();
  /** Leased commits that were brought in and are being looked at: what they reach may not all be here. */
  readonly connecting = new Set<ObjectId>();
  readonly watchers = new Set<(event: UpdateEvent) => void>();
  /** Objects that a collection marked for deletion, and when (Unix milliseconds). Mirrors the `condemned/` rows. */
  readonly condemned = new Map<ObjectId, number>();
  /** The path index of `main`; absent while it is loaded. */
  loaded: LivePathIndex | undefined;
  /** Objects put or claimed since the collection under way began its mark, which could not reach them. */
  putSinceMark: Set<ObjectId> | undefined;
  /** Policies that `main` does not hold but once did: each has a row. */
  deleted = 0;
  /** Why the index had to be built anew at start. */
  indexRebuilt: string | null = null;
  /** Set at start where the refs are not those that were written last: then nothing that needs a ref is answered. */
  refsDamage: IpeError | undefined;
  /** Set once the store is closed: what runs beside it then ends. */
  closed = false;
  /** Set when a batch may or may not be on disk: memory and disk may differ, so nothing more is written. */
  failed: IpeError | undefined;
  /** The first write that the `Kv` refused since it last recovered: it may be on disk all the same. */
  refused: IpeError | undefined;
  /** Settles when the path index is loaded, or cannot be. */
  indexed: Promise<void> = Promise.resolve();
  readonly #snapshots: SnapshotModules;

  constructor(options: PolicyStoreOptions) {
    const { kv, primitives, codec, now } = options;
    const cacheBytes = options.cacheBytes ?? 10_000_000;
    const cacheAgeMs = options.cacheAgeMs ?? 300_000;
    this.kv = noting(kv, (error) => {
      this.refused ??= error;
    });
    this.primitives = primitives;
    this.codec = codec;
    this.breathe = options.breathe ?? (async () => {});
    const treeCacheBytes = Math.min(cacheBytes, 4_000_000);
    this.objects = new ObjectStore({ kv: this.kv, primitives, codec, now, treeCacheBytes, cacheAgeMs });
    this.records = new Records(this.kv, this.objects, {
      primitives,
      codec,
      now,
      breathe: this.breathe,
      notePut: (ids) => this.notePut(ids),
    });
    this.files = new LruCache({ maxBytes: cacheBytes, maxAgeMs: cacheAgeMs, sizeOf: fileBytes, now });
    const listings = new LruCache<string, Slice<IndexNode>>({
      maxBytes: Math.min(cacheBytes, 1_000_000),
      maxAgeMs: cacheAgeMs,
      sizeOf: (slice) => 200 + 8 * slice.nodes.length,
      now,
    });
    const { objects, records, files } = this;
    this.#snapshots = {
      kv: this.kv,
      objects,
      records,
      files,
      listings,
      live: () => this.loaded,
      indexed: () => this.indexed,
    };
  }

  /** The path index of `main`. Only for what runs in the queue, or once `indexed`. */
  get live(): LivePathIndex {
    if (this.loaded === undefined) throw new IpeError('internal', 'the path index is asked before it is loaded');
    return this.loaded;
  }

  /** To be told of all objects put or claimed, found there already or not, before they are. */
  notePut(ids: Iterable<ObjectId>): void {
    if (this.putSinceMark !== undefined) for (const id of ids) this.putSinceMark.add(id);
  }

  async generationOf({ commit, generation }: Head): Promise<number> {
    if (generation !== undefined || commit === null) return generation ?? -1;
    return (await this.records.get(commit)).generation;
  }

  /** @throws IpeError `not_found` */
  head(ref: string): Head {
    const head = this.heads.get(ref);
    if (this.refsDamage !== undefined) throw this.refsDamage;
    if (head?.damage !== undefined) throw head.damage;
    if (head !== undefined) return head;
    if (ref === mainRef) return emptyHead;
    const near = nearest(ref, this.heads.keys());
    const hint =
      near === undefined
        ? `there are ${[...this.heads.keys()].slice(0, 20).join(', ') || 'none'}`
        : `did you mean \`${near}\`?`;
    throw new IpeError('not_found', `no ref \`${ref}\`; ${hint}`, {
      details: near === undefined ? { ref } : { ref, nearest: near },
    });
  }

  /** Writes that move a ref, make it or (null) drop it. @throws IpeError `corrupt` while the refs on disk are damaged */
  refOperations(name: string, ref: StoredRef | null): KvOperation<PolicyFamily>[] {
    const refs = new Map<string, StoredRef>();
    for (const head of this.heads.values()) {
      if (head.commit === null) throw head.damage ?? new IpeError('internal', `ref \`${head.name}\` has no commit`);
      refs.set(head.name, { kind: head.kind, commit: head.commit });
    }
    if (ref === null) refs.delete(name);
    else refs.set(name, ref);
    const key = metadataKeys.ref(name);
    return [
      ref === null ? del('metadata', key) : put('metadata', key, encodeRef(ref)),
      put('metadata', metadataKeys.refs, refsDigest(this.primitives, refs)),
    ];
  }

  snapshot(at: { root: ObjectId; commit: ObjectId | null; timeMs: number }): Snapshot {
    return new Snapshot(this.#snapshots, at);
  }

  /** States at a root commit of the paths that a comparison names. Call only from the queue: the index must stand still. */
  async statesAt(commit: ObjectId | null, changed: Comparison): Promise<States> {
    return commit === null ? noStates() : this.statesWith(await this.records.patch(commit, this.live.commit), changed);
  }

  /** As `statesAt`, with the patch for that root commit at hand. */
  async statesWith(patch: StatePatch, changed: Comparison): Promise<States> {
    const states = noStates();
    const unknown: string[] = [];
    const rest = slices(this.breathe, 1024);
    for (const path of changed.policies.keys()) {
      await rest();
      const patched = patch.policies.get(path);
      if (patched !== undefined) {
        if (patched !== null) states.policies.set(path, patched);
        continue;
      }
      if (patch.detached) continue;
      const node = this.live.peek(path);
      if (node?.kind !== 'policy') unknown.push(path);
      else states.policies.set(path, { version: node.version, updatedAtMs: node.updatedAtMs, deleted: false });
    }
    for (const [path, deleted] of await this.deletedVersions(unknown)) {
      states.policies.set(path, { version: deleted.version, updatedAtMs: deleted.timeMs, deleted: true });
    }
    for (const path of changed.directories.keys()) {
      const patched = patch.directories.get(path);
      const node = patch.detached ? undefined : this.live.peek(path);
      const state = patched === undefined ? (node?.kind === 'directory' ? node : null) : patched;
      if (state !== null && state.commit !== '') {
        states.directories.set(path, { commit: state.commit, updatedAtMs: state.updatedAtMs });
      }
    }
    return states;
  }

  /** Last versions of policies that the current root does not hold but once did. */
  async deletedVersions(paths: readonly string[]): Promise<Map<string, { version: ObjectId; timeMs: number }>> {
    const found = new Map<string, { version: ObjectId; timeMs: number }>();
    for (let at = 0; at < paths.length; at += 256) {
      const slice = paths.slice(at, at + 256);
      const keys = slice.map((path) => rowKey('x', path));
      const rows = await this.kv.getMany('path_index', keys);
      for (let i = 0; i < rows.length; i++) {
        const row = rows[i] === undefined ? undefined : decodeDeletedRow(slice[i]!, rows[i]!);
        if (row !== undefined) found.set(slice[i]!, row);
      }
    }
    return found;
  }

  /**
   * Makes a batch durable, then runs `swap` in one tick.
   * @throws IpeError as the `Kv` does; where the batch may be on disk all the same, the store refuses further writes
   */
  async commit(operations: readonly KvOperation<PolicyFamily>[], swap: () => void): Promise<void> {
    if (this.failed !== undefined) throw this.failed;
    await this.kv.write(operations);
    try {
      await this.kv.sync();
    } catch (cause) {
      const message = `the policy store could not be synced, and which changes it kept is not known yet: ${messageOf(cause)}`;
      this.failed = new IpeError('unavailable', message, { state: 'unknown', cause });
      throw this.failed;
    }
    swap();
  }

  notify(event: UpdateEvent): void {
    for (const listener of [...this.watchers]) {
      try {
        listener(event);
      } catch {
        // The update is done and others wait to be told of it: a listener answers for itself.
      }
    }
  }
}

function fileBytes(files: PolicyFiles): number {
  const { source, program, manifest, test } = files;
  return source.length + program.length + manifest.length + (test?.length ?? 0) + 500;
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** The same store; tells of writes that it refuses. */
function noting(kv: Kv<PolicyFamily>, onRefused: (error: IpeError) => void): Kv<PolicyFamily> {
  return {
    families: kv.families,
    get: (...args) => kv.get(...args),
    getMany: (...args) => kv.getMany(...args),
    entries: (...args) => kv.entries(...args),
    sync: () => kv.sync(),
    recover: () => kv.recover(),
    snapshot: () => kv.snapshot(),
    size: () => kv.size(),
    compact: (...args) => kv.compact(...args),
    close: () => kv.close(),
    async write(operations) {
      try {
        await kv.write(operations);
      } catch (error) {
        if (isIpeError(error)) onRefused(error);
        throw error;
      }
    },
  };
}
