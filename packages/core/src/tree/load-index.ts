import { IpeError, isIpeError } from '../errors.ts';
import type { KvOperation } from '../store/index.ts';
import { decodeDirectory, decodePolicyTree } from './directory.ts';
import { LivePathIndex, newDirectory } from './path-index.ts';
import { childPath } from './paths.ts';
import {
  ascii,
  type CommitRecord,
  type DirectoryRow,
  decodeDeletedRow,
  decodeDirectoryRow,
  decodeIndexTag,
  decodePolicyRow,
  del,
  encodeDeletedRow,
  encodeDirectoryRow,
  encodeIndexTag,
  encodePolicyRow,
  fromAscii,
  metadataKeys,
  type PolicyRow,
  put,
  rowKey,
} from './rows.ts';
import { slices } from './slices.ts';
import { emptyHead, type Head, mainRef, type StoreState } from './state.ts';
import { emptyRoot, type ObjectId, type PolicyFamily } from './types.ts';

/** Steps of a loop over the index between which other work runs. */
const sliceSteps = 256;

/**
 * Loads the path index of `main` from its rows, holding every one of them to the verified directory trees; rows that do
 * not fit are built anew from the history. Runs beside reads, in slices, before anything is written.
 * @throws IpeError `unavailable` where the store is closed meanwhile; `corrupt` where rows must be built anew and the
 *   history they follow from is damaged
 */
export async function loadIndex(state: StoreState): Promise<void> {
  const head = state.heads.get(mainRef) ?? emptyHead;
  if (head.damage !== undefined) {
    // Before anything is asked: what a damaged root commit names is not known, and must not look empty.
    const live = new LivePathIndex(head.root, head.commit, head.timeMs);
    live.markDamaged('', head.damage);
    state.loaded = live;
    return;
  }
  await rest(state);
  const rows = await readRows(state, head);
  const tree = await walkDirectories(state, head.root);
  const problem = rows.problem ?? (head.commit === null ? undefined : await misfit(state, rows, tree));
  if (problem === undefined) {
    state.deleted = rows.deleted;
    state.loaded = await fill(state, head, tree, rows);
    return;
  }
  const rebuilt = await rebuildRows(state, head, tree);
  const live = await fill(state, head, tree, rebuilt.index);
  // With a directory missing the rows would not be whole: they are kept in memory and built again when it is back.
  if (tree.damages.size === 0) {
    await state.kv.write(rebuilt.operations);
    await state.kv.sync();
  }
  state.indexRebuilt = problem;
  state.deleted = rebuilt.deleted;
  state.loaded = live;
}

/** @throws IpeError `unavailable` once the store is closed */
async function rest(state: StoreState): Promise<void> {
  await state.breathe();
  if (state.closed) throw new IpeError('unavailable', 'the policy store is closed');
}

/** Rows of the index as they are on disk; `problem` where one is damaged. */
interface StoredIndex {
  readonly policies: Map<string, PolicyRow>;
  readonly directories: Map<string, DirectoryRow>;
  problem: string | undefined;
  deleted: number;
}

async function readRows(state: StoreState, head: Head): Promise<StoredIndex> {
  const tag = decodeIndexTag(await state.kv.get('metadata', metadataKeys.index));
  const stale = (tag?.commit ?? null) !== head.commit;
  const index: StoredIndex = {
    policies: new Map(),
    directories: new Map(),
    problem: stale ? 'it belongs to another root' : undefined,
    deleted: 0,
  };
  const step = slices(() => rest(state), sliceSteps);
  for await (const [key, value] of state.kv.entries('path_index')) {
    await step();
    const text = fromAscii(key);
    const path = text.slice(1);
    let row: object | undefined;
    if (text[0] === 'p') {
      const policy = decodePolicyRow(path, value);
      if (policy !== undefined) index.policies.set(path, policy);
      row = policy;
    } else if (text[0] === 'd') {
      const directory = decodeDirectoryRow(path, value);
      if (directory !== undefined) index.directories.set(path, directory);
      row = directory;
    } else if (text[0] === 'x') {
      row = decodeDeletedRow(path, value);
      index.deleted++;
    }
    if (row === undefined) index.problem ??= `the row of \`${path}\` is damaged`;
  }
  if (tag !== undefined && tag.deleted !== index.deleted) index.problem ??= 'rows of removed policies are missing';
  return index;
}

/** A node as the verified trees have it. */
type Skeleton = { kind: 'directory'; hash: ObjectId } | { kind: 'policy'; hash: ObjectId; test: ObjectId | null };

export interface WalkedTree {
  /** Parents before children. */
  readonly nodes: Map<string, Skeleton>;
  readonly damages: Map<string, IpeError>;
}

/** Reads and verifies every directory below a root, level by level. */
export async function walkDirectories(state: StoreState, root: ObjectId): Promise<WalkedTree> {
  const nodes = new Map<string, Skeleton>([['', { kind: 'directory', hash: root }]]);
  const damages = new Map<string, IpeError>();
  let level: [path: string, hash: ObjectId][] = root === emptyRoot ? [] : [['', root]];
  while (level.length > 0) {
    const next: typeof level = [];
    for (let at = 0; at < level.length; at += 256) {
      const slice = level.slice(at, at + 256);
      const bodies = await state.objects.tryReadMany(slice.map(([, hash]) => [hash, 'tree'] as const));
      await rest(state);
      for (let i = 0; i < slice.length; i++) {
        const [path, hash] = slice[i]!;
        try {
          const body = bodies[i]!;
          if (isIpeError(body)) throw body;
          for (const entry of decodeDirectory(hash, body)) {
            const child = childPath(path, entry.name);
            if (entry.kind === 'directory') {
              nodes.set(child, { kind: 'directory', hash: entry.hash });
              next.push([child, entry.hash]);
            } else nodes.set(child, { kind: 'policy', hash: entry.hash, test: entry.test });
          }
        } catch (error) {
          if (!isIpeError(error)) throw error;
          damages.set(path, error);
        }
      }
    }
    level = next;
  }
  return { nodes, damages };
}

