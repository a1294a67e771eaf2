import { IpeError } from '../errors.ts';
import { decodeCommit } from '../git/index.ts';
import type { KvOperation } from '../store/index.ts';
import { rootCommitBody } from './commits.ts';
import type { Comparison, PolicySide } from './compare.ts';
import { decodePolicyTree, walkTo } from './directory.ts';
import type { PreparedObject } from './objects.ts';
import type { IndexChange } from './path-index.ts';
import { comparePaths } from './paths.ts';
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
import { type Head, mainRef, type StoreState } from './state.ts';
import type { ChangedPolicy, CommitMeta, ObjectId, PolicyFamily, PolicyInfo, UpdateResult } from './types.ts';

/** A new root commit with everything that follows from it, not yet stored. */
export interface MadeCommit {
  readonly id: ObjectId;
  readonly record: CommitRecord;
  /** The commit and the version commits it makes. */
  readonly objects: readonly PreparedObject[];
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
  const { record, versions } = state.records.describe(object.id, commit, head.generation + 1, comparison, before);
  const versionObjects = versions.map((version) => state.objects.prepare('commit', version.body));
  return { id: object.id, record, objects: [object, ...versionObjects] };
}

/** A ref's move to a root commit whose record is known, with the new objects it needs. */
export interface Move {
  readonly ref: string;
  readonly from: Head;
  readonly commit: ObjectId;
  /** Records from just after `from` to `commit`, oldest first. */
  readonly records: readonly (readonly [ObjectId, CommitRecord])[];
  readonly comparison: Comparison;
  readonly objects: readonly PreparedObject[];
  /** Program ids by policy tree, where they are known already. */
  readonly programs?: ReadonlyMap<ObjectId, ObjectId>;
  readonly reused: number;
  readonly dryRun?: boolean;
}

/**
 * Takes a move: all its rows in one batch, then in one tick the new head and index, then the watchers.
 * With `dryRun` it only says what would come of it.
 */
export async function applyMove(state: StoreState, move: Move): Promise<UpdateResult> {
  const record = move.records.at(-1)![1];
  const ids = [...new Set(move.objects.map((object) => object.id))];
  const missing = await state.objects.missing(ids);
  const { policies, directories } = finalStates(move.records.map(([, each]) => each));
  const changed = describeChanges(move, policies);
  const result: UpdateResult = {
    ref: move.ref,
    root: record.root,
    commit: move.commit,
    previousRoot: move.from.root,
    previousCommit: move.from.commit,
    changed,
    reusedObjects: move.reused + ids.length - missing.size,
    newObjects: missing.size,
  };
  if (move.dryRun === true) return result;

  const operations: KvOperation<PolicyFamily>[] = [];
  for (const object of move.objects) if (missing.delete(object.id)) operations.push(object.operation);
  // An object that a collection chose to delete is wanted again, even where it was there already.
  for (const id of ids) {
    if (state.condemned.has(id)) operations.push(del('metadata', metadataKeys.condemned(id)));
  }
  for (const [id, each] of move.records) {
    operations.push(state.records.encode(id, each), put('metadata', metadataKeys.root(each.root), ascii(id)));
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
    indexChange = await planIndexChange(state, move, policies, directories);
    deleted += deletedChange(move, policies);
    for (const operation of indexRows(move, indexChange, policies, deleted)) operations.push(operation);
  }
  await state.commit(operations, () => {
    state.heads.set(move.ref, head);
    state.deleted = deleted;
    if (indexChange !== undefined) state.live.apply(root, move.commit, indexChange);
    for (const object of move.objects) state.objects.remember(object);
    for (const id of ids) state.condemned.delete(id);
  });
  state.notify({ ref: move.ref, root, commit: move.commit, previousRoot: move.from.root, changed });
  return result;
}

