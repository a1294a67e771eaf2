import type { KeyedHash } from '../../bytes/siphash.ts';
import type { Cell } from '../cell.ts';
import type { Dot } from '../dot.ts';
import { isTombstone, latestOf } from '../resolve.ts';
import type { KeyState, Member, Members } from '../state.ts';
import { type Cuts, deletedTree, expiringTree, isAbove, lastingTree, type TreeId } from './cuts.ts';
import { digestWords } from './tree.ts';

/** Told of one item: what it hashes to, and where it stands. The words are the caller's scratch. */
export type ItemVisitor = (tree: TreeId, leaf: number, item: Int32Array) => void;

const dotBytes = 22;
const keyHashBytes = 16;

/**
 * Turns cells into items of the digest trees: keyed hashes of a key, its tree and the writes that its state consists of.
 * A set gives one item a member, any other state one. Contexts are left out: what they cover may be purged at one
 * instance and not at another.
 */
export class Items {
  readonly #hash: KeyedHash;
  readonly #item = new Int32Array(digestWords);
  readonly #sum = new Int32Array(digestWords);
  /** The hash of the key stands at its beginning. */
  #scratch = new Uint8Array(256);
  #length = 0;
  #leaf = 0;

  constructor(hash: KeyedHash) {
    this.#hash = hash;
  }

  leafOf(key: string): number {
    this.#begin(key);
    return this.#leaf;
  }

  /** Visits every item of a cell. */
  visit(key: string, cell: Cell, visitor: ItemVisitor): void {
    if (cell.state === undefined) return;
    this.#begin(key);
    this.#visit(cell, visitor);
  }

  /** Visits what differs between two cells of a key: items that are in one of them only. */
  visitChange(key: string, before: Cell, after: Cell, visitor: ItemVisitor): void {
    this.#begin(key);
    const a = before.state;
    const b = after.state;
    if (a?.kind === 'members' && b?.kind === 'members' && before.view?.kind === 'value' && after.view?.kind === 'value')
      this.#visitMembers(a, b, visitor);
    else {
      if (a !== undefined) this.#visit(before, visitor);
      if (b !== undefined) this.#visit(after, visitor);
    }
  }

  /** Whether two cells of a key differ above the cuts. */
  differ(key: string, a: Cell, b: Cell, cuts: Cuts): boolean {
    const sum = this.#sum.fill(0);
    const add: ItemVisitor = (tree, _leaf, item) => {
      if (isAbove(tree, cuts)) for (let word = 0; word < digestWords; word++) sum[word]! ^= item[word]!;
    };
    this.visit(key, a, add);
    this.visit(key, b, add);
    return sum.some((word) => word !== 0);
  }

