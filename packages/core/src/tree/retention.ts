import { IdSet } from '../git/index.ts';
import type { StoreState } from './state.ts';
import type { CollectOptions, ObjectId } from './types.ts';

/** Which history is kept. */
export interface Retention {
  /** Root commits. */
  readonly commits: IdSet;
  /** Policy versions that those commits made, or found standing where history ends. */
  readonly versions: IdSet;
  /** Kept commits of which not every parent is kept. */
  readonly boundary: readonly ObjectId[];
}

/**
 * Decides what retention keeps: from every ref, lease and decision's root back to the cutoff, and one commit more on each
 * line, the one that was in force at the cutoff. What came before is given up.
 *
 * @throws IpeError `corrupt` where a ref or commit cannot be read: what cannot be followed must not be collected
 */
export async function planRetention(state: StoreState, options: CollectOptions): Promise<Retention> {
  const cutoffMs = options.nowMs - options.retentionMs;
  const commits = new IdSet();
  const old = new Map<ObjectId, readonly ObjectId[]>();
  const open: ObjectId[] = [];
  const reach = (id: ObjectId | null): void => {
    if (id !== null && commits.add(id)) open.push(id);
  };
  for (const name of state.heads.keys()) reach(state.head(name).commit);
  for (const id of state.leases.keys()) if (!state.connecting.has(id)) reach(id);
  for (const id of options.keep ?? []) reach(await rootCommitOf(state, id));
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    const commit = await state.records.commit(id);
    const young = commit.author.timeSeconds * 1000 >= cutoffMs && !(await state.records.isShallow(id));
    if (young) for (const parent of commit.parents) reach(parent);
    else if (commit.parents.length > 0) old.set(id, commit.parents);
    if (open.length % 64 === 0) await state.breathe();
  }
  const boundary = [...old].flatMap(([id, parents]) => (parents.every((parent) => commits.has(parent)) ? [] : [id]));
  const versions = new IdSet();
  const cut = new Set(boundary);
  for (const id of commits) {
    const record = cut.has(id) ? await state.records.baseRecord(id) : await state.records.get(id);
    for (const [, , after] of record.policies) versions.add(after.version);
    await state.breathe();
  }
  return { commits, versions, boundary };
}

/** A decision cites a root commit or a content root; one that is gone already cannot be kept. */
async function rootCommitOf(state: StoreState, id: ObjectId): Promise<ObjectId | null> {
  const object = await state.objects.find(id);
  if (object?.type === 'commit') return id;
  if (object?.type !== 'tree') return null;
  return (await state.records.latestWithRoot(id)) ?? null;
}
