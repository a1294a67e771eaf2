import { IpeError } from '../errors.ts';
import { decodeCommit, decodeTree, isObjectId } from '../git/index.ts';
import type { KvOperation } from '../store/index.ts';
import type { Enqueue } from './gc.ts';
import type { PreparedObject } from './objects.ts';
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

/**
 * Writes what is new, and takes back the marks of what is not: it is wanted again. A condemned commit that comes back may
 * have lost what it names meanwhile, so it counts as whole no more. Runs in the queue.
 */
async function takeObjects(state: StoreState, objects: readonly PreparedObject[]): Promise<number> {
  if (state.failed !== undefined) throw state.failed;
  const ids = objects.map((object) => object.id);
  state.notePut(ids);
  const missing = await state.objects.missing(ids);
  const added = missing.size;
  const operations = objects
    .filter((object) => missing.delete(object.id))
    .map((object) => state.objects.operation(object));
  const condemned = ids.filter((id) => state.condemned.has(id));
  for (const id of condemned) {
    operations.push(del('metadata', metadataKeys.condemned(id)), del('metadata', metadataKeys.whole(id)));
  }
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