  #visit(cell: Cell, visitor: ItemVisitor): void {
    const state = cell.state!;
    if (state.kind === 'version') this.#emit(treeOfVersion(state), [state], visitor);
    else if (state.kind === 'siblings') this.#emit(treeOf(cell, state), state.live, visitor);
    else if (state.kind === 'counter') {
      // A counter without totals is never purged (`housekeeping.ts`), so it can always be compared.
      const tree = state.totals.length === 0 ? lastingTree : treeOf(cell, state);
      this.#emit(tree, state.reset === undefined ? state.totals : [state.reset, ...state.totals], visitor);
    } else {
      const whole = cell.view!.kind === 'absent' ? deletedTree(latestOf(state).ms) : undefined;
      for (const member of state.members) this.#member(member, whole, visitor);
    }
  }

  /** States share the members that did not change: those need no hash. */
  #visitMembers({ members: a }: Members, { members: b }: Members, visitor: ItemVisitor): void {
    let i = 0;
    let j = 0;
    while (i < a.length || j < b.length) {
      const [x, y] = [a[i], b[j]];
      if (x === y) {
        i++;
        j++;
        continue;
      }
      const first = y === undefined || (x !== undefined && x.member <= y.member);
      const second = x === undefined || (y !== undefined && y.member <= x.member);
      if (first) this.#member(a[i++]!, undefined, visitor);
      if (second) this.#member(b[j++]!, undefined, visitor);
    }
  }

  #member({ member, live }: Member, whole: TreeId | undefined, visitor: ItemVisitor): void {
    let tree = whole;
    if (!live.some(({ present }) => present)) tree = deletedTree(Math.max(...live.map(({ ms }) => ms)));
    this.#length = keyHashBytes;
    this.#text(member);
    this.#emitBehind(tree ?? lastingTree, live, visitor);
  }

  #begin(key: string): void {
    this.#length = 0;
    this.#text(key);
    this.#hash(this.#scratch, this.#length, this.#item);
    const scratch = this.#scratch;
    for (let word = 0; word < digestWords; word++) {
      const value = this.#item[word]!;
      scratch[4 * word] = value;
      scratch[4 * word + 1] = value >>> 8;
      scratch[4 * word + 2] = value >>> 16;
      scratch[4 * word + 3] = value >>> 24;
    }
    this.#leaf = this.#item[0]! & 0xffff;
  }

  #emit(tree: TreeId, dots: readonly Dot[], visitor: ItemVisitor): void {
    this.#length = keyHashBytes;
    this.#emitBehind(tree, dots, visitor);
  }

  #emitBehind(tree: TreeId, dots: readonly Dot[], visitor: ItemVisitor): void {
    this.#room(4 + dots.length * dotBytes);
    this.#u32(tree);
    for (const { source, seq, idx } of dots) {
      const scratch = this.#scratch;
      const { bytes } = source;
      let at = this.#length;
      for (let i = 0; i < bytes.length; i++) scratch[at++] = bytes[i]!;
      scratch[at++] = idx;
      scratch[at++] = idx >>> 8;
      const high = Math.floor(seq / 0x100000000);
      scratch[at++] = high;
      scratch[at++] = high >>> 8;
      this.#length = at;
      this.#u32(seq);
    }
    this.#hash(this.#scratch, this.#length, this.#item);
    visitor(tree, this.#leaf, this.#item);
  }

  /** The low bytes of UTF-16 units behind their number, then the high bytes unless all are zero: one text, one encoding. */
  #text(text: string): void {
    this.#room(4 + text.length * 2);
    const start = this.#length;
    const scratch = this.#scratch;
    let units = 0;
    let at = start + 4;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      units |= unit;
      scratch[at++] = unit;
    }
    const isWide = units > 0xff;
    if (isWide) for (let i = 0; i < text.length; i++) scratch[at++] = text.charCodeAt(i) >>> 8;
    this.#u32(text.length * 2 + Number(isWide));
    this.#length = at;
  }

  /** The low 32 bits, least byte first; there must be room. */
  #u32(value: number): void {
    const scratch = this.#scratch;
    const at = this.#length;
    scratch[at] = value;
    scratch[at + 1] = value >>> 8;
    scratch[at + 2] = value >>> 16;
    scratch[at + 3] = value >>> 24;
    this.#length = at + 4;
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#scratch.length) return;
    const grown = new Uint8Array(Math.max(this.#scratch.length * 2, this.#length + bytes));
    grown.set(this.#scratch);
    this.#scratch = grown;
  }
}

function treeOfVersion(version: KeyState & { readonly kind: 'version' }): TreeId {
  if (isTombstone(version)) return deletedTree(version.ms);
  return version.expiresMs === 0 ? lastingTree : expiringTree(version.expiresMs);
}

/** Where the whole state stands, by what it reads as: what `dueMs` of housekeeping goes by too. */
function treeOf(cell: Cell, state: KeyState): TreeId {
  const view = cell.view!;
  if (view.kind === 'absent') return deletedTree(latestOf(state).ms);
  return view.expiresMs === 0 ? lastingTree : expiringTree(view.expiresMs);
}
