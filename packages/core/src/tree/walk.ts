import { IpeError } from '../errors.ts';
import { baseName, comparePaths, depthOf, isWithin, nodeSegments } from './paths.ts';

/** What a listing needs to know of a node; index and Git trees both have it. */
export interface WalkNode {
  readonly kind: 'directory' | 'policy';
  readonly path: string;
}

/**
 * A listing in steps: yields a directory, is given its children in name order. So one algorithm reads the index in one
 * tick and a tree on disk at its pace.
 */
export type Walk<Node extends WalkNode, Result> = Generator<Node, Result, readonly Node[]>;

/** Runs a walk at once. */
export function runWalk<Node extends WalkNode, Result>(
  walk: Walk<Node, Result>,
  children: (directory: Node) => readonly Node[],
): Result {
  let step = walk.next([]);
  while (step.done !== true) step = walk.next(children(step.value));
  return step.value;
}

/** Runs a walk that waits for children. */
export async function runWalkAsync<Node extends WalkNode, Result>(
  walk: Walk<Node, Result>,
  children: (directory: Node) => Promise<readonly Node[]>,
): Promise<Result> {
  let step = walk.next([]);
  while (step.done !== true) step = walk.next(await children(step.value));
  return step.value;
}

/** A page of nodes, and whether more follow. */
export interface Slice<Node> {
  readonly nodes: readonly Node[];
  readonly more: boolean;
}

/** Policies at or below `start` in path order, after the path `after`. */
export function* policiesWalk<Node extends WalkNode>(
  start: Node,
  after: string | undefined,
  limit: number,
): Walk<Node, Slice<Node>> {
  return yield* depthFirst(start, { after, limit, depth: Number.POSITIVE_INFINITY, only: 'policy' });
}

/** Children of `start` in name order, after the name `after`. */
export function* childrenWalk<Node extends WalkNode>(
  start: Node,
  after: string | undefined,
  limit: number,
): Walk<Node, Slice<Node>> {
  const children = yield start;
  const from = after === undefined ? 0 : firstAfter(children, (node) => baseName(node.path) > after);
  return { nodes: children.slice(from, from + limit), more: children.length > from + limit };
}

/** Nodes at or below `start`, in the order asked, after the path `after`. `depth` counts from `start`. */
export function* subtreeWalk<Node extends WalkNode>(
  start: Node,
  options: { after: string | undefined; limit: number; depth: number; order: 'dfs' | 'bfs' },
): Walk<Node, Slice<Node>> {
  if (options.order === 'dfs') return yield* depthFirst(start, { ...options, only: undefined });
  return yield* breadthFirst(start, options);
}

function* depthFirst<Node extends WalkNode>(
  start: Node,
  options: { after: string | undefined; limit: number; depth: number; only: 'policy' | undefined },
): Walk<Node, Slice<Node>> {
  const { after, limit, only } = options;
  const bottom = depthOf(start.path) + options.depth;
  const nodes: Node[] = [];
  const stack: Node[] = [start];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (after === undefined || comparePaths(node.path, after) > 0) {
      if (only === undefined || node.kind === only) {
        if (nodes.length === limit) return { nodes, more: true };
        nodes.push(node);
      }
    }
    if (node.kind === 'directory' && depthOf(node.path) < bottom) {
      const children: readonly Node[] = yield node;
      // Siblings that end before `after`, with all that is below them, were returned by earlier pages.
      const done = (child: Node) =>
        after === undefined || comparePaths(child.path, after) >= 0 || isWithin(after, child.path);
      for (let i = children.length - 1, from = firstAfter(children, done); i >= from; i--) stack.push(children[i]!);
    }
  }
  return { nodes, more: false };
}

function* breadthFirst<Node extends WalkNode>(
  start: Node,
  options: { after: string | undefined; limit: number; depth: number },
): Walk<Node, Slice<Node>> {
  const { after, limit } = options;
  const nodes: Node[] = [];
  const afterDepth = after === undefined ? -1 : depthOf(after);
  let level: Node[] = [start];
  const top = depthOf(start.path);
  for (let depth = 0; level.length > 0; depth++) {
    for (const node of level) {
      const past = top + depth > afterDepth || (top + depth === afterDepth && comparePaths(node.path, after!) > 0);
      if (!past) continue;
      if (nodes.length === limit) return { nodes, more: true };
      nodes.push(node);
    }
    if (depth >= options.depth) break;
    const next: Node[] = [];
    for (const node of level) if (node.kind === 'directory') for (const child of yield node) next.push(child);
    level = next;
  }
  return { nodes, more: false };
}

/** Index of the first element of a sorted list for which `test` holds, as it then does for all after it. */
function firstAfter<Node>(list: readonly Node[], test: (node: Node) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (test(list[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

// ---- cursors --------------------------------------------------------------------------------------------------------

/** Kinds of listings; a cursor is good for its own only. */
export type ListingKind = 'policies' | 'children' | 'dfs' | 'bfs' | 'log' | 'history';

/** A cursor names the listing and the last item returned. */
export function encodeCursor(kind: ListingKind, last: string): string {
  return `${kind}:${last}`;
}

/** The last item returned. @throws IpeError `invalid_params` for a cursor of another listing or none of ours. */
export function decodeCursor(kind: ListingKind, cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined;
  const [of, last] = typeof cursor === 'string' ? splitOnce(cursor) : [];
  const isPath = kind === 'log' || kind === 'history';
  if (of !== kind || last === undefined || !(isPath ? /^[0-9a-f]{64}$/.test(last) : isNodePath(last))) {
    const message = `\`${String(cursor).slice(0, 100)}\` is no cursor of this listing; pass the one from the page before`;
    throw new IpeError('invalid_params', message, { details: { field: 'cursor' } });
  }
  return last;
}

/** Items of a page. @throws IpeError `invalid_params` unless it is a whole number from 1 to 10,000. */
export function pageLimit(limit: number | undefined): number {
  if (limit === undefined) return 1000;
  if (Number.isInteger(limit) && limit >= 1 && limit <= 10_000) return limit;
  throw new IpeError('invalid_params', `limit \`${limit}\` is not a whole number from 1 to 10,000`, {
    details: { field: 'limit' },
  });
}

function splitOnce(text: string): [string, string?] {
  const at = text.indexOf(':');
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function isNodePath(path: string): boolean {
  try {
    nodeSegments(path);
    return true;
  } catch {
    return false;
  }
}
