import type { KeyedHash } from '../../bytes/siphash.ts';
import type { Cell } from '../cell.ts';
import { namespaceOf } from '../key.ts';
import { type Cuts, isAbove, lastingTree, laterCuts, noCuts, type TreeId } from './cuts.ts';
import { Items, type ItemVisitor } from './items.ts';
import { branchCount, DigestTree, digestWords, leavesPerBranch } from './tree.ts';

/** A key's committed cell before and after a commit. */
export type Changes = ReadonlyMap<string, { readonly before: Cell; readonly after: Cell }>;

/** What is above the cuts of one namespace, as one tree. */
export interface DigestView {
  readonly root: Int32Array;
  /** All branches: 4 words each. Owned by the caller. */
  branches(): Int32Array;
  /** The leaves of the branches asked for, in their order: 1,024 words a branch. Owned by the caller. */
  leaves(branches: readonly number[]): Int32Array;
}

/** The trees of one namespace: one for what lasts, and one an hour for what expires and what was deleted. */
class NamespaceDigest {
  readonly #trees = new Map<TreeId, DigestTree>();
  #floor: Cuts;

  constructor(floor: Cuts) {
    this.#floor = floor;
  }

  get sizeBytes(): number {
    let bytes = 0;
    for (const tree of this.#trees.values()) bytes += tree.sizeBytes;
    return bytes;
  }

  readonly xor: ItemVisitor = (id, leaf, item) => {
    let tree = this.#trees.get(id);
    if (tree === undefined) {
      // Never compared again: neither kept nor, as purging takes items out, missed.
      if (!isAbove(id, this.#floor)) return;
      this.#trees.set(id, (tree = new DigestTree()));
    }
    tree.xor(leaf, item);
  };

  dropBelow(cuts: Cuts): void {
    this.#floor = cuts;
    for (const id of this.#trees.keys()) if (id !== lastingTree && !isAbove(id, cuts)) this.#trees.delete(id);
  }

  view(cuts: Cuts): DigestView {
    const trees = [...this.#trees].filter(([id]) => isAbove(id, cuts)).map(([, tree]) => tree);
    const root = new Int32Array(digestWords);
    for (const tree of trees) for (let word = 0; word < digestWords; word++) root[word]! ^= tree.root[word]!;
    return {
      root,
      branches: () => {
        const out = new Int32Array(branchCount * digestWords);
        for (const tree of trees) tree.addBranches(out);
        return out;
      },
      leaves: (branches) => {
        const words = leavesPerBranch * digestWords;
        const out = new Int32Array(branches.length * words);
        for (const tree of trees) branches.forEach((branch, i) => void tree.addLeaves(branch, out, i * words));
        return out;
      },
    };
  }
}

/**
 * Digests of the facts of an instance, namespace by namespace, kept along with every commit. What a store holds at the
 * start is counted in by a walk over its rows (`begin`), in slices and in any order, while commits go on; until it ends,
 * the namespace cannot be compared. A walk may be repeated at any time: what it finds takes the place of what was kept.
 */
export class Digests {
  readonly items: Items;
  readonly #built = new Map<string, NamespaceDigest>();
  readonly #walked = new Map<string, NamespaceDigest>();
  /** Namespaces that have rows nobody has counted in yet. */
  readonly #unread: Set<string>;
  #floor: Cuts = noCuts;

  /** @param onDisk namespaces that may have rows already; all others are taken for empty */
  constructor(hash: KeyedHash, onDisk: Iterable<string>) {
    this.items = new Items(hash);
    this.#unread = new Set(onDisk);
  }

  get sizeBytes(): number {
    let bytes = 0;
    for (const digest of [...this.#built.values(), ...this.#walked.values()]) bytes += digest.sizeBytes;
    return bytes;
  }

  /** Whether a namespace can be compared: all rows that it had are counted in. */
  isCounted(namespace: string): boolean {
    return !this.#unread.has(namespace);
  }

  /** Takes in a commit, in the tick in which readers begin to see it. */
  changed(changes: Changes): void {
    for (const [key, { before, after }] of changes) {
      if (before === after) continue;
      const name = namespaceOf(key);
      const built = this.#builtOrNew(name);
      const walked = this.#walked.size === 0 ? undefined : this.#walked.get(name);
      if (built !== undefined) this.items.visitChange(key, before, after, built.xor);
      if (walked !== undefined) this.items.visitChange(key, before, after, walked.xor);
    }
  }

  #builtOrNew(name: string): NamespaceDigest | undefined {
    let digest = this.#built.get(name);
    if (digest === undefined && this.isCounted(name)) {
      digest = new NamespaceDigest(this.#floor);
      this.#built.set(name, digest);
    }
    return digest;
  }

  /**
   * Begins to count a namespace's rows from nothing. In the same tick the caller takes a snapshot of the rows, and the
   * committed cells of keys that are being written, whose rows it leaves out: later commits are counted by themselves.
   * Another walk of the namespace under way is given up.
   */
  begin(namespace: string): DigestWalk {
    const digest = new NamespaceDigest(this.#floor);
    this.#walked.set(namespace, digest);
    const isCurrent = () => this.#walked.get(namespace) === digest;
    return {
      add: (key, cell) => this.items.visit(key, cell, digest.xor),
      end: () => {
        if (!isCurrent()) return false;
        const kept = this.#built.get(namespace);
        this.#walked.delete(namespace);
        this.#unread.delete(namespace);
        this.#built.set(namespace, digest);
        const found = digest.view(this.#floor).root;
        return kept?.view(this.#floor).root.some((word, i) => word !== found[i]) === true;
      },
      abandon: () => {
        if (isCurrent()) this.#walked.delete(namespace);
      },
    };
  }

  /** What can be compared of a namespace above the cuts; undefined while it is not counted in yet. */
  view(namespace: string, cuts: Cuts): DigestView | undefined {
    if (!this.isCounted(namespace)) return undefined;
    // Of a namespace that was deleted whole and purged elsewhere, a vector comes here and no cell.
    const digest = this.#built.get(namespace) ?? new NamespaceDigest(this.#floor);
    return digest.view(laterCuts(cuts, this.#floor));
  }

  /** Forgets the hours below the cuts, which must never go back. */
  dropBelow(cuts: Cuts): void {
    this.#floor = laterCuts(this.#floor, cuts);
    for (const digest of [...this.#built.values(), ...this.#walked.values()]) digest.dropBelow(this.#floor);
  }
}

/** A walk over the rows of a namespace. */
export interface DigestWalk {
  /** Counts in the cell of one row. */
  add(key: string, cell: Cell): void;
  /** Puts what was counted in the place of what was kept. @returns whether the two differed: memory or disk is wrong */
  end(): boolean;
  /** Gives up. What was kept stays. */
  abandon(): void;
}
