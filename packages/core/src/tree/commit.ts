import { IpeError } from '../errors.ts';
import { decodeCommit } from '../git/index.ts';
import type { KvOperation } from '../store/index.ts';
import { rootCommitBody } from './commits.ts';
import type { Comparison, PolicySide } from './compare.ts';
import { decodePolicyTree, walkTo } from './directory.ts';
import type { PreparedObject } from './objects.ts';
import type { IndexChange } from './path-index.ts';
import {
  ascii,
  type ChainState,
  type CommitRecord,
  type DirectoryState,
  del,
  encodeDeletedRow,
  encodeDirectoryRow,
  encodeIndexTag,
  encodePolicyRow,
  metadataKeys,
  put,
  rowKey,
  storeFormat,
} from './rows.ts';
import { slices } from './slices.ts';
import { type Head, mainRef, type StoreState } from './state.ts';
import type { ChangedPolicy, CommitMeta, ObjectId, PolicyFamily, PolicyInfo, UpdateResult } from './types.ts';

/** A new root commit with everything that follows from it, not yet stored. */
export interface MadeCommit {
  readonly id: ObjectId;
  readonly record: CommitRecord;
  /** The commit and the version commits it makes. */
  readonly objects: ReadonlyMap<ObjectId, PreparedObject>;
}

/** Makes a root commit on top of `head`. @param comparison  what differs between the head's root and `root` */
export async function makeCommit(
  state: StoreState,
  head: Head,
  root: ObjectId,
  comparison: Comparison,
  meta: CommitMeta & { readonly message: string; readonly otherParents?: readonly ObjectId[] },
): Promise<MadeCommit> {
  const parents = [...(head.commit === null ? [] : [head.commit]), ...(meta.otherParents ?? [])];
  const body = rootCommitBody(state.primitives, { ...meta, tree: root, parents });
  const object = state.objects.prepare('commit', body);
  const before = await state.statesAt(head.commit, comparison);
  const commit = decodeCommit(state.primitives, body);
  const generation = (await state.generationOf(head)) + 1;
  const { record, versions } = await state.records.describe(object.id, commit, generation, comparison, before);
  return { id: object.id, record, objects: new Map([object, ...versions].map((each) => [each.id, each])) };
}

/** A ref's move to a root commit whose record is known, with the new objects it needs. */
export interface Move {
  readonly ref: string;
  readonly from: Head;
  readonly commit: ObjectId;
  /** Records from just after `from` to `commit`, oldest first. */
  readonly records: readonly (readonly [ObjectId, CommitRecord])[];
  readonly comparison: Comparison;
  readonly objects: ReadonlyMap<ObjectId, PreparedObject>;
  /** Program ids by policy tree, where they are known already. */
  readonly programs?: ReadonlyMap<ObjectId, ObjectId>;
  readonly reused: number;
  readonly dryRun?: boolean;
}

/** Objects packed before other work gets its turn, and most of them written in one batch. */
const packedAtOnce = 16;
const writtenAtOnce = 256;

/**
 * Takes a move: all its rows in one batch, then in one tick the new head and index, then the watchers.
 * With `dryRun` it only says what would come of it.
 *
 * Of many new objects most are written before that batch, which then is short: until a ref names them they are garbage,
 * whatever happens. All that takes long is cut into slices, so that reads go on between them.
 */
