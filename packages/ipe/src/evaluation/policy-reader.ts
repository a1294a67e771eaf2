import { setImmediate } from 'node:timers/promises';
import { IpeError, type StateEffect } from '@ipe/core';
import type { Primitives } from '@ipe/core/bytes';
import {
  type Candidate,
  DirectoryIndex,
  type IndexedChild,
  type ObservedPolicyAt,
  type PolicyAt,
} from '@ipe/core/eval';
import {
  type EvaluationRequest,
  isCompiledFrom,
  type LiteralTests,
  type PlannedPolicy,
  passesLiteralTests,
  planObservedPolicy,
  planPolicy,
  programTests,
} from '@ipe/core/policy';
import {
  LruCache,
  type NodeInfo,
  type PolicyFiles,
  type PolicyInfo,
  type PolicySnapshot,
  type StoredPolicy,
} from '@ipe/core/tree';

export interface PolicyReaderOptions {
  readonly primitives: Primitives;
  /** Bytes that planned policies may take, estimated from their programs. */
  readonly cacheBytes: number;
  /** Planned policies unused for longer are dropped. */
  readonly cacheAgeMs: number;
  /** Monotonic clock, milliseconds. */
  readonly now: () => number;
  /** Whether programs come from a peer: each is then compiled again from its source before its first use. */
  readonly verifyPrograms: boolean;
}

/** What was asked, and the policies of it that can apply to a request, in path order. */
export interface Scope {
  readonly kind: 'policy' | 'directory';
  /** Tree id of what was asked. */
  readonly id: string;
  readonly policies: readonly PolicyAt[];
}

/** A planned policy takes about this many bytes of memory for each byte of its program (measured, `bench/`). */
const planFactor = 6;

/** Memory of the directory indexes and of the literal tests kept, beside the planned policies. */
const indexCacheBytes = 64 * 1024 * 1024;
const bytesPerIndexedChild = 256;

/** Children of a directory indexed before other work gets its turn. */
const breatheEvery = 128;

/**
 * Finds, loads and plans the policies that a request concerns. Everything cached is a function of an id, so an update
 * of the tree invalidates nothing: new content has new ids.
 */
export class PolicyReader {
  readonly #options: PolicyReaderOptions;
  /** By program id. */
  readonly #planned: LruCache<string, { readonly policy: PlannedPolicy; readonly bytes: number }>;
  /** By directory tree id. */
  readonly #indexes: LruCache<string, DirectoryIndex>;
  /** By program id: survives the planned policy, so that rebuilding an index reads only what is new. */
  readonly #tests: LruCache<string, LiteralTests>;
  /** Policy trees whose program was found to be what their source compiles to. */
  readonly #verified: LruCache<string, true>;
  /** Indexes being built, so that requests that arrive together build one. */
  readonly #building = new Map<string, Promise<DirectoryIndex>>();

