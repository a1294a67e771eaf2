import { IpeError } from '../errors.ts';
import { decodeCommit, decodeTree, IdSet, isObjectId } from '../git/index.ts';
import type { KvOperation } from '../store/index.ts';
import { versionOf } from './commits.ts';
import type { Enqueue } from './gc.ts';
import type { PreparedObject } from './objects.ts';
import { walkReachable } from './reach.ts';
import { ascii, del, metadataKeys, put } from './rows.ts';
import type { StoreState } from './state.ts';
import { emptyRoot, type IncomingObjects, type ObjectId, type PolicyFamily } from './types.ts';

const sliceBytes = 1_000_000;

/**
 * Takes in objects from elsewhere: rehashes each and refuses what is not of the profile. No ref moves; what came in and
 * is named by none is collected like any garbage.
 *
 * @returns how many objects were new
 * @throws IpeError `corrupt` for a malformed object
 */
export async function ingestObjects(state: StoreState, enqueue: Enqueue, incoming: IncomingObjects): Promise<number> {
  let added = 0;
  let slice: PreparedObject[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    const taken = slice;
    slice = [];
    bytes = 0;
    added += await enqueue(() => takeObjects(state, taken));
    await state.breathe();
  };
  for await (const { type, body } of incoming.objects) {
    // Decoding is the check: a tree or commit that is not of the profile is refused before it is stored.
    if (type === 'tree') decodeTree(body);
    if (type === 'commit') decodeCommit(state.primitives, body);
    const object = state.objects.prepare(type, body);
    // The empty tree is known to every store and kept in none.
    if (object.id !== emptyRoot) slice.push(object);
    bytes += body.length;
    if (bytes >= sliceBytes) await flush();
  }
  await flush();
  await markShallow(state, incoming.shallow ?? []);
  await state.kv.sync();
  return added;
}

/** Writes what is new, and takes back the marks of what is not: it is wanted again. Runs in the queue. */
async function takeObjects(state: StoreState, objects: readonly PreparedObject[]): Promise<number> {
  if (state.failed !== undefined) throw state.failed;
  const ids = objects.map((object) => object.id);
  const missing = await state.objects.missing(ids);
  const added = missing.size;
  const operations = objects.filter((object) => missing.delete(object.id)).map((object) => object.operation);
  const condemned = ids.filter((id) => state.condemned.has(id));
  for (const id of condemned) operations.push(del('metadata', metadataKeys.condemned(id)));
  if (operations.length > 0) await state.kv.write(operations);
  for (const id of condemned) state.condemned.delete(id);
  return added;
}

/** History ends where the other side's did, unless this store knows more of it. */
async function markShallow(state: StoreState, shallow: readonly ObjectId[]): Promise<void> {
  const operations: KvOperation<PolicyFamily>[] = [];
  for (const id of shallow) {
    if (!isObjectId(id)) throw new IpeError('corrupt', `\`${String(id).slice(0, 80)}\` is not a commit id`);
    const { parents } = await state.records.commit(id);
    const missing = await state.objects.missing(parents);
    if (missing.size > 0) operations.push(put('metadata', metadataKeys.shallow(id), ascii('1')));
  }
  await state.kv.write(operations);
}

/**
 * Sees that everything a root commit needs is there, and derives its records.
 * @throws IpeError `corrupt` for a head that is not whole, or that is no root commit
 */
export async function checkHead(state: StoreState, head: ObjectId): Promise<void> {
  const commit = await state.records.commit(head);
  if (versionOf(commit) !== undefined) {
    throw new IpeError('corrupt', `commit \`${head}\` is a policy version, not a root commit`, {
      details: { object: head },
    });
  }
  const shallow = new Set<ObjectId>();
  const known = new IdSet();
  // What the current root reaches is whole already; only the rest is walked.
  const { commit: main } = state.live;
  if (main !== null) {
    await walkReachable(state, [main], known, { parents: () => false, readBlobs: false, breathe: state.breathe });
  }
  const blobs: ObjectId[] = [];
  await collectShallow(state, head, shallow);
  await walkReachable(state, [head], known, {
    parents: (id) => !shallow.has(id),
    readBlobs: false,
    visit: (id, type) => {
      if (type === 'blob') blobs.push(id);
    },
    breathe: state.breathe,
  });
  const [missing] = await state.objects.missing(blobs);
  if (missing !== undefined) {
    const details = { object: missing, problem: 'missing' };
    throw new IpeError('corrupt', `object \`${missing}\` is missing from what was brought in`, { details });
  }
  await state.records.get(head);
}

async function collectShallow(state: StoreState, head: ObjectId, shallow: Set<ObjectId>): Promise<void> {
  const open = [head];
  const seen = new Set(open);
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (await state.records.isShallow(id)) {
      shallow.add(id);
      continue;
    }
    for (const parent of (await state.records.commit(id)).parents) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      open.push(parent);
    }
  }
}
