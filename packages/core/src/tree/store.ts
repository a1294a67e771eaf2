import { IpeError } from '../errors.ts';
import { isObjectId } from '../git/index.ts';
import { connectHeads } from './connect.ts';
import { planCopy } from './copy.ts';
import { checkCollectOptions, collectGarbage } from './gc.ts';
import { diffRoots, readHistory, readLandmarks, readLog } from './history.ts';
import { ingestObjects } from './ingest.ts';
import { makeProof, type TreeProof } from './proof.ts';
import { recoverStore } from './recover.ts';
import { dropRef, listRefs, pinRef, promoteRef, restoreRoot } from './refs.ts';
import { resolveRevision } from './resolve.ts';
import { emptyHead, mainRef, type StoreState } from './state.ts';
import {
  type CollectOptions,
  type CollectReport,
  type CommitInfo,
  type CommitMeta,
  type DiffEntry,
  type DiffOptions,
  emptyRoot,
  type IncomingObjects,
  type Lease,
  type LogOptions,
  type ObjectId,
  type Page,
  type PageOptions,
  type PolicySnapshot,
  type PolicyStore,
  type PolicyStoreStatus,
  type PolicyVersion,
  type RefInfo,
  type Revision,
  type ScrubSlice,
  type StoreCopy,
  type UpdateEvent,
  type UpdateRequest,
  type UpdateResult,
  type VerifyOptions,
  type VerifyReport,
} from './types.ts';
import { applyUpdate } from './update.ts';
import { scrubSlice, verifyStore } from './verify.ts';

/** The policy store over a loaded state: queues what writes, hands out what reads. */
export class TreePolicyStore implements PolicyStore {
  readonly #state: StoreState;
  #tail: Promise<unknown>;
  #queued = 0;
  #collecting = false;

  /** @param loading  loads the index; what needs it waits */
  constructor(state: StoreState, loading: Promise<void>) {
    this.#state = state;
    state.indexed = loading;
    this.#tail = loading.catch(() => {});
  }

  ready(): Promise<void> {
    return this.#state.indexed;
  }

  current(): PolicySnapshot {
    return this.#state.snapshot(this.#state.heads.get(mainRef) ?? emptyHead);
  }

