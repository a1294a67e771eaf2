/**
 * A persistent sorted map: a B+ tree whose versions share structure, so that a snapshot is a reference and the garbage
 * collector is the only one who ever has to release it.
 *
 * Nodes carry the token of the edit that made them. An edit changes its own nodes in place and copies all others, so a
 * run of changes between two snapshots copies each touched node once.
 *
 * Keys are strings of code units 0..255, one a byte: their order by `<` is the order of the bytes.
 */
export type SortedMap<V> = Leaf<V> | Branch<V>;

/** Proof of who may change a node in place. Take a new one whenever the current root has been handed out. */
export type Edit = object;

interface Leaf<V> {
  readonly edit: Edit;
  readonly keys: string[];
  readonly values: V[];
  readonly children?: undefined;
}

/** `keys[i]` bounds `children[i]` from below; `keys[0]` is never compared. */
interface Branch<V> {
  readonly edit: Edit;
  readonly keys: string[];
  readonly children: SortedMap<V>[];
}

/** Entries of a node before it splits: wide enough to be shallow, narrow enough to copy cheaply. */
const nodeSizeMax = 64;

/** The map without entries. */
export function emptyMap<V>(edit: Edit): SortedMap<V> {
  return { edit, keys: [], values: [] };
}

/** The value under `key`, or undefined. */
export function mapGet<V>(map: SortedMap<V>, key: string): V | undefined {
  let node = map;
  while (node.children !== undefined) node = node.children[childAt(node, key)]!;
  const index = lowerBound(node.keys, key);
  return node.keys[index] === key ? node.values[index] : undefined;
}

/** The map with `key` set to `value`. Older roots keep what they had unless they were made by the same edit. */
export function mapSet<V>(map: SortedMap<V>, edit: Edit, key: string, value: V): SortedMap<V> {
  const left = own(map, edit);
  const right = insert(left, edit, key, value);
  if (right === undefined) return left;
  return { edit, keys: ['', right.keys[0]!], children: [left, right] };
}

/** The map without `key`. */
export function mapDelete<V>(map: SortedMap<V>, edit: Edit, key: string): SortedMap<V> {
  if (mapGet(map, key) === undefined) return map;
  let root = own(map, edit);
  remove(root, edit, key);
  while (root.children !== undefined && root.children.length === 1) root = root.children[0]!;
  return root.children !== undefined && root.children.length === 0 ? emptyMap(edit) : root;
}

/** Entries with `from <= key < to` in order, or in reverse order. An absent `to` is open. */
export function* mapEntries<V>(
  map: SortedMap<V>,
  from: string,
  to: string | undefined,
  reverse: boolean,
): Generator<readonly [key: string, value: V], void, undefined> {
  if (to !== undefined && to <= from) return;
  for (const { keys, values } of leaves(map, from, to, reverse)) {
    const first = lowerBound(keys, from);
    const end = to === undefined ? keys.length : lowerBound(keys, to);
    if (reverse) for (let i = end - 1; i >= first; i--) yield [keys[i]!, values[i]!];
    else for (let i = first; i < end; i++) yield [keys[i]!, values[i]!];
  }
}

function* leaves<V>(
  node: SortedMap<V>,
  from: string,
  to: string | undefined,
  reverse: boolean,
): Generator<Leaf<V>, void, undefined> {
  if (node.children === undefined) {
    yield node;
    return;
  }
  const first = childAt(node, from);
  const last = to === undefined ? node.children.length - 1 : childAt(node, to);
  if (reverse) for (let i = last; i >= first; i--) yield* leaves(node.children[i]!, from, to, reverse);
  else for (let i = first; i <= last; i++) yield* leaves(node.children[i]!, from, to, reverse);
}

function own<V>(node: SortedMap<V>, edit: Edit): SortedMap<V> {
  if (node.edit === edit) return node;
  return node.children === undefined
    ? { edit, keys: node.keys.slice(), values: node.values.slice() }
    : { edit, keys: node.keys.slice(), children: node.children.slice() };
}

/** Inserts into a node already owned by `edit`; the right half when it had to split. */
function insert<V>(node: SortedMap<V>, edit: Edit, key: string, value: V): SortedMap<V> | undefined {
  if (node.children === undefined) {
    const index = lowerBound(node.keys, key);
    if (node.keys[index] === key) {
      node.values[index] = value;
      return undefined;
    }
    node.keys.splice(index, 0, key);
    node.values.splice(index, 0, value);
  } else {
    const index = childAt(node, key);
    const child = own(node.children[index]!, edit);
    node.children[index] = child;
    const right = insert(child, edit, key, value);
    if (right === undefined) return undefined;
    node.keys.splice(index + 1, 0, lowest(right));
    node.children.splice(index + 1, 0, right);
  }
  return node.keys.length > nodeSizeMax ? split(node, edit) : undefined;
}

function split<V>(node: SortedMap<V>, edit: Edit): SortedMap<V> {
  // Keys mostly arrive in order (sequence numbers, sorted runs): leaving the left side fuller wastes less.
  const at = (node.keys.length * 3) >> 2;
  const keys = node.keys.splice(at);
  return node.children === undefined
    ? { edit, keys, values: node.values.splice(at) }
    : { edit, keys, children: node.children.splice(at) };
}

/** Removes a key known to be there. Emptied nodes go; half-empty ones stay, as lookups do not depend on how full they are. */
function remove<V>(node: SortedMap<V>, edit: Edit, key: string): void {
  if (node.children === undefined) {
    const index = lowerBound(node.keys, key);
    node.keys.splice(index, 1);
    node.values.splice(index, 1);
    return;
  }
  const index = childAt(node, key);
  const child = own(node.children[index]!, edit);
  remove(child, edit, key);
  if (child.keys.length > 0) {
    node.children[index] = child;
    return;
  }
  node.keys.splice(index, 1);
  node.children.splice(index, 1);
}

/** The smallest bound known for a node: exact in leaves, the bound it was split at in branches. */
function lowest<V>(node: SortedMap<V>): string {
  return node.keys[0]!;
}

/** Index of the first key that is not below `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the child that holds, or would hold, `key`. */
function childAt<V>(node: Branch<V>, key: string): number {
  let low = 1;
  let high = node.keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (node.keys[middle]! <= key) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