/** Why the rows do not describe the tree; undefined where they do. */
async function misfit(state: StoreState, rows: StoredIndex, tree: WalkedTree): Promise<string | undefined> {
  const step = slices(() => rest(state), sliceSteps);
  let policies = 0;
  let directories = 0;
  for (const [path, node] of tree.nodes) {
    await step();
    const row = node.kind === 'policy' ? rows.policies.get(path) : rows.directories.get(path);
    if (row === undefined) return `\`${path}\` has no row`;
    if (row.hash !== node.hash) return `the row of \`${path}\` has another hash than the tree`;
    if (node.kind === 'policy') {
      policies++;
      if ((row as PolicyRow).test !== node.test) return `the row of \`${path}\` has other tests than the tree`;
    } else directories++;
  }
  if (tree.damages.size > 0) return undefined;
  const surplus = rows.policies.size - policies + rows.directories.size - directories;
  return surplus === 0 ? undefined : `it has ${surplus} row(s) for paths that are not in the tree`;
}

async function fill(
  state: StoreState,
  head: Head,
  tree: WalkedTree,
  rows: Pick<StoredIndex, 'policies' | 'directories'>,
): Promise<LivePathIndex> {
  const step = slices(() => rest(state), sliceSteps);
  const live = new LivePathIndex(head.root, head.commit, head.timeMs);
  // Directories that one commit changed share its id's text.
  const commits = new Map<ObjectId, ObjectId>();
  for (const [path, node] of tree.nodes) {
    await step();
    if (node.kind === 'policy') {
      const { hash, version, program, test, updatedAtMs } = rows.policies.get(path)!;
      live.insert({ kind: 'policy', path, hash, version, program, test, updatedAtMs });
      continue;
    }
    const row = rows.directories.get(path);
    const commit = row?.commit ?? head.commit ?? '';
    const shared = commits.get(commit) ?? commit;
    commits.set(shared, shared);
    const updatedAtMs = row?.updatedAtMs ?? head.timeMs;
    live.insert(newDirectory(path, { hash: node.hash, commit: shared, updatedAtMs }));
  }
  live.seal();
  for (const [path, damage] of tree.damages) live.markDamaged(path, damage);
  return live;
}

/** The index as the history says it is, and the operations that make the rows say the same. */
export async function rebuildRows(
  state: StoreState,
  head: Head,
  tree: WalkedTree,
): Promise<{
  index: Pick<StoredIndex, 'policies' | 'directories'>;
  deleted: number;
  operations: KvOperation<PolicyFamily>[];
}> {
  const index = { policies: new Map<string, PolicyRow>(), directories: new Map<string, DirectoryRow>() };
  const operations: KvOperation<PolicyFamily>[] = [];
  for await (const [key] of state.kv.entries('path_index')) operations.push(del('path_index', key));
  if (head.commit === null) return { index, deleted: 0, operations };
  const states = await state.records.statesAt(head.commit);
  const policies = [...tree.nodes].flatMap(([path, node]) => (node.kind === 'policy' ? [{ path, ...node }] : []));
  for (let at = 0; at < policies.length; at += 256) {
    const slice = policies.slice(at, at + 256);
    const bodies = await state.objects.tryReadMany(slice.map((policy) => [policy.hash, 'tree'] as const));
    await rest(state);
    for (let i = 0; i < slice.length; i++) {
      const { path, hash, test } = slice[i]!;
      const body = bodies[i]!;
      const chain = states.policies.get(path);
      if (chain === undefined) throw new IpeError('internal', `the history has no version of \`${path}\``);
      // A damaged policy keeps its place; reading it says what is wrong.
      const program = isIpeError(body) ? hash : decodePolicyTree(hash, body).program;
      const row = { hash, version: chain.version, program, test, updatedAtMs: chain.updatedAtMs };
      index.policies.set(path, row);
      operations.push(put('path_index', rowKey('p', path), encodePolicyRow(path, row)));
    }
  }
  for (const [path, node] of tree.nodes) {
    if (node.kind !== 'directory') continue;
    const { commit, updatedAtMs } = states.directories.get(path) ?? { commit: head.commit, updatedAtMs: head.timeMs };
    const row = { hash: node.hash, commit, updatedAtMs };
    index.directories.set(path, row);
    operations.push(put('path_index', rowKey('d', path), encodeDirectoryRow(path, row)));
  }
  let deleted = 0;
  for (const [path, { version, updatedAtMs, deleted: isDeleted }] of states.policies) {
    if (!isDeleted) continue;
    deleted++;
    operations.push(put('path_index', rowKey('x', path), encodeDeletedRow(path, version, updatedAtMs)));
  }
  for (let id: ObjectId | undefined = head.commit; id !== undefined; ) {
    const record: CommitRecord = await state.records.get(id);
    operations.push(put('metadata', metadataKeys.chain(record.generation), ascii(id)));
    id = (await state.records.isShallow(id)) ? undefined : record.parents[0];
  }
  operations.push(put('metadata', metadataKeys.index, encodeIndexTag({ commit: head.commit, deleted })));
  return { index, deleted, operations };
}
