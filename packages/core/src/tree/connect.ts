import { IpeError } from '../errors.ts';
import type { Commit } from '../git/index.ts';
import { changedObjects } from './changed-objects.ts';
import { versionOf } from './commits.ts';
import type { Comparison } from './compare.ts';
import type { Enqueue } from './gc.ts';
import type { StatePatch } from './records.ts';
import { ascii, del, metadataKeys, put } from './rows.ts';
import type { StoreState } from './state.ts';
import { emptyRoot, type ObjectId } from './types.ts';

/** Objects claimed in one turn of the queue: an update never waits for more. */
const sliceObjects = 500;

interface NewCommit {
  readonly id: ObjectId;
  readonly commit: Commit;
  /** Whether its parents are not to be looked for: history ends here. */
  readonly isShallow: boolean;
}

/**
 * Sees that everything that root commits need is here, then writes down that they are whole, and derives their records.
 *
 * A commit is *whole* when a ref names it, or when this function said so before (`whole/<id>`) and no collection has
 * condemned it since. Only commits that are not are looked at, oldest first, each compared with its first parent, which
 * is whole by then: the cost is that of what is new. Whatever is found to be needed is claimed: looked for in the store and
 * its mark of a collection taken back, both in one turn of the queue, as a put would.
 *
 * The caller holds leases on the heads meanwhile.
 * @throws IpeError `corrupt` for a head that is not whole, or that is no root commit; nothing is written down of it then
 */
export async function connectHeads(state: StoreState, enqueue: Enqueue, heads: readonly ObjectId[]): Promise<void> {
  for (const head of heads) state.connecting.add(head);
  try {
    for (const head of heads) {
      const commits = await findWhole(state, enqueue, head);
      // From here on a collection follows it like any lease, to the versions that are derived now.
      state.connecting.delete(head);
      let last: Described | undefined;
      for (const commit of commits) last = await enqueue(() => describe(state, commit, last));
    }
  } finally {
    for (const head of heads) state.connecting.delete(head);
  }
}

/** @returns the commits that were not known to be whole and are now */
async function findWhole(state: StoreState, enqueue: Enqueue, head: ObjectId): Promise<NewCommit[]> {
  if (versionOf(await state.records.commit(head)) !== undefined) {
    throw new IpeError('corrupt', `commit \`${head}\` is a policy version, not a root commit`, {
      details: { object: head },
    });
  }
  const commits = await newCommits(state, head);
  let wanted = new Set<ObjectId>();
  const claimWanted = async (): Promise<void> => {
    const ids = [...wanted];
    wanted = new Set();
    for (let at = 0; at < ids.length; at += sliceObjects) {
      await enqueue(() => claim(state, ids.slice(at, at + sliceObjects)));
      await state.breathe();
    }
  };
  const roots = new Map<ObjectId, ObjectId>();
  for (const { id, commit, isShallow } of commits) {
    wanted.add(id);
    roots.set(id, commit.tree);
    const parent = isShallow ? undefined : commit.parents[0];
    const base = parent === undefined ? state.live.root : (roots.get(parent) ?? (await rootOf(state, parent)));
    await changedObjects(state, base, commit.tree, (object) => wanted.add(object));
    if (wanted.size >= sliceObjects) await claimWanted();
  }
  await claimWanted();
  const marks = commits.map(({ id }) => put('metadata', metadataKeys.whole(id), ascii('1')));
  for (let at = 0; at < marks.length; at += sliceObjects) await state.kv.write(marks.slice(at, at + sliceObjects));
  return commits;
}

/** A commit just described, and how the states at it differ from the index. */
interface Described {
  readonly id: ObjectId;
  readonly root: ObjectId;
  readonly generation: number;
  readonly patch: StatePatch;
  /** Commit that the index was at. */
  readonly main: ObjectId | null;
}

/**
 * Derives the record of a commit, and sees that the versions it made are there and stay. Runs in the queue.
 * @param last  the commit described before this one: along one line of history each then costs its own changes
 */
async function describe(state: StoreState, { id, commit, isShallow }: NewCommit, last: Described | undefined) {
  const parent = isShallow ? undefined : commit.parents[0];
  const goesOn = last !== undefined && last.id === parent && last.main === state.live.commit;
  const from = goesOn ? last : parent === undefined ? undefined : await describedAt(state, parent);
  const statesAt = (changed: Comparison) => state.statesWith(from!.patch, changed);
  const record = await state.records.derive(id, from && { ...from, statesAt });
  await takeBack(
    state,
    record.policies.map(([, , after]) => after.version),
  );
  if (from === undefined) return undefined;
  for (const [path, , after] of record.policies) from.patch.policies.set(path, after);
  for (const [path, , after] of record.directories) from.patch.directories.set(path, after);
  return { ...from, id, root: record.root, generation: record.generation };
}

async function describedAt(state: StoreState, id: ObjectId): Promise<Described> {
  const main = state.live.commit;
  const patch = await state.records.patch(id, main);
  for (const { commit, root, generation } of state.heads.values()) {
    if (commit === id && generation !== undefined) return { id, root, generation, patch, main };
  }
  const { root, generation } = await state.records.get(id);
  return { id, root, generation, patch, main };
}

/** Commits that `head` reaches and that are not known to be whole; parents come before children. */
async function newCommits(state: StoreState, head: ObjectId): Promise<NewCommit[]> {
  const found: NewCommit[] = [];
  const seen = new Set<ObjectId>();
  const open: (ObjectId | NewCommit)[] = [head];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next !== 'string') {
      found.push(next);
      continue;
    }
    if (seen.has(next)) continue;
    seen.add(next);
    if (await isWhole(state, next)) continue;
    const commit = await state.records.commit(next);
    const isShallow = await state.records.isShallow(next);
    open.push({ id: next, commit, isShallow });
    if (!isShallow) open.push(...commit.parents);
    if (seen.size % 64 === 0) await state.breathe();
  }
  return found;
}

async function isWhole(state: StoreState, id: ObjectId): Promise<boolean> {
  for (const head of state.heads.values()) if (head.commit === id && head.damage === undefined) return true;
  return !state.condemned.has(id) && (await state.kv.get('metadata', metadataKeys.whole(id))) !== undefined;
}

async function rootOf(state: StoreState, commit: ObjectId): Promise<ObjectId> {
  return (await state.records.commit(commit)).tree;
}

/** Sees that objects are stored, and that no collection under way deletes them. Runs in the queue. */
async function claim(state: StoreState, ids: readonly ObjectId[]): Promise<void> {
  const [missing] = await state.objects.missing(ids.filter((id) => id !== emptyRoot));
  if (missing !== undefined) {
    const details = { object: missing, problem: 'missing' };
    throw new IpeError('corrupt', `object \`${missing}\` is missing from what was brought in`, { details });
  }
  await takeBack(state, ids);
}

/** Takes back the marks of a collection. Runs in the queue. */
async function takeBack(state: StoreState, ids: readonly ObjectId[]): Promise<void> {
  if (state.failed !== undefined) throw state.failed;
  state.notePut(ids);
  const condemned = ids.filter((id) => state.condemned.has(id));
  if (condemned.length === 0) return;
  await state.kv.write(condemned.map((id) => del('metadata', metadataKeys.condemned(id))));
  for (const id of condemned) state.condemned.delete(id);
}
