import { IpeError } from '../errors.ts';
import { applyMove, makeCommit } from './commit.ts';
import { compareRoots } from './compare.ts';
import { comparePaths } from './paths.ts';
import type { CommitRecord } from './rows.ts';
import { type Head, mainRef, type StoreState } from './state.ts';
import type { CommitMeta, ObjectId, RefInfo, Revision, UpdateResult } from './types.ts';
import { checkExpectedRoot, checkRefName, startingHead, unchanged } from './update.ts';

/** All refs by name. */
export function listRefs(state: StoreState): RefInfo[] {
  const refs: RefInfo[] = [];
  for (const { name, kind, commit, root, timeMs } of state.heads.values()) {
    if (commit !== null) refs.push({ name, kind, commit, root, timeMs });
  }
  return refs.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Names a root for good. Runs in the queue. */
export async function pinRef(state: StoreState, name: string, at: Revision): Promise<RefInfo> {
  checkRefName(name);
  if (at.commit === null) throw new IpeError('invalid_params', 'nothing was ever written: there is no root to pin');
  const existing = state.heads.get(name);
  if (existing !== undefined && (existing.kind !== 'pin' || existing.commit !== at.commit)) {
    const message = `the ref \`${name}\` is at another root already; unpin it or choose another name`;
    throw new IpeError('conflict', message, {
      details: { ref: name, current: existing.root, commit: existing.commit },
    });
  }
  const record = await state.records.get(at.commit);
  const { root, timeMs, generation } = record;
  const head: Head = { name, kind: 'pin', commit: at.commit, root, timeMs, generation };
  const operations = state.refOperations(name, { kind: 'pin', commit: at.commit });
  await state.commit(operations, () => state.heads.set(name, head));
  return { name, kind: 'pin', commit: at.commit, root, timeMs };
}

/** Drops a pin, or a branch that is not `main`. Runs in the queue. */
export async function dropRef(state: StoreState, name: string): Promise<void> {
  if (name === mainRef) throw new IpeError('invalid_params', '`main` is what the node serves and cannot be dropped');
  state.head(name);
  await state.commit(state.refOperations(name, null), () => state.heads.delete(name));
}

/** What a commit made by `promote` or `restore` says unless told otherwise. */
function withMessage(meta: CommitMeta, message: string): CommitMeta & { readonly message: string } {
  return { ...meta, message: meta.message ?? message };
}

/** One new commit on `ref` with the content of another root. Runs in the queue. */
export async function restoreRoot(
  state: StoreState,
  at: Revision,
  request: CommitMeta & { readonly ref?: string; readonly expectedRoot?: ObjectId },
): Promise<UpdateResult> {
  const ref = request.ref ?? mainRef;
  const head = startingHead(state, ref);
  checkExpectedRoot(head, request.expectedRoot);
  if (at.root === head.root && head.commit !== null) return unchanged(head, ref);
  const meta = withMessage(request, `Restore ${at.root.slice(0, 12)}`);
  return moveToRoot(state, head, at.root, { ...meta, trailers: [...(meta.trailers ?? []), ['Ipe-Restored', at.root]] });
}

/** Runs in the queue. */
export async function promoteRef(
  state: StoreState,
  source: Revision,
  request: CommitMeta & {
    readonly from: string;
    readonly to?: string;
    readonly expectedRoot?: ObjectId;
    readonly force?: boolean;
  },
): Promise<UpdateResult> {
  const target = startingHead(state, request.to ?? mainRef);
  checkExpectedRoot(target, request.expectedRoot);
  if (source.commit === null) throw new IpeError('invalid_params', `\`${request.from}\` has no commit to promote`);
  if (source.commit === target.commit && state.heads.has(target.name)) return unchanged(target, target.name);
  const between = await commitsSince(state, source.commit, target);
  if (between !== undefined) {
    const comparison = await compareRoots(state.objects, target.root, source.root, state.breathe);
    const { name: ref } = target;
    const { commit } = source;
    return applyMove(state, { ref, from: target, commit, records: between, comparison, objects: new Map(), reused: 0 });
  }
  if (source.root === target.root) return unchanged(target, target.name);
  if (request.force !== true) await refuseDiverged(state, source, target);
  const meta = withMessage(request, `Promote ${request.from} to ${target.name}`);
  return moveToRoot(state, target, source.root, { ...meta, otherParents: [source.commit] });
}

async function moveToRoot(
  state: StoreState,
  head: Head,
  root: ObjectId,
  meta: CommitMeta & { readonly message: string; readonly otherParents?: readonly ObjectId[] },
): Promise<UpdateResult> {
  const comparison = await compareRoots(state.objects, head.root, root, state.breathe);
  const made = await makeCommit(state, head, root, comparison, meta);
  return applyMove(state, {
    ref: head.name,
    from: head,
    commit: made.id,
    records: [[made.id, made.record]],
    comparison,
    objects: made.objects,
    reused: 0,
  });
}

/**
 * Commits after `base` up to `commit`, oldest first, along first parents; undefined where `base` is not among its
 * ancestors. From nothing (`base` null) a ref starts at `commit` itself: only its own record is needed.
 */
export async function commitsSince(
  state: StoreState,
  commit: ObjectId,
  head: Head,
): Promise<(readonly [ObjectId, CommitRecord])[] | undefined> {
  const { commit: base } = head;
  const lowest = await state.generationOf(head);
  const found: (readonly [ObjectId, CommitRecord])[] = [];
  for (let id: ObjectId | undefined = commit; id !== undefined && id !== base; ) {
    const record: CommitRecord = await state.records.get(id);
    if (record.generation <= lowest) return undefined;
    found.push([id, record]);
    id = record.base === true ? undefined : record.parents[0];
    if (id === undefined && base !== null) return undefined;
  }
  if (found.length === 0) found.push([commit, await state.records.get(commit)]);
  return found.reverse();
}

async function refuseDiverged(state: StoreState, source: Revision, target: Head): Promise<never> {
  const ancestors = new Set<ObjectId>();
  for (let id: ObjectId | undefined = source.commit ?? undefined; id !== undefined; ) {
    ancestors.add(id);
    const { parents } = await state.records.commit(id);
    id = (await state.records.isShallow(id)) ? undefined : parents[0];
  }
  let base: ObjectId | undefined = target.commit ?? undefined;
  while (base !== undefined && !ancestors.has(base)) {
    const { parents } = await state.records.commit(base);
    base = (await state.records.isShallow(base)) ? undefined : parents[0];
  }
  const baseRoot = base === undefined ? source.root : (await state.records.commit(base)).tree;
  const { policies } = await compareRoots(state.objects, baseRoot, target.root, state.breathe);
  const paths = [...policies.keys()].sort(comparePaths);
  const shown = paths
    .slice(0, 3)
    .map((path) => `\`${path}\``)
    .join(', ');
  const message =
    `\`${target.name}\` has moved since \`${source.name}\` began, and would lose ${paths.length} changed path(s)` +
    `${shown === '' ? '' : ` (${shown}${paths.length > 3 ? ', ...' : ''})`}; bring \`${source.name}\` up to date, or force it`;
  throw new IpeError('conflict', message, {
    details: { ref: target.name, current: target.root, commit: target.commit, paths: paths.slice(0, 100) },
  });
}
