import { decodeTree, IdSet, type ObjectType } from '../git/index.ts';
import { compareRoots } from './compare.ts';
import { walkReachable } from './reach.ts';
import { type CommitRecord, decodeDeletedRow, fromAscii, metadataKeys, prefixRange } from './rows.ts';
import { mainRef, type StoreState } from './state.ts';
import { emptyRoot, type ObjectId, type StoreCopy } from './types.ts';

const sliceObjects = 256;

/** What `planCopy` found to be copied. */
export type CopyPlan = Omit<StoreCopy, 'release'>;

/**
 * Plans a copy of a store: of everything that refs and version chains reach or, with `since`, of what came after that
 * root commit of `main`. The caller keeps it from collection meanwhile.
 */
export async function planCopy(state: StoreState, since: ObjectId | undefined, mainOnly = false): Promise<CopyPlan> {
  const main = state.head(mainRef).commit;
  const refs: [string, ObjectId][] = [];
  for (const head of state.heads.values()) {
    if (mainOnly && head.name !== mainRef) continue;
    if (head.commit !== null) refs.push([gitRefName(head.name, head.kind), state.head(head.name).commit!]);
  }
  const versions = await newestVersions(state);
  const objects = new Map<ObjectId, ObjectType>();
  const found = new IdSet();
  if (since === undefined) await gatherAll(state, refs, versions, objects, found);
  else await gatherSince(state, since, refs, objects, found);

  const shallow: ObjectId[] = [];
  const prerequisites = new Set<ObjectId>();
  const cut = await shallowCommits(state);
  for (const [id, type] of objects) {
    if (type !== 'commit') continue;
    if (cut.has(id)) shallow.push(id);
    else
      for (const parent of (await state.records.commit(id)).parents) if (!found.has(parent)) prerequisites.add(parent);
  }
  // A version whose commit is not copied stands where it stood.
  const copied = since === undefined ? versions : versions.filter(([, version]) => found.has(version));
  refs.push(...copied.map(([path, version]): [string, ObjectId] => [versionRefName(path), version]));
  refs.sort(([a], [b]) => (a < b ? -1 : 1));
  if (objects.size > 0) objects.set(emptyRoot, 'tree');
  return {
    commit: main,
    refs,
    shallow,
    prerequisites: [...prerequisites].sort(),
    count: objects.size,
    ids: () => objects.keys(),
    objects: (ids) => readAll(state, ids === undefined ? objects : chosen(objects, ids)),
  };
}

/** Git's name for a ref: branches are heads, pins are tags. */
export function gitRefName(name: string, kind: 'branch' | 'pin'): string {
  return kind === 'pin' ? `refs/tags/${name}` : `refs/heads/${name}`;
}

/** The ref under which an exported repository keeps a policy's newest version. */
export function versionRefName(path: string): string {
  return `refs/ipe/policy/${path.replaceAll('.', '/')}.policy`;
}

function chosen(objects: ReadonlyMap<ObjectId, ObjectType>, ids: Iterable<ObjectId>): Map<ObjectId, ObjectType> {
  const some = new Map<ObjectId, ObjectType>();
  for (const id of ids) {
    const type = objects.get(id);
    if (type !== undefined) some.set(id, type);
  }
  return some;
}

async function* readAll(
  state: StoreState,
  objects: ReadonlyMap<ObjectId, ObjectType>,
): AsyncGenerator<{ id: ObjectId; type: ObjectType; body: Uint8Array }> {
  let slice: [ObjectId, ObjectType][] = [];
  const read = async () => {
    const wanted = slice.filter(([id]) => id !== emptyRoot);
    const bodies = await state.objects.readMany(wanted);
    await state.breathe();
    return wanted.map(([id, type], i) => ({ id, type, body: bodies[i]! }));
  };
  if (objects.has(emptyRoot)) yield { id: emptyRoot, type: 'tree', body: new Uint8Array(0) };
  for (const entry of objects) {
    slice.push(entry);
    if (slice.length < sliceObjects) continue;
    yield* await read();
    slice = [];
  }
  yield* await read();
}

