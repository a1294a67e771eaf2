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
  decodeRef,
  del,
  encodeDeletedRow,
  encodeDirectoryRow,
  encodeIndexTag,
  encodePolicyRow,
  fromAscii,
  metadataKeys,
  type PolicyRow,
  prefixRange,
  put,
  refsDigest,
  rowKey,
  type StoredRef,
  storeFormat,
} from './rows.ts';
import { emptyHead, type Head, mainRef, StoreState } from './state.ts';
import { TreePolicyStore } from './store.ts';
import { emptyRoot, type ObjectId, type PolicyFamily, type PolicyStore, type PolicyStoreOptions } from './types.ts';

/**
 * Opens the policy store that lives in a `Kv`: reads the refs, verifies the root commit and every directory of `main`,
 * and warms the path index from its rows. Policies themselves are read when asked for.
 *
 * An index that does not fit the tree is built anew from the history. A commit or directory that is damaged does not
 * keep the store from opening: what needs it answers `corrupt`, everything else works, and `status().damaged` names it.
 *
 * @throws IpeError `unavailable` for a store written by a newer version; `corrupt` for a damaged ref
 */
export async function openPolicyStore(options: PolicyStoreOptions): Promise<PolicyStore> {
  return new TreePolicyStore(await loadState(options));
}

export async function loadState(options: PolicyStoreOptions): Promise<StoreState> {
  const state = new StoreState(options);
  await checkFormat(state);
  const refs = await readRefs(state);
  for (const [name, ref] of refs) state.heads.set(name, await readHead(state, name, ref));
  await checkRefs(state, refs);
  for await (const [key, value] of state.kv.entries('metadata', prefixRange('condemned/'))) {
    state.condemned.set(fromAscii(key).slice('condemned/'.length), Number(fromAscii(value)));
  }
  await warmIndex(state);
  return state;
}

async function checkFormat(state: StoreState): Promise<void> {
  const bytes = await state.kv.get('metadata', metadataKeys.format);
  if (bytes === undefined) return;
  const format = Number(fromAscii(bytes));
  if (Number.isInteger(format) && format >= 1 && format <= storeFormat) return;
  const message = `the policy store has format \`${fromAscii(bytes).slice(0, 20)}\`, and this version reads up to ${storeFormat}; start a newer IPE`;
  throw new IpeError('unavailable', message, { details: { format: fromAscii(bytes), supported: storeFormat } });
}

async function readRefs(state: StoreState): Promise<Map<string, StoredRef>> {
  const refs = new Map<string, StoredRef>();
  for await (const [key, value] of state.kv.entries('metadata', prefixRange('ref/'))) {
    const name = fromAscii(key).slice('ref/'.length);
    refs.set(name, decodeRef(name, value));
  }
  return refs;
}

/** Where refs are not those that were written last, none of them can be told to be right: all answer `corrupt`. */
async function checkRefs(state: StoreState, refs: ReadonlyMap<string, StoredRef>): Promise<void> {
  const stored = await state.kv.get('metadata', metadataKeys.refs);
  if (stored === undefined && refs.size === 0) return;
  if (stored !== undefined && fromAscii(stored) === fromAscii(refsDigest(state.primitives, refs))) return;
  const message = 'the refs do not match their digest: one is lost or damaged; restore the store from a backup';
  const damage = new IpeError('corrupt', message, { details: { object: 'refs', problem: 'damaged' } });
  state.refsDamage = damage;
  for (const head of [emptyHead, ...state.heads.values()])
    state.heads.set(head.name, { ...head, commit: null, damage });
}

async function readHead(state: StoreState, name: string, { commit, kind }: StoredRef): Promise<Head> {
  try {
    const { tree } = await state.records.commit(commit);
    const record: CommitRecord = await state.records.get(commit);
    const { timeMs, generation } = record;
    return { name, kind, commit, root: tree, timeMs, generation };
  } catch (error) {
    if (!isIpeError(error)) throw error;
    return { name, kind, commit, root: emptyRoot, timeMs: 0, generation: 0, damage: error };
  }
}

/** Rows of the index as they are on disk; `problem` where one is damaged. */
interface StoredIndex {
  readonly policies: Map<string, PolicyRow>;
  readonly directories: Map<string, DirectoryRow>;
  problem: string | undefined;
}

async function readRows(state: StoreState, head: Head): Promise<StoredIndex> {
  const tag = decodeIndexTag(await state.kv.get('metadata', metadataKeys.index));
  const stale = (tag?.commit ?? null) !== head.commit;
  const index: StoredIndex = {
    policies: new Map(),
    directories: new Map(),
    problem: stale ? 'it belongs to another root' : undefined,
  };
  for await (const [key, value] of state.kv.entries('path_index')) {
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
      state.deleted++;
    }
    if (row === undefined) index.problem ??= `the row of \`${path}\` is damaged`;
  }
  if (tag !== undefined && tag.deleted !== state.deleted) index.problem ??= 'rows of removed policies are missing';
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
      await state.breathe();
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

async function warmIndex(state: StoreState): Promise<void> {
  const head = state.heads.get(mainRef) ?? emptyHead;
  if (head.damage !== undefined) {
    state.live = new LivePathIndex(head.root, head.commit, head.timeMs);
    state.live.markDamaged('', head.damage);
    return;
  }
  const rows = await readRows(state, head);
  const tree = await walkDirectories(state, head.root);
  const problem = rows.problem ?? (head.commit === null ? undefined : misfit(rows, tree));
  if (problem === undefined) {
    state.live = fill(head, tree, rows);
    return;
  }
  const rebuilt = await rebuildRows(state, head, tree);
  state.live = fill(head, tree, rebuilt.index);
  state.indexRebuilt = problem;
  state.deleted = rebuilt.deleted;
  // With a directory missing the rows would not be whole: they are kept in memory and built again when it is back.
  if (tree.damages.size === 0) {
    await state.kv.write(rebuilt.operations);
    await state.kv.sync();
  }
}

/** Why the rows do not describe the tree; undefined where they do. */
function misfit(rows: StoredIndex, tree: WalkedTree): string | undefined {
  let policies = 0;
  let directories = 0;
  for (const [path, node] of tree.nodes) {
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

function fill(head: Head, tree: WalkedTree, rows: Pick<StoredIndex, 'policies' | 'directories'>): LivePathIndex {
  const live = new LivePathIndex(head.root, head.commit, head.timeMs);
  // Directories that one commit changed share its id's text.
  const commits = new Map<ObjectId, ObjectId>();
  for (const [path, node] of tree.nodes) {
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