/** States after the last of some consecutive records. */
function finalStates(records: readonly CommitRecord[]): {
  policies: Map<string, ChainState>;
  directories: Map<string, DirectoryState | null>;
} {
  const policies = new Map<string, ChainState>();
  const directories = new Map<string, DirectoryState | null>();
  for (const record of records) {
    for (const [path, , after] of record.policies) policies.set(path, after);
    for (const [path, , after] of record.directories) directories.set(path, after);
  }
  return { policies, directories };
}

/** States before the first of a move's records. */
function firstStates(move: Move): Map<string, ChainState | null> {
  const first = new Map<string, ChainState | null>();
  for (const [, record] of move.records) {
    for (const [path, before] of record.policies) if (!first.has(path)) first.set(path, before);
  }
  return first;
}

/** How many rows of removed policies a move adds. */
function deletedChange(move: Move, after: ReadonlyMap<string, ChainState>): number {
  let change = 0;
  for (const before of firstStates(move).values()) if (before?.deleted === true) change--;
  for (const state of after.values()) if (state.deleted) change++;
  return change;
}

function describeChanges(move: Move, after: ReadonlyMap<string, ChainState>): ChangedPolicy[] {
  const first = firstStates(move);
  const changed: ChangedPolicy[] = [];
  for (const [path, sides] of move.comparison.policies) {
    const before = first.get(path) ?? null;
    changed.push({
      path,
      change: sides.before === null ? 'added' : sides.after === null ? 'removed' : 'changed',
      version: after.get(path)!.version,
      previousVersion: before === null || before.deleted ? null : before.version,
    });
  }
  return changed.sort((a, b) => comparePaths(a.path, b.path));
}

async function planIndexChange(
  state: StoreState,
  move: Move,
  policies: ReadonlyMap<string, ChainState>,
  directories: ReadonlyMap<string, DirectoryState | null>,
): Promise<IndexChange> {
  const { root } = move.records.at(-1)![1];
  const puts: Omit<PolicyInfo, 'program'>[] = [];
  const removed: string[] = [];
  for (const [path, { version, updatedAtMs, deleted }] of policies) {
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
  const bodies = await state.objects.readMany(hashes.map((hash) => [hash, 'tree'] as const));
  const programs = new Map(move.programs);
  for (let i = 0; i < hashes.length; i++) programs.set(hashes[i]!, decodePolicyTree(hashes[i]!, bodies[i]!).program);

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
  // Fields in one order everywhere: all infos then share one hidden class.
  const put = puts.map(({ kind, path, hash, version, test, updatedAtMs }): PolicyInfo => {
    return { kind, path, hash, version, program: programs.get(hash)!, test, updatedAtMs };
  });
  return { put, removed, directories: nodes };
}

/** A path that was changed and changed back stands as it stood, at a later version. */
function standingPolicy(state: StoreState, path: string): PolicySide | undefined {
  const node = state.live.peek(path);
  return node?.kind === 'policy' ? node : undefined;
}

function indexRows(
  move: Move,
  change: IndexChange,
  states: ReadonlyMap<string, ChainState>,
  deleted: number,
): KvOperation<PolicyFamily>[] {
  const operations = [put('metadata', metadataKeys.index, encodeIndexTag({ commit: move.commit, deleted }))];
  for (const [id, record] of move.records)
    operations.push(put('metadata', metadataKeys.chain(record.generation), ascii(id)));
  for (const info of change.put) {
    operations.push(put('path_index', rowKey('p', info.path), encodePolicyRow(info.path, info)));
    operations.push(del('path_index', rowKey('x', info.path)));
  }
  for (const path of change.removed) {
    const { version, updatedAtMs } = states.get(path)!;
    operations.push(put('path_index', rowKey('x', path), encodeDeletedRow(path, version, updatedAtMs)));
    operations.push(del('path_index', rowKey('p', path)));
  }
  for (const [path, node] of change.directories) {
    const key = rowKey('d', path);
    operations.push(node === null ? del('path_index', key) : put('path_index', key, encodeDirectoryRow(path, node)));
  }
  return operations;
}

function inconsistent(path: string): IpeError {
  return new IpeError('internal', `the history and the tree disagree about \`${path}\``, { details: { path } });
}