  constructor(options: PolicyReaderOptions) {
    this.#options = options;
    const { now, cacheAgeMs: maxAgeMs, cacheBytes: maxBytes } = options;
    const forever = Number.POSITIVE_INFINITY;
    this.#planned = new LruCache({ maxBytes, maxAgeMs, now, sizeOf: ({ bytes }) => bytes });
    const sizeOf = (index: DirectoryIndex) => bytesPerIndexedChild * (index.width + 1);
    this.#indexes = new LruCache({ maxBytes: indexCacheBytes, maxAgeMs: forever, now, sizeOf });
    this.#tests = new LruCache({
      maxBytes: indexCacheBytes,
      maxAgeMs: forever,
      now,
      sizeOf: () => bytesPerIndexedChild,
    });
    this.#verified = new LruCache({ maxBytes: 16 * 1024 * 1024, maxAgeMs: forever, now, sizeOf: () => 100 });
  }

  /** Counters of the planned policies, for `status` and metrics. */
  get counters() {
    return this.#planned.counters();
  }

  /**
   * What stands at `path` and which of its policies can apply to `request`; at once when everything needed is in memory.
   *
   * @returns undefined (or a promise of it) where nothing stands at the path
   * @throws IpeError `corrupt` for a damaged object, or a program that is not what its source compiles to
   */
  resolve(
    snapshot: PolicySnapshot,
    path: string,
    request: EvaluationRequest,
  ): Scope | undefined | Promise<Scope | undefined> {
    const live = snapshot.index();
    if (live === undefined) return snapshot.lookup(path).then((node) => this.#resolveNode(snapshot, node, request));
    return this.#resolveNode(snapshot, live.lookup(path), request);
  }

  /** The policies planned to be explained: read and planned anew, because explanations are rare and their plans slower. */
  observed(snapshot: PolicySnapshot, policies: readonly PolicyAt[]): Promise<readonly ObservedPolicyAt[]> {
    return Promise.all(
      policies.map(async ({ path, id }) => {
        const { files } = await this.#read(snapshot, path);
        return { path, id, planned: planObservedPolicy(files.program, this.#options.primitives) };
      }),
    );
  }

  #resolveNode(
    snapshot: PolicySnapshot,
    node: NodeInfo | undefined,
    request: EvaluationRequest,
  ): Scope | undefined | Promise<Scope | undefined> {
    if (node === undefined) return undefined;
    const { kind, hash: id } = node;
    if (node.kind === 'policy') {
      const planned = this.#plannedOf(snapshot, { path: node.path, id, program: node.program });
      if (!(planned instanceof Promise)) return { kind, id, policies: [planned] };
      return planned.then((policy) => ({ kind, id, policies: [policy] }));
    }
    const index = this.#indexes.get(id) ?? this.#index(snapshot, node.path, id);
    if (index instanceof Promise) return index.then((built) => this.#candidates(snapshot, node, built, request));
    return this.#candidates(snapshot, node, index, request);
  }

  #candidates(
    snapshot: PolicySnapshot,
    { path, hash: id, kind }: NodeInfo,
    index: DirectoryIndex,
    request: EvaluationRequest,
  ): Scope | Promise<Scope> {
    // What all policies below ask for stands for each of them.
    if (!passesLiteralTests(index.literalTests, request)) return { kind, id, policies: [] };
    const found = index.candidates(request, path).map((candidate) => this.#plannedOf(snapshot, candidate));
    if (!found.some((policy) => policy instanceof Promise)) return { kind, id, policies: found as PolicyAt[] };
    return Promise.all(found).then((policies) => ({ kind, id, policies }));
  }

  #plannedOf(
    snapshot: PolicySnapshot,
    { path, id, program }: Pick<Candidate, 'path' | 'id' | 'program'>,
  ): PolicyAt | Promise<PolicyAt> {
    const held = this.#planned.get(program);
    if (held !== undefined && (!this.#options.verifyPrograms || this.#verified.get(id) === true))
      return { path, id, planned: held.policy };
    return this.#plan(snapshot, path, id, program);
  }

  async #plan(snapshot: PolicySnapshot, path: string, id: string, program: string): Promise<PolicyAt> {
    const { files } = await this.#read(snapshot, path);
    await this.#verify(path, id, files);
    const policy = planPolicy(files.program, this.#options.primitives);
    this.#planned.set(program, { policy, bytes: files.program.length * planFactor });
    return { path, id, planned: policy };
  }

  /** Compiling takes milliseconds, and an index may need thousands: other work goes on in between. */
  async #verify(path: string, id: string, files: PolicyFiles): Promise<void> {
    if (!this.#options.verifyPrograms || this.#verified.get(id) === true) return;
    await setImmediate();
    if (!isCompiledFrom(files, this.#options.primitives)) throw notItsProgram(path, id);
    this.#verified.set(id, true);
  }

  async #read(snapshot: PolicySnapshot, path: string): Promise<StoredPolicy> {
    const stored = await snapshot.readPolicy(path);
    if (stored !== undefined) return stored;
    throw new IpeError('corrupt', `the policy \`${path}\` is in the index and not in the tree`, { details: { path } });
  }

  #index(snapshot: PolicySnapshot, path: string, id: string): Promise<DirectoryIndex> {
    const under = this.#building.get(id);
    if (under !== undefined) return under;
    const building = this.#build(snapshot, path, id).finally(() => this.#building.delete(id));
    this.#building.set(id, building);
    return building;
  }

  async #build(snapshot: PolicySnapshot, path: string, id: string): Promise<DirectoryIndex> {
    const children: IndexedChild[] = [];
    let cursor: string | undefined;
    do {
      const page = await snapshot.listChildren(path, { limit: 10_000, ...(cursor === undefined ? {} : { cursor }) });
      for (const { name, ...child } of page.items) {
        const node = child.kind === 'policy' ? await this.#leaf(snapshot, child) : await this.#below(snapshot, child);
        children.push({ name, node });
        if (children.length % breatheEvery === 0) await setImmediate();
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
    const index = new DirectoryIndex(children);
    this.#indexes.set(id, index);
    return index;
  }

  #below(snapshot: PolicySnapshot, { path, hash }: NodeInfo): DirectoryIndex | Promise<DirectoryIndex> {
    return this.#indexes.get(hash) ?? this.#index(snapshot, path, hash);
  }

  async #leaf(snapshot: PolicySnapshot, { path, hash: id, program }: PolicyInfo) {
    let literalTests = this.#tests.get(program);
    const isKnown = literalTests !== undefined && (!this.#options.verifyPrograms || this.#verified.get(id) === true);
    if (!isKnown) {
      const { files } = await this.#read(snapshot, path);
      // What the program says decides whether the policy is asked at all, so this is its first use.
      await this.#verify(path, id, files);
      literalTests = programTests(files.program, this.#options.primitives);
      this.#tests.set(program, literalTests);
    }
    return { id, program, literalTests: literalTests! };
  }
}

function notItsProgram(path: string, id: string): IpeError {
  const state: StateEffect = 'unchanged';
  return new IpeError('corrupt', `the program of \`${path}\` is not what its source compiles to`, {
    details: { path, tree: id },
    state,
  });
}