/** Newest version of every policy there is or was on `main`, deletions included. */
async function newestVersions(state: StoreState): Promise<[path: string, version: ObjectId][]> {
  const versions: [string, ObjectId][] = [];
  for (const info of state.live.policies()) versions.push([info.path, info.version]);
  for await (const [key, value] of state.kv.entries('path_index', prefixRange('x'))) {
    const path = fromAscii(key).slice(1);
    const row = decodeDeletedRow(path, value);
    if (row !== undefined && state.live.peek(path)?.kind !== 'policy') versions.push([path, row.version]);
  }
  return versions;
}

async function shallowCommits(state: StoreState): Promise<Set<ObjectId>> {
  const cut = new Set<ObjectId>();
  for await (const [key] of state.kv.entries('metadata', prefixRange('shallow/'))) {
    cut.add(fromAscii(key).slice(fromAscii(metadataKeys.shallow('')).length));
  }
  return cut;
}

async function gatherAll(
  state: StoreState,
  refs: readonly (readonly [string, ObjectId])[],
  versions: readonly (readonly [string, ObjectId])[],
  objects: Map<ObjectId, ObjectType>,
  found: IdSet,
): Promise<void> {
  const cut = await shallowCommits(state);
  const starts = [...refs, ...versions].map(([, id]) => id);
  await walkReachable(state, starts, found, {
    parents: (id) => !cut.has(id),
    readBlobs: false,
    visit: (id, type) => objects.set(id, type),
    breathe: state.breathe,
  });
}

/** What the commits after `since` added: found by comparing each with its first parent, so it costs their changes. */
async function gatherSince(
  state: StoreState,
  since: ObjectId,
  refs: readonly (readonly [string, ObjectId])[],
  objects: Map<ObjectId, ObjectType>,
  found: IdSet,
): Promise<void> {
  const add = (id: ObjectId, type: ObjectType): void => {
    if (id !== emptyRoot && found.add(id)) objects.set(id, type);
  };
  const limit = (await state.records.get(since)).generation;
  const isOld = async (id: ObjectId, record: CommitRecord): Promise<boolean> =>
    id === since || (record.generation <= limit && (await state.records.chainAt(record.generation)) === id);
  const open = refs.map(([, id]) => id);
  const seen = new Set<ObjectId>(open);
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    const record = await state.records.get(id);
    if (await isOld(id, record)) continue;
    add(id, 'commit');
    // Versions made elsewhere than on `main` have no ref to hold them; whoever needs them derives them.
    if ((await state.records.chainAt(record.generation)) === id) {
      for (const [, , after] of record.policies) add(after.version, 'commit');
    }
    const cut = record.base === true || record.parents[0] === undefined;
    const parentRoot = cut ? emptyRoot : (await state.records.get(record.parents[0]!)).root;
    await gatherChanged(state, parentRoot, record.root, add);
    for (const parent of record.parents) {
      if (cut || seen.has(parent)) continue;
      seen.add(parent);
      open.push(parent);
    }
    await state.breathe();
  }
}

async function gatherChanged(
  state: StoreState,
  before: ObjectId,
  after: ObjectId,
  add: (id: ObjectId, type: ObjectType) => void,
): Promise<void> {
  const { policies, directories } = await compareRoots(state.objects, before, after, state.breathe);
  for (const side of directories.values()) if (side.after !== null) add(side.after, 'tree');
  for (const side of policies.values()) {
    if (side.after === null) continue;
    if (side.after.test !== null && side.after.test !== side.before?.test) add(side.after.test, 'blob');
    if (side.after.hash === side.before?.hash) continue;
    add(side.after.hash, 'tree');
    const old = side.before === null ? [] : decodeTree(await state.objects.read(side.before.hash, 'tree'));
    const known = new Set(old.map((entry) => entry.id));
    for (const entry of decodeTree(await state.objects.read(side.after.hash, 'tree'))) {
      if (!known.has(entry.id)) add(entry.id, entry.kind);
    }
  }
}