export async function applyMove(state: StoreState, move: Move): Promise<UpdateResult> {
  const record = move.records.at(-1)![1];
  const { objects } = move;
  const missing = await state.objects.missing([...objects.keys()]);
  const states = await movedStates(state, move);
  const changed = await describeMove(state, move, states);
  const result: UpdateResult = {
    ref: move.ref,
    root: record.root,
    commit: move.commit,
    previousRoot: move.from.root,
    previousCommit: move.from.commit,
    changed,
    reusedObjects: move.reused + objects.size - missing.size,
    newObjects: missing.size,
  };
  if (move.dryRun === true) return result;

  state.notePut(objects.keys());
  const operations = await writeAhead(state, objects, missing);
  // An object that a collection chose to delete is wanted again, even where it was there already.
  const condemned = state.condemned.size === 0 ? [] : [...objects.keys()].filter((id) => state.condemned.has(id));
  for (const id of condemned) operations.push(del('metadata', metadataKeys.condemned(id)));
  for (const [id, each] of move.records) {
    operations.push(await state.records.encode(id, each), put('metadata', metadataKeys.root(each.root), ascii(id)));
  }
  const kind = move.from.kind;
  operations.push(
    put('metadata', metadataKeys.format, ascii(String(storeFormat))),
    ...state.refOperations(move.ref, { kind, commit: move.commit }),
  );
  const { root, timeMs, generation } = record;
  const head: Head = { name: move.ref, kind, commit: move.commit, root, timeMs, generation };
  let indexChange: IndexChange | undefined;
  let { deleted } = state;
  if (move.ref === mainRef) {
    indexChange = await planIndexChange(state, move, states);
    deleted += states.deletedChange;
    await addIndexRows(state, operations, move, indexChange, states, deleted);
  }
  const isLarge = changed.length > writtenAtOnce;
  const directoryTrees = [...move.comparison.directories.values()].flatMap(
    ({ after }) => objects.get(after ?? '') ?? [],
  );
  if (isLarge) await state.breathe();
  await state.commit(operations, () => {
    state.heads.set(move.ref, head);
    state.deleted = deleted;
    if (indexChange !== undefined) state.live.apply(root, move.commit, indexChange);
    for (const object of directoryTrees) state.objects.remember(object);
    for (const id of condemned) state.condemned.delete(id);
  });
  state.notify({ ref: move.ref, root, commit: move.commit, previousRoot: move.from.root, changed });
  // The swap of a large change takes milliseconds, and so does what its caller makes of the result.
  if (isLarge) await state.breathe();
  return result;
}

/** Writes objects that are missing, but for the last few, and gives what writes those. */
async function writeAhead(
  state: StoreState,
  objects: ReadonlyMap<ObjectId, PreparedObject>,
  missing: ReadonlySet<ObjectId>,
): Promise<KvOperation<PolicyFamily>[]> {
  let operations: KvOperation<PolicyFamily>[] = [];
  const rest = slices(state.breathe, packedAtOnce);
  for (const id of missing) {
    if (operations.length === writtenAtOnce) {
      if (state.failed !== undefined) throw state.failed;
      await state.kv.write(operations);
      operations = [];
    }
    await rest();
    operations.push(state.objects.operation(objects.get(id)!));
  }
  return operations;
}

/** What some consecutive records did, taken together. */
interface MovedStates {
  /** States before the first of them. */
  readonly before: ReadonlyMap<string, ChainState | null>;
  /** States after the last of them. */
  readonly policies: ReadonlyMap<string, ChainState>;
  readonly directories: ReadonlyMap<string, DirectoryState | null>;
  /** How many rows of removed policies are added. */
  readonly deletedChange: number;
}

export async function movedStates(state: StoreState, move: Move): Promise<MovedStates> {
  const before = new Map<string, ChainState | null>();
  const policies = new Map<string, ChainState>();
  const directories = new Map<string, DirectoryState | null>();
  const rest = slices(state.breathe, 1024);
  for (const [, record] of move.records) {
    for (const [path, first, after] of record.policies) {
      await rest();
      if (!before.has(path)) before.set(path, first);
      policies.set(path, after);
    }
    for (const [path, , after] of record.directories) directories.set(path, after);
  }
  let deletedChange = 0;
  for (const each of before.values()) if (each?.deleted === true) deletedChange--;
  for (const each of policies.values()) if (each.deleted) deletedChange++;
  return { before, policies, directories, deletedChange };
}

export async function describeMove(
  state: StoreState,
  { comparison }: Move,
  { before, policies }: MovedStates,
): Promise<ChangedPolicy[]> {
  const changed: ChangedPolicy[] = [];
  const rest = slices(state.breathe, 1024);
  for (const [path, sides] of comparison.policies) {
    await rest();
    const previous = before.get(path) ?? null;
    changed.push({
      path,
      change: sides.before === null ? 'added' : sides.after === null ? 'removed' : 'changed',
      version: policies.get(path)!.version,
      previousVersion: previous === null || previous.deleted ? null : previous.version,
    });
  }
  return changed;
}