  async at(revision: string): Promise<PolicySnapshot> {
    const { commit, root } = await this.resolve(revision);
    const timeMs = commit === null ? 0 : (await this.#state.records.get(commit)).timeMs;
    return this.#state.snapshot({ root, commit, timeMs });
  }

  resolve(revision: string): Promise<Revision> {
    return resolveRevision(this.#state, revision);
  }

  update(request: UpdateRequest): Promise<UpdateResult> {
    return this.#enqueue(() => applyUpdate(this.#state, request));
  }

  promote(
    request: CommitMeta & {
      readonly from: string;
      readonly to?: string;
      readonly expectedRoot?: ObjectId;
      readonly force?: boolean;
    },
  ): Promise<UpdateResult> {
    return this.#enqueue(async () => promoteRef(this.#state, await this.resolve(request.from), request));
  }

  restore(
    request: CommitMeta & { readonly revision: string; readonly ref?: string; readonly expectedRoot?: ObjectId },
  ): Promise<UpdateResult> {
    return this.#enqueue(async () => restoreRoot(this.#state, await this.resolve(request.revision), request));
  }

  recover(): Promise<void> {
    return this.#enqueue(() => recoverStore(this.#state));
  }

  refs(): readonly RefInfo[] {
    return listRefs(this.#state);
  }

  pin(name: string, revision: string): Promise<RefInfo> {
    return this.#enqueue(async () => pinRef(this.#state, name, await this.resolve(revision)));
  }

  unpin(name: string): Promise<void> {
    return this.#enqueue(() => dropRef(this.#state, name));
  }

  async history(path: string, options: PageOptions & { readonly ref?: string } = {}): Promise<Page<PolicyVersion>> {
    await this.#state.indexed;
    return readHistory(this.#state, path, options);
  }

  log(options: LogOptions = {}): Promise<Page<CommitInfo>> {
    return readLog(this.#state, options);
  }

  async diff(from: string, to: string, options: DiffOptions = {}): Promise<readonly DiffEntry[]> {
    const [left, right] = [await this.resolve(from), await this.resolve(to)];
    return diffRoots(this.#state, left.root, right.root, options);
  }

  async prove(path: string, revision: string = mainRef): Promise<TreeProof> {
    const { commit } = await this.resolve(revision);
    if (commit === null) throw new IpeError('not_found', 'nothing was ever written: there is no root to prove from');
    return makeProof(this.#state.objects, commit, path);
  }

  async verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    // An index that cannot be loaded is one of the problems to be found.
    await this.#state.indexed.catch(() => {});
    return verifyStore(this.#state, options);
  }

  scrub(cursor?: string, objects = 1000): Promise<ScrubSlice> {
    return scrubSlice(this.#state, cursor, objects);
  }

  async collect(options: CollectOptions): Promise<CollectReport> {
    checkCollectOptions(options);
    if (this.#collecting) throw new IpeError('unavailable', 'a garbage collection is under way; wait for it to end');
    this.#collecting = true;
    try {
      await this.#state.indexed;
      return await collectGarbage(this.#state, (task) => this.#enqueue(task), options);
    } finally {
      this.#collecting = false;
    }
  }

  async has(id: ObjectId): Promise<boolean> {
    return isObjectId(id) && (await this.#state.objects.missing([id])).size === 0;
  }

  async missing(ids: readonly ObjectId[]): Promise<readonly ObjectId[]> {
    const missing = await this.#state.objects.missing(ids.filter((id) => isObjectId(id) && id !== emptyRoot));
    return ids.filter((id) => missing.has(id));
  }

  landmarks(): Promise<readonly ObjectId[]> {
    return readLandmarks(this.#state);
  }

  async copy(options: { readonly since?: string; readonly mainOnly?: boolean } = {}): Promise<StoreCopy> {
    await this.#state.indexed;
    const since = options.since === undefined ? undefined : (await this.resolve(options.since)).commit;
    const leases = this.refs().map(({ commit }) => this.lease(commit, 'copy'));
    const release = (): void => {
      for (const lease of leases) lease.release();
    };
    try {
      const { rootCommits, ...plan } = await planCopy(this.#state, since ?? undefined, options.mainOnly);
      // Heads keep what is within retention; the rest of the plan must not go while it is read, either.
      for (const commit of rootCommits) leases.push(this.lease(commit, 'copy'));
      return { ...plan, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  async ingest(incoming: IncomingObjects): Promise<{ newObjects: number; release(): void }> {
    await this.#state.indexed;
    const newObjects = await ingestObjects(this.#state, (task) => this.#enqueue(task), incoming);
    const leases = incoming.heads.map((commit) => this.lease(commit, 'ingest'));
    const release = (): void => {
      for (const lease of leases) lease.release();
    };
    try {
      await connectHeads(this.#state, (task) => this.#enqueue(task), incoming.heads);
    } catch (error) {
      release();
      throw error;
    }
    return { newObjects, release };
  }

  watch(listener: (event: UpdateEvent) => void): () => void {
    // A wrapper of its own, so that one function may watch twice and each stop ends one of them.
    const own = (event: UpdateEvent) => listener(event);
    this.#state.watchers.add(own);
    return () => this.#state.watchers.delete(own);
  }

  lease(commit: ObjectId, holder: string): Lease {
    const { leases, condemned } = this.#state;
    if (condemned.has(commit)) throw new IpeError('not_found', `root commit \`${commit}\` is older than retention`);
    leases.set(commit, [...(leases.get(commit) ?? []), holder]);
    let held = true;
    const release = (): void => {
      if (!held) return;
      held = false;
      const holders = leases.get(commit) ?? [];
      const left = holders.toSpliced(holders.indexOf(holder), 1);
      if (left.length === 0) leases.delete(commit);
      else leases.set(commit, left);
    };
    return { commit, holder, release };
  }

  status(): PolicyStoreStatus {
    const { loaded, heads, leases, files, indexRebuilt, failed, refused } = this.#state;
    const damages = [...(loaded?.damages() ?? []), ...[...heads.values()].flatMap((head) => head.damage ?? [])];
    const { root, commit } = heads.get(mainRef) ?? emptyHead;
    return {
      root,
      commit,
      policies: loaded?.policyCount ?? null,
      directories: loaded?.directoryCount ?? null,
      damaged: [...new Set(damages.map((error) => String(error.details['object'])))],
      cache: files.counters(),
      refs: heads.size,
      leases: leases.size,
      queued: this.#queued,
      indexRebuilt,
      refusesWrites: (failed ?? refused)?.message ?? null,
    };
  }

  async close(): Promise<void> {
    this.#state.closed = true;
    await this.#tail;
  }

  /** Runs `task` after all that were queued before it, whether they succeeded or not. */
  #enqueue<Result>(task: () => Promise<Result>): Promise<Result> {
    if (this.#state.closed) return Promise.reject(new IpeError('unavailable', 'the policy store is closed'));
    this.#queued++;
    const run = this.#tail
      .then(() => this.#state.indexed)
      .then(task)
      .finally(() => this.#queued--);
    this.#tail = run.catch(() => {});
    return run;
  }
}
