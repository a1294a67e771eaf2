import { IpeError } from '../errors.ts';
import type { Kv } from '../store/index.ts';
import { describeCommit, versionOf } from './commits.ts';
import { type BareNode, childrenOf, decodePolicyTree, walkTo } from './directory.ts';
import type { LruCache } from './lru.ts';
import type { ObjectStore } from './objects.ts';
import { describeDirectory, type IndexNode, type LivePathIndex } from './path-index.ts';
import { baseName, childPath, depthOf, nearest, nodeSegments, parentPath } from './paths.ts';
import type { Records, StatePatch } from './records.ts';
import { decodeDirectoryRow, decodeIndexTag, decodePolicyRow, metadataKeys, rowKey } from './rows.ts';
import type {
  CommitInfo,
  NodeInfo,
  ObjectId,
  Page,
  PageOptions,
  PathIndex,
  PolicyFamily,
  PolicyFiles,
  PolicyInfo,
  PolicySnapshot,
  StoredPolicy,
  SubtreeNode,
  SubtreeOptions,
} from './types.ts';
import {
  childrenWalk,
  decodeCursor,
  encodeCursor,
  type ListingKind,
  pageLimit,
  policiesWalk,
  runWalk,
  runWalkAsync,
  type Slice,
  subtreeWalk,
  type Walk,
  type WalkNode,
} from './walk.ts';

/** What snapshots share with the store they are of. */
export interface SnapshotModules {
  readonly objects: ObjectStore;
  readonly records: Records;
  /** The current root's index; undefined while it is loaded. */
  readonly live: () => LivePathIndex | undefined;
  /** Settles when it is loaded. */
  readonly indexed: () => Promise<void>;
  /** Rows of the index on disk. */
  readonly kv: Kv<PolicyFamily>;
  /** Files of policies by `<policy tree>/<tests>`. */
  readonly files: LruCache<string, PolicyFiles>;
  /** Pages of listings of the current root. */
  readonly listings: LruCache<string, Slice<IndexNode>>;
}

/** What only history knows of a node. */
interface NodeState {
  /** Of a policy. */
  readonly version?: ObjectId;
  readonly updatedAtMs: number;
}

/** Reads of one root: from the index while it is the current one, else from its trees. */
export class Snapshot implements PolicySnapshot {
  readonly root: ObjectId;
  readonly commit: ObjectId | null;
  readonly timeMs: number;
  readonly #modules: SnapshotModules;

  constructor(modules: SnapshotModules, at: { root: ObjectId; commit: ObjectId | null; timeMs: number }) {
    this.#modules = modules;
    this.root = at.root;
    this.commit = at.commit;
    this.timeMs = at.timeMs;
  }

  index(): PathIndex | undefined {
    return this.#live();
  }

