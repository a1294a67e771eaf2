import { toHex } from '../bytes/index.ts';
import { IpeError, isIpeError } from '../errors.ts';
import { type Commit, decodeCommit, IdSet } from '../git/index.ts';
import type { KvOperation } from '../store/index.ts';
import { walkReachable } from './reach.ts';
import { planRetention, type Retention } from './retention.ts';
import { ascii, decodeRecord, del, fromAscii, metadataKeys, put } from './rows.ts';
import type { StoreState } from './state.ts';
import type { CollectOptions, CollectReport, ObjectId, PolicyFamily } from './types.ts';

/** Runs a task in turn with the updates. */
export type Enqueue = <Result>(task: () => Promise<Result>) => Promise<Result>;

/** Objects looked at, condemned or deleted at a time: an update never waits for more than one such slice. */
const sliceObjects = 500;

/**
 * Deletes what no root within retention reaches, in three steps that each other run separates by a grace:
 * mark what is reachable; condemn the rest; delete what an earlier run condemned a grace ago and nobody asked for since.
 *
 * Every put takes an object's mark back, also where the object was there already, and marks are looked at again in the
 * queue's turn that deletes: `gc-model.test.ts` tries every interleaving of these rules, and of those without one of them.
 * A root commit that is condemned is gone for whoever asks by its id. So a ref, lease or restore can only ever name
 * commits that no earlier run condemned, and what those reach is not deleted by this run either. That holds only if an
 * earlier run condemned everything it missed: after a sweep that was cut short, the next one only condemns. And nothing
 * else: what was put since the mark began is spared, or a new root commit would be refused whoever asks for it by its id,
 * and objects written ahead of their commit could go before it (`gc-ahead-model.test.ts`).
 */
export async function collectGarbage(
  state: StoreState,
  enqueue: Enqueue,
  options: CollectOptions,
): Promise<CollectReport> {
  const dryRun = options.dryRun === true;
  const graceMs = options.graceMs ?? 24 * 3600 * 1000;
  // In turn: a put that is half done is over by then, and the mark sees what came of it.
  await enqueue(async () => {
    state.putSinceMark = new Set();
  });
  try {
    return await collect(state, enqueue, options, dryRun, graceMs);
  } finally {
    state.putSinceMark = undefined;
  }
}

async function collect(
  state: StoreState,
  enqueue: Enqueue,
  options: CollectOptions,
  dryRun: boolean,
  graceMs: number,
): Promise<CollectReport> {
  const earlier = new Map(state.condemned);
  const wasCutShort = (await state.kv.get('metadata', metadataKeys.sweep)) !== undefined;
  const retention = await planRetention(state, options);
  const reached = await mark(state, retention, options);
  if (!dryRun) {
    await cutHistory(state, retention, reached.shallowVersions);
    await state.kv.write([put('metadata', metadataKeys.sweep, ascii('1'))]);
  }

  const totals = { scanned: 0, condemned: 0, cleared: 0, waiting: 0, deleted: 0, deletedBytes: 0, unreachable: 0 };
  const isDue = (since: number): boolean => !wasCutShort && options.nowMs - since >= graceMs;
  let slice: SweepSlice = newSlice();
  const finish = async (): Promise<void> => {
    const done = slice;
    slice = newSlice();
    if (!dryRun) await enqueue(() => takeSlice(state, done, options.nowMs, totals));
    else totals.deleted += done.doomed.length;
    await state.breathe();
    options.progress?.({ phase: 'sweep', done: totals.scanned });
  };
  for await (const [key, stored] of state.kv.entries('objects')) {
    totals.scanned++;
    slice.looked++;
    const id = toHex(key);
    const since = earlier.get(id);
    if (reached.ids.hasBytes(key)) {
      if (since !== undefined) slice.cleared.push(id);
    } else {
      totals.unreachable++;
      if (since === undefined) slice.condemned.push(id);
      else if (!isDue(since)) totals.waiting++;
      else slice.doomed.push({ id, key, stored, since });
      if (dryRun) totals.deletedBytes += since !== undefined && isDue(since) ? stored.length : 0;
    }
    if (slice.looked >= sliceObjects) await finish();
  }
  await finish();
  if (!dryRun) {
    state.objects.forget();
    await state.kv.write([del('metadata', metadataKeys.sweep)]);
    await state.kv.sync();
    if (totals.deleted > 0) await state.kv.compact('objects');
  }
  const { commits, boundary } = retention;
  return {
    dryRun,
    retainedCommits: commits.size,
    boundaryCommits: boundary.length,
    reachable: reached.ids.size,
    ...totals,
  };
}

interface Doomed {
  readonly id: ObjectId;
  readonly key: Uint8Array;
  readonly stored: Uint8Array;
  /** When it was condemned; another time by now means that it was wanted in between. */
  readonly since: number;
}

interface SweepSlice {
  looked: number;
  readonly condemned: ObjectId[];
  readonly cleared: ObjectId[];
  readonly doomed: Doomed[];
}

const newSlice = (): SweepSlice => ({ looked: 0, condemned: [], cleared: [], doomed: [] });

