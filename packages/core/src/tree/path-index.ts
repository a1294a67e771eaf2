import { IpeError } from '../errors.ts';
import { comparePaths, parentPath } from './paths.ts';
import type { DirectoryInfo, NodeInfo, ObjectId, PathIndex, PolicyInfo } from './types.ts';

/** A directory of the index. Owned by the index; others see `DirectoryInfo`. */
export interface IndexDirectory {
  readonly kind: 'directory';
  readonly path: string;
  hash: ObjectId;
  commit: ObjectId;
  updatedAtMs: number;
  /** Sorted by path, which among siblings is by name. */
  readonly children: IndexNode[];
  /** Counts the updates that touched the directory: part of the key of a cached listing, which so is dropped by them. */
  touched: number;
  /** Set where the directory's own tree could not be read: what lies below is unknown, and says so. */
  damage: IpeError | undefined;
}

export type IndexNode = IndexDirectory | PolicyInfo;

/** What an update changes in the index. */
export interface IndexChange {
  /** Policies put; the objects become the index's own. */
  readonly put: readonly PolicyInfo[];
  readonly removed: readonly string[];
  /** Directories that the update touched, the root (`""`) among them, with their new state; null: gone. */
  readonly directories: ReadonlyMap<string, { hash: ObjectId; commit: ObjectId; updatedAtMs: number } | null>;
}

/**
 * The current root's nodes in memory, changed in place by each update in one tick.
 *
 * A policy costs one small object, its ids as text and two table slots: well under 2 KB with its path.
 */
export class LivePathIndex implements PathIndex {
  root: ObjectId;
  commit: ObjectId | null;
  readonly #nodes = new Map<string, IndexNode>();
  #policies = 0;

  constructor(root: ObjectId, commit: ObjectId | null, timeMs: number) {
    this.root = root;
    this.commit = commit;
    this.#nodes.set('', newDirectory('', { hash: root, commit: commit ?? '', updatedAtMs: timeMs }));
  }

  get policyCount(): number {
    return this.#policies;
  }

  get directoryCount(): number {
    return this.#nodes.size - this.#policies;
  }

  /** Node at a path. @throws IpeError `corrupt` where a directory on the way could not be read. */
  find(path: string): IndexNode | undefined {
    const node = this.#nodes.get(path);
    if (node === undefined) this.#throwIfDamaged(path);
    return node;
  }

  /** Node at a path, without asking whether its absence could be damage. */
  peek(path: string): IndexNode | undefined {
    return this.#nodes.get(path);
  }

  lookup(path: string): NodeInfo | undefined {
    const node = this.find(path);
    return node === undefined || node.kind === 'policy' ? node : describeDirectory(node);
  }

  policiesBelow(path: string): PolicyInfo[] {
    const found: PolicyInfo[] = [];
    const node = this.find(path);
    if (node !== undefined) collect(node, found);
    return found;
  }

  /** Children of a directory in name order. Do not write to it; it changes with the next update. */
  children(directory: IndexDirectory): readonly IndexNode[] {
    if (directory.damage !== undefined) throw directory.damage;
    return directory.children;
  }

  /** Every policy, in no particular order. */
  *policies(): Generator<PolicyInfo> {
    for (const node of this.#nodes.values()) if (node.kind === 'policy') yield node;
  }

  *directories(): Generator<IndexDirectory> {
    for (const node of this.#nodes.values()) if (node.kind === 'directory') yield node;
  }

  /** Adds a node while the index is being filled. Siblings may come in any order; `seal` sorts them. */
  insert(node: IndexNode): void {
    this.#nodes.set(node.path, node);
    if (node.kind === 'policy') this.#policies++;
    const parent = parentPath(node.path);
    if (parent !== undefined) this.#directory(parent).children.push(node);
  }

  /** Ends the filling. */
  seal(): void {
    for (const directory of this.directories()) directory.children.sort(byPath);
  }

  markDamaged(path: string, damage: IpeError): void {
    this.#directory(path).damage = damage;
  }

  /** The damage found when the index was filled. */
  damages(): IpeError[] {
    return [...this.directories()].flatMap((directory) => (directory.damage === undefined ? [] : [directory.damage]));
  }

  /** Moves the index to another root, all in one tick. */
  apply(root: ObjectId, commit: ObjectId, change: IndexChange): void {
    const directories = [...change.directories].sort(([a], [b]) => comparePaths(a, b));
    for (const path of change.removed) this.#remove(path);
    for (const [path, state] of directories.toReversed()) if (state === null) this.#remove(path);
    for (const [path, state] of directories) if (state !== null) this.#touch(path, state);
    for (const policy of change.put) this.#place(policy);
    this.root = root;
    this.commit = commit;
  }

  #touch(path: string, state: { hash: ObjectId; commit: ObjectId; updatedAtMs: number }): void {
    const existing = this.#nodes.get(path);
    if (existing?.kind !== 'directory') {
      this.#place(newDirectory(path, state));
      return;
    }
    existing.hash = state.hash;
    existing.commit = state.commit;
    existing.updatedAtMs = state.updatedAtMs;
    existing.touched++;
  }

  /** Puts a node among its siblings, in place of the one of its path. */
  #place(node: IndexNode): void {
    const { children } = this.#directory(parentPath(node.path)!);
    const previous = this.#nodes.get(node.path);
    if (previous?.kind === 'policy') this.#policies--;
    if (node.kind === 'policy') this.#policies++;
    this.#nodes.set(node.path, node);
    children.splice(position(children, node.path), previous === undefined ? 0 : 1, node);
  }

  #remove(path: string): void {
    const node = this.#nodes.get(path);
    if (node === undefined) return;
    this.#nodes.delete(path);
    if (node.kind === 'policy') this.#policies--;
    const { children } = this.#directory(parentPath(path)!);
    children.splice(position(children, path), 1);
  }

  #directory(path: string): IndexDirectory {
    const node = this.#nodes.get(path);
    if (node?.kind !== 'directory') throw new IpeError('internal', `the path index has no directory \`${path}\``);
    return node;
  }

  #throwIfDamaged(path: string): void {
    for (let at: string | undefined = parentPath(path); at !== undefined; at = parentPath(at)) {
      const node = this.#nodes.get(at);
      if (node?.kind === 'directory' && node.damage !== undefined) throw node.damage;
    }
  }
}

export function newDirectory(
  path: string,
  state: { hash: ObjectId; commit: ObjectId; updatedAtMs: number },
): IndexDirectory {
  const { hash, commit, updatedAtMs } = state;
  return { kind: 'directory', path, hash, commit, updatedAtMs, children: [], touched: 0, damage: undefined };
}

export function describeDirectory(directory: IndexDirectory): DirectoryInfo {
  return { kind: 'directory', path: directory.path, hash: directory.hash, updatedAtMs: directory.updatedAtMs };
}

function collect(node: IndexNode, found: PolicyInfo[]): void {
  if (node.kind === 'policy') {
    found.push(node);
    return;
  }
  if (node.damage !== undefined) throw node.damage;
  for (const child of node.children) collect(child, found);
}

function byPath(a: IndexNode, b: IndexNode): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

/** Position of a path among sorted siblings: where it is, or where it belongs. */
function position(children: readonly IndexNode[], path: string): number {
  let low = 0;
  let high = children.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (children[middle]!.path < path) low = middle + 1;
    else high = middle;
  }
  return low;
}