  async lookup(path: string): Promise<NodeInfo | undefined> {
    nodeSegments(path);
    const live = this.#live();
    if (live !== undefined) return live.lookup(path);
    const node = await walkTo(this.#modules.objects, this.root, path);
    return node === undefined ? undefined : (await this.#describe([node]))[0];
  }

  async readPolicy(path: string): Promise<StoredPolicy | undefined> {
    const info = await this.lookup(path);
    if (info?.kind !== 'policy') return undefined;
    const key = `${info.hash}/${info.test ?? ''}`;
    let files = this.#modules.files.get(key);
    if (files === undefined) {
      files = await this.#readFiles(info);
      this.#modules.files.set(key, files);
    }
    return { info, files };
  }

  async policiesBelow(path: string): Promise<readonly PolicyInfo[]> {
    nodeSegments(path);
    const live = this.#live();
    if (live !== undefined) return live.policiesBelow(path);
    const start = await walkTo(this.#modules.objects, this.root, path);
    if (start === undefined) return [];
    const walk = policiesWalk(start, undefined, Number.POSITIVE_INFINITY);
    const { nodes } = await runWalkAsync(walk, (directory) => this.#children(directory));
    return (await this.#describe(nodes)) as PolicyInfo[];
  }

  async listPolicies(options: PageOptions & { readonly prefix?: string } = {}): Promise<Page<PolicyInfo>> {
    const prefix = options.prefix ?? '';
    const after = decodeCursor('policies', options.cursor);
    const limit = pageLimit(options.limit);
    const walk = <Node extends WalkNode>(start: Node) => policiesWalk(start, after, limit);
    nodeSegments(prefix);
    const key = `policies:${limit}:${after ?? ''}`;
    const slice = await this.#list(prefix, key, walk, 'empty');
    return page(slice.items as PolicyInfo[], slice.more, 'policies');
  }

  async listChildren(path: string, options: PageOptions = {}): Promise<Page<NodeInfo & { readonly name: string }>> {
    const after = decodeCursor('children', options.cursor);
    const limit = pageLimit(options.limit);
    const walk = <Node extends WalkNode>(start: Node) =>
      childrenWalk(directoryOnly(start), after === undefined ? undefined : baseName(after), limit);
    const slice = await this.#list(path, `children:${limit}:${after ?? ''}`, walk, 'not_found');
    const items = slice.items.map((info) => ({ name: baseName(info.path), ...info }));
    return page(items, slice.more, 'children');
  }

  async getSubtree(path: string, options: SubtreeOptions = {}): Promise<Page<SubtreeNode>> {
    const order = options.order ?? 'dfs';
    if (order !== 'dfs' && order !== 'bfs') {
      throw new IpeError('invalid_params', `order \`${order}\` is neither \`dfs\` nor \`bfs\``);
    }
    const depth = options.depth ?? Number.POSITIVE_INFINITY;
    if (options.depth !== undefined && !(Number.isInteger(depth) && depth >= 0)) {
      throw new IpeError('invalid_params', `depth \`${depth}\` is not a whole number of levels`);
    }
    const after = decodeCursor(order, options.cursor);
    const limit = pageLimit(options.limit);
    const walk = <Node extends WalkNode>(start: Node) => subtreeWalk(start, { after, limit, depth, order });
    const slice = await this.#list(path, `${order}:${depth}:${limit}:${after ?? ''}`, walk, 'not_found');
    const top = depthOf(path);
    const items = slice.items.map((info) => ({ ...info, depth: depthOf(info.path) - top }));
    return page(items, slice.more, order);
  }

  async lastChange(path: string): Promise<CommitInfo | undefined> {
    const { records } = this.#modules;
    const info = await this.lookup(path);
    if (info === undefined || this.commit === null) return undefined;
    let commit: ObjectId;
    if (info.kind === 'policy') {
      const named = versionOf(await records.commit(info.version));
      if (named === undefined) throw notAVersion(info.version);
      commit = named.commit;
    } else if (this.#live() !== undefined) {
      const node = this.#live()!.peek(path);
      commit = node?.kind === 'directory' ? node.commit : this.commit;
    } else {
      const states = await records.statesAt(this.commit, { policies: [], directories: [path] });
      commit = states.directories.get(path)?.commit ?? this.commit;
    }
    return describeCommit(commit, await records.commit(commit));
  }

  /** The index, while it is of this root. */
  #live(): LivePathIndex | undefined {
    const live = this.#modules.live();
    return live?.commit === this.commit && live.root === this.root ? live : undefined;
  }

  #children(directory: BareNode): Promise<BareNode[]> {
    return childrenOf(this.#modules.objects, directory);
  }

  async #list(
    path: string,
    key: string,
    walk: <Node extends WalkNode>(start: Node) => Walk<Node, Slice<Node>>,
    absent: 'empty' | 'not_found',
  ): Promise<{ items: NodeInfo[]; more: boolean }> {
    nodeSegments(path);
    const live = this.#live();
    if (live !== undefined) {
      const start = live.find(path);
      if (start === undefined) return this.#absent(path, absent);
      // The count is part of the key: an update that touches the directory makes every page kept so far unreachable.
      const cacheKey = start.kind === 'directory' ? `${path}#${start.touched}#${key}` : undefined;
      let slice = cacheKey === undefined ? undefined : this.#modules.listings.get(cacheKey);
      if (slice === undefined) {
        slice = runWalk(walk<IndexNode>(start), (node) => (node.kind === 'directory' ? live.children(node) : []));
        if (cacheKey !== undefined) this.#modules.listings.set(cacheKey, slice);
      }
      const items = slice.nodes.map((node) => (node.kind === 'policy' ? node : describeDirectory(node)));
      return { items, more: slice.more };
    }
    const start = await walkTo(this.#modules.objects, this.root, path);
    if (start === undefined) return this.#absent(path, absent);
    const slice = await runWalkAsync(walk<BareNode>(start), (directory) => this.#children(directory));
    return { items: await this.#describe(slice.nodes), more: slice.more };
  }

  async #absent(path: string, absent: 'empty' | 'not_found'): Promise<{ items: NodeInfo[]; more: boolean }> {
    if (absent === 'empty') return { items: [], more: false };
    const near = await nearestPath(this, path);
    const hint = near === undefined ? '' : `; did you mean \`${near}\`?`;
    const details = near === undefined ? { path } : { path, nearest: near };
    throw new IpeError('not_found', `nothing is at \`${path}\`${hint}`, { details });
  }

  /** Adds what only history knows to nodes read from trees. */
  async #describe(nodes: readonly BareNode[]): Promise<NodeInfo[]> {
    const { objects } = this.#modules;
    const trees = nodes.flatMap((node) => (node.kind === 'policy' ? [[node.hash, 'tree'] as const] : []));
    const bodies = await objects.readMany(trees);
    const states = (await this.#storedStates(nodes)) ?? (await this.#derivedStates(nodes));
    let next = 0;
    return nodes.map((node, i): NodeInfo => {
      const { version, updatedAtMs } = states[i]!;
      if (node.kind === 'directory') return { kind: 'directory', path: node.path, hash: node.hash, updatedAtMs };
      const { program } = decodePolicyTree(node.hash, bodies[next++]!);
      const { hash, test, path } = node;
      return { kind: 'policy', path, hash, version: version!, program, test, updatedAtMs };
    });
  }

  /** From the index rows, while the index is loaded; undefined where they are of another root, or one does not fit. */
  async #storedStates(nodes: readonly BareNode[]): Promise<NodeState[] | undefined> {
    const { kv, live } = this.#modules;
    if (live() !== undefined || this.commit === null) return undefined;
    const tag = decodeIndexTag(await kv.get('metadata', metadataKeys.index));
    if (tag?.commit !== this.commit) return undefined;
    const keys = nodes.map(({ kind, path }) => rowKey(kind === 'policy' ? 'p' : 'd', path));
    const rows = await kv.getMany('path_index', keys);
    const states: NodeState[] = [];
    for (const [i, { kind, path, hash }] of nodes.entries()) {
      const bytes = rows[i];
      if (bytes === undefined) return undefined;
      const row = kind === 'policy' ? decodePolicyRow(path, bytes) : decodeDirectoryRow(path, bytes);
      if (row?.hash !== hash) return undefined;
      states.push(row);
    }
    return states;
  }

  /** From the index and what the history says to differ from it. */
  async #derivedStates(nodes: readonly BareNode[]): Promise<NodeState[]> {
    await this.#modules.indexed();
    // The patch is relative to the index of one moment: read both again if an update came between.
    for (;;) {
      const live = this.#modules.live()!;
      const main = live.commit;
      const patch: StatePatch =
        this.commit === null
          ? { policies: new Map(), directories: new Map(), detached: true }
          : await this.#modules.records.patch(this.commit, main);
      if (this.#modules.live()!.commit !== main) continue;
      return nodes.map(({ kind, path }): NodeState => {
        const at = live.peek(path);
        if (kind === 'directory') {
          const state = patch.directories.get(path) ?? (at?.kind === 'directory' ? at : undefined);
          return { updatedAtMs: state?.updatedAtMs ?? this.timeMs };
        }
        const state = patch.policies.get(path) ?? (at?.kind === 'policy' ? at : undefined);
        if (state !== undefined) return state;
        throw new IpeError('internal', `no version of \`${path}\` is known at root \`${this.root}\``);
      });
    }
  }

  async #readFiles(info: PolicyInfo): Promise<PolicyFiles> {
    const { objects } = this.#modules;
    const ids = decodePolicyTree(info.hash, await objects.read(info.hash, 'tree'));
    if (ids.program !== info.program) {
      const details = { object: info.hash, problem: 'index', path: info.path };
      throw new IpeError('corrupt', `the path index names another program for \`${info.path}\` than its tree`, {
        details,
      });
    }
    const wanted = [ids.source, ids.program, ids.manifest, ...(info.test === null ? [] : [info.test])];
    const blobs = await objects.readMany(wanted.map((id) => [id, 'blob'] as const));
    // Exact copies: what was inflated lies in buffers several times its size, and these are kept.
    const [source, program, manifest, test] = blobs.map((blob) => new Uint8Array(blob));
    const files = { source: source!, program: program!, manifest: manifest! };
    return test === undefined ? files : { ...files, test };
  }
}

/** The path nearest to one that is not there: the nearest sibling below the deepest directory that is. */
export async function nearestPath(snapshot: PolicySnapshot, path: string): Promise<string | undefined> {
  for (let parent = parentPath(path), rest = baseName(path); parent !== undefined; ) {
    const node = await snapshot.lookup(parent);
    if (node?.kind === 'directory') {
      const { items } = await snapshot.listChildren(parent, { limit: 10_000 });
      const name = nearest(
        rest,
        items.map((item) => item.name),
      );
      return name === undefined ? undefined : childPath(parent, name);
    }
    rest = baseName(parent);
    parent = parentPath(parent);
  }
  return undefined;
}

function page<T extends { readonly path: string }>(items: readonly T[], more: boolean, kind: ListingKind): Page<T> {
  return more ? { items, cursor: encodeCursor(kind, items.at(-1)!.path) } : { items };
}

function directoryOnly<Node extends WalkNode>(node: Node): Node {
  if (node.kind === 'directory') return node;
  throw new IpeError('invalid_params', `\`${node.path}\` is a policy and has no children`, {
    details: { path: node.path },
  });
}

function notAVersion(id: ObjectId): IpeError {
  const details = { object: id, problem: 'kind' };
  return new IpeError('corrupt', `object \`${id}\` is a commit where a policy version belongs`, { details });
}