/** Everything that retained commits and their versions reach. @throws IpeError `corrupt`: nothing is deleted then */
async function mark(
  state: StoreState,
  retention: Retention,
  options: CollectOptions,
): Promise<{ ids: IdSet; shallowVersions: ObjectId[] }> {
  const ids = new IdSet();
  const shallowVersions: ObjectId[] = [];
  const breathe = async (): Promise<void> => {
    options.progress?.({ phase: 'mark', done: ids.size });
    await state.breathe();
  };
  const walk = { parents: () => false, readBlobs: false, breathe };
  await walkReachable(state, retention.commits, ids, walk);
  await walkReachable(state, retention.versions, ids, {
    ...walk,
    visit: (id, type, body) => {
      if (type !== 'commit') return;
      const { parents } = decodeCommit(state.primitives, body!);
      if (parents.some((parent) => !retention.versions.has(parent))) shallowVersions.push(id);
    },
  });
  // What is being brought in is kept as far as it is here; whether it is whole, the one who brings it finds out.
  await walkReachable(state, [...state.connecting], ids, { ...walk, parents: () => true, damaged: () => {} });
  return { ids, shallowVersions };
}

/** Writes down where history ends from now on, before anything older goes. */
async function cutHistory(
  state: StoreState,
  retention: Retention,
  shallowVersions: readonly ObjectId[],
): Promise<void> {
  for (const id of retention.boundary) {
    if (await state.records.isShallow(id)) continue;
    const base = await state.records.baseRecord(id);
    await state.kv.write([await state.records.encode(id, base), put('metadata', metadataKeys.shallow(id), ascii('1'))]);
    state.records.remember(id, base);
  }
  const rows = shallowVersions.map((id) => put('metadata', metadataKeys.shallow(id), ascii('1')));
  for (let at = 0; at < rows.length; at += sliceObjects) await state.kv.write(rows.slice(at, at + sliceObjects));
  await state.kv.sync();
}

/** One slice's marks and deletions. Runs in the queue. */
async function takeSlice(
  state: StoreState,
  slice: SweepSlice,
  nowMs: number,
  totals: { condemned: number; cleared: number; deleted: number; deletedBytes: number },
): Promise<void> {
  if (state.failed !== undefined) throw state.failed;
  const operations: KvOperation<PolicyFamily>[] = [];
  const cleared = slice.cleared.filter((id) => state.condemned.has(id));
  for (const id of cleared) operations.push(del('metadata', metadataKeys.condemned(id)));
  const condemned = slice.condemned.filter((id) => state.putSinceMark?.has(id) !== true);
  for (const id of condemned) operations.push(put('metadata', metadataKeys.condemned(id), ascii(String(nowMs))));
  const doomed = slice.doomed.filter(({ id, since }) => state.condemned.get(id) === since);
  for (const each of doomed) operations.push(...(await deletionOf(state, each)));
  if (operations.length > 0) await state.kv.write(operations);
  for (const id of cleared) state.condemned.delete(id);
  for (const id of condemned) state.condemned.set(id, nowMs);
  for (const { id } of doomed) state.condemned.delete(id);
  state.records.forget(doomed.map(({ id }) => id));
  totals.condemned += condemned.length;
  totals.cleared += cleared.length;
  totals.deleted += doomed.length;
  totals.deletedBytes += doomed.reduce((sum, { stored }) => sum + stored.length, 0);
}

async function deletionOf(state: StoreState, { id, key, stored }: Doomed): Promise<KvOperation<PolicyFamily>[]> {
  const operations = [del('objects', key), del('metadata', metadataKeys.condemned(id))];
  const commit = readCommit(state, id, stored);
  if (commit === undefined) return operations;
  for (const key of [metadataKeys.commit(id), metadataKeys.shallow(id), metadataKeys.whole(id)]) {
    operations.push(del('metadata', key));
  }
  const latest = await state.kv.get('metadata', metadataKeys.root(commit.tree));
  if (latest !== undefined && fromAscii(latest) === id)
    operations.push(del('metadata', metadataKeys.root(commit.tree)));
  const bytes = await state.kv.get('metadata', metadataKeys.commit(id));
  const record = bytes === undefined ? undefined : decodeRecord(state.primitives, state.codec, id, bytes);
  if (record !== undefined && (await state.records.chainAt(record.generation)) === id) {
    operations.push(del('metadata', metadataKeys.chain(record.generation)));
  }
  return operations;
}

/** The commit in stored bytes; undefined for other objects, and for a damaged one, which nothing needs any more. */
function readCommit(state: StoreState, id: ObjectId, stored: Uint8Array): Commit | undefined {
  try {
    const object = state.objects.decode(id, stored);
    return object.type === 'commit' ? decodeCommit(state.primitives, object.body) : undefined;
  } catch (error) {
    if (isIpeError(error)) return undefined;
    throw error;
  }
}

/** @throws IpeError `invalid_params` for ages that are no numbers of milliseconds */
export function checkCollectOptions(options: CollectOptions): void {
  for (const [field, value] of Object.entries({ retentionMs: options.retentionMs, graceMs: options.graceMs ?? 0 })) {
    if (Number.isFinite(value) && value >= 0) continue;
    throw new IpeError('invalid_params', `${field} \`${value}\` is not a number of milliseconds`, {
      details: { field },
    });
  }
}
