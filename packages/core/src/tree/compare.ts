import { type BareNode, childrenOf } from './directory.ts';
import type { ObjectStore } from './objects.ts';
import type { ObjectId } from './types.ts';

/** A policy's ids on one side of a comparison. */
export interface PolicySide {
  readonly hash: ObjectId;
  readonly test: ObjectId | null;
}

/** What differs between two roots: nodes by path, each with its two sides (null: not there). Policies are in path order. */
export interface Comparison {
  readonly policies: ReadonlyMap<string, { readonly before: PolicySide | null; readonly after: PolicySide | null }>;
  readonly directories: ReadonlyMap<string, { readonly before: ObjectId | null; readonly after: ObjectId | null }>;
}

type Mutable<Map_> = Map_ extends ReadonlyMap<infer Key, infer Value> ? Map<Key, Value> : never;
type Draft = { [Field in keyof Comparison]: Mutable<Comparison[Field]> };

/**
 * Finds what differs between two roots. Subtrees with equal ids are equal and are never opened, so the cost is that of
 * the changed directories, whatever the size of the tree.
 */
export async function compareRoots(
  objects: ObjectStore,
  before: ObjectId,
  after: ObjectId,
  breathe: () => Promise<void> = async () => {},
): Promise<Comparison> {
  const found: Draft = { policies: new Map(), directories: new Map() };
  if (before === after) return found;
  const root = (hash: ObjectId): BareNode => ({ kind: 'directory', name: '', path: '', hash });
  // A stack of its own: depth is bounded, width is not.
  const open: [BareNode | undefined, BareNode | undefined][] = [[root(before), root(after)]];
  for (let steps = 1; open.length > 0; steps++) {
    const [left, right] = open.pop()!;
    if (steps % 64 === 0) await breathe();
    report(found, left, right);
    const lefts = left?.kind === 'directory' ? await childrenOf(objects, left) : [];
    const rights = right?.kind === 'directory' ? await childrenOf(objects, right) : [];
    for (const each of pair(lefts, rights).reverse()) open.push(each);
  }
  return found;
}

function report(found: Draft, left: BareNode | undefined, right: BareNode | undefined): void {
  const path = (left ?? right)!.path;
  if (left?.kind === 'policy' || right?.kind === 'policy') {
    const side = (node: BareNode | undefined) =>
      node?.kind === 'policy' ? { hash: node.hash, test: node.test } : null;
    found.policies.set(path, { before: side(left), after: side(right) });
  }
  if (left?.kind === 'directory' || right?.kind === 'directory') {
    const side = (node: BareNode | undefined) => (node?.kind === 'directory' ? node.hash : null);
    found.directories.set(path, { before: side(left), after: side(right) });
  }
}

/** Pairs of children of the same name that differ, by name. */
function pair(lefts: readonly BareNode[], rights: readonly BareNode[]): [BareNode | undefined, BareNode | undefined][] {
  const pairs: [BareNode | undefined, BareNode | undefined][] = [];
  for (let i = 0, j = 0; i < lefts.length || j < rights.length; ) {
    const left = lefts[i];
    const right = rights[j];
    const order =
      left === undefined ? 1 : right === undefined ? -1 : left.name < right.name ? -1 : left.name > right.name ? 1 : 0;
    if (order <= 0) i++;
    if (order >= 0) j++;
    if (order === 0 && same(left!, right!)) continue;
    pairs.push([order <= 0 ? left : undefined, order >= 0 ? right : undefined]);
  }
  return pairs;
}

function same(a: BareNode, b: BareNode): boolean {
  if (a.kind !== b.kind || a.hash !== b.hash) return false;
  return a.kind === 'directory' || a.test === (b as typeof a).test;
}