async function planIndexChange(
  state: StoreState,
  move: Move,
  { policies, directories }: MovedStates,
): Promise<IndexChange> {
  const { root } = move.records.at(-1)![1];
  const puts: Omit<PolicyInfo, 'program'>[] = [];
  const removed: string[] = [];
  const rest = slices(state.breathe, 1024);
  for (const [path, { version, updatedAtMs, deleted }] of policies) {
    await rest();
    if (deleted) {
      removed.push(path);
      continue;
    }
    const side = move.comparison.policies.get(path)?.after ?? standingPolicy(state, path);
    if (side === undefined) throw inconsistent(path);
    const { hash, test } = side;
    puts.push({ kind: 'policy', path, hash, version, test, updatedAtMs });
  }
  const hashes = puts.map((info) => info.hash).filter((hash) => !move.programs?.has(hash));
  const programs = new Map(move.programs);
  for (let at = 0; at < hashes.length; at += writtenAtOnce) {
    const slice = hashes.slice(at, at + writtenAtOnce);
    const bodies = await state.objects.readMany(slice.map((hash) => [hash, 'tree'] as const));
    for (let i = 0; i < slice.length; i++) programs.set(slice[i]!, decodePolicyTree(slice[i]!, bodies[i]!).program);
  }

  const nodes = new Map<string, { hash: ObjectId; commit: ObjectId; updatedAtMs: number } | null>();
  for (const [path, after] of directories) {
    if (after === null) {
      nodes.set(path, null);
      continue;
    }
    let hash = move.comparison.directories.get(path)?.after ?? undefined;
    if (hash === undefined) hash = path === '' ? root : (await walkTo(state.objects, root, path))?.hash;
    if (hash === undefined) throw inconsistent(path);
    nodes.set(path, { hash, ...after });
  }
  const put: PolicyInfo[] = [];
  for (const { kind, path, hash, version, test, updatedAtMs } of puts) {
    await rest();
    // Fields in one order everywhere: all infos then share one hidden class.
    put.push({ kind, path, hash, version, program: programs.get(hash)!, test, updatedAtMs });
  }
  return { put, removed, directories: nodes };
}

/** A path that was changed and changed back stands as it stood, at a later version. */
function standingPolicy(state: StoreState, path: string): PolicySide | undefined {
  const node = state.live.peek(path);
  return node?.kind === 'policy' ? node : undefined;
}

async function addIndexRows(
  state: StoreState,
  operations: KvOperation<PolicyFamily>[],
  move: Move,
  change: IndexChange,
  { before, policies }: MovedStates,
  deleted: number,
): Promise<void> {
  const rest = slices(state.breathe, 256);
  operations.push(put('metadata', metadataKeys.index, encodeIndexTag({ commit: move.commit, deleted })));
  for (const [id, record] of move.records)
    operations.push(put('metadata', metadataKeys.chain(record.generation), ascii(id)));
  for (const info of change.put) {
    await rest();
    operations.push(put('path_index', rowKey('p', info.path), encodePolicyRow(info.path, info)));
    if (before.get(info.path)?.deleted === true) operations.push(del('path_index', rowKey('x', info.path)));
  }
  for (const path of change.removed) {
    await rest();
    const { version, updatedAtMs } = policies.get(path)!;
    operations.push(put('path_index', rowKey('x', path), encodeDeletedRow(path, version, updatedAtMs)));
    operations.push(del('path_index', rowKey('p', path)));
  }
  for (const [path, node] of change.directories) {
    const key = rowKey('d', path);
    operations.push(node === null ? del('path_index', key) : put('path_index', key, encodeDirectoryRow(path, node)));
  }
}

function inconsistent(path: string): IpeError {
  return new IpeError('internal', `the history and the tree disagree about \`${path}\``, { details: { path } });
}
