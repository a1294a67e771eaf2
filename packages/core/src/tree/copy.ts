import { IdSet, type ObjectType } from '../git/index.ts';
import { changedObjects } from './changed-objects.ts';
import { walkReachable } from './reach.ts';
import { type CommitRecord, decodeDeletedRow, fromAscii, metadataKeys, prefixRange } from './rows.ts';
import { mainRef, type StoreState } from './state.ts';
import { emptyRoot, type ObjectId, type StoreCopy } from './types.ts';

const sliceObjects = 256;

/** What `planCopy` found to be copied. */
export type CopyPlan = Omit<StoreCopy, 'release'> & {
  /** Root commits among it: what they reach must be kept until the copy is done. */
  readonly rootCommits: readonly ObjectId[];
};

/** What is to be copied, as it is gathered. */
interface Gathered {
  readonly objects: Map<ObjectId, ObjectType>;
  readonly rootCommits: ObjectId[];
  /** Newest version of each policy that the copy holds one of. */
  readonly versions: Iterable<readonly [path: string, version: ObjectId]>;
}

/**
 * Plans a copy of a store: of everything that refs and version chains reach or, with `since`, of what came after that
 * root commit of `main`; then it costs what came after. The caller keeps it from collection meanwhile.
 */
export async function planCopy(state: StoreState, since: ObjectId | undefined, mainOnly = false): Promise<CopyPlan> {
  const main = state.head(mainRef).commit;
  const refs: [string, ObjectId][] = [];
  for (const head of state.heads.values()) {
    if (mainOnly && head.name !== mainRef) continue;
    if (head.commit !== null) refs.push([gitRefName(head.name, head.kind), state.head(head.name).commit!]);
  }
  const heads = refs.map(([, id]) => id);
  const gathered = since === undefined ? await gatherAll(state, heads) : await gatherSince(state, since, heads);
  const { objects, rootCommits, versions } = gathered;

  const shallow: ObjectId[] = [];
  const prerequisites = new Set<ObjectId>();
  let namesEmptyRoot = false;
  for (const [id, type] of objects) {
    if (type !== 'commit') continue;
    const { tree, parents } = await state.records.commit(id);
    namesEmptyRoot ||= tree === emptyRoot;
    if (await state.records.isShallow(id)) shallow.push(id);
    else for (const parent of parents) if (!objects.has(parent)) prerequisites.add(parent);
  }
  for (const [path, version] of versions) refs.push([versionRefName(path), version]);
  refs.sort(([a], [b]) => (a < b ? -1 : 1));
  if (namesEmptyRoot) objects.set(emptyRoot, 'tree');
  return {
    commit: main,
    refs,
    rootCommits,
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

async function gatherAll(state: StoreState, heads: readonly ObjectId[]): Promise<Gathered> {
  const objects = new Map<ObjectId, ObjectType>();
  const rootCommits: ObjectId[] = [];
  const found = new IdSet();
  const cut = await shallowCommits(state);
  const walk = (starts: readonly ObjectId[], visit: (id: ObjectId, type: ObjectType) => void) =>
    walkReachable(state, starts, found, {
      parents: (id) => !cut.has(id),
      readBlobs: false,
      visit,
      breathe: state.breathe,
    });
  const versions = await newestVersions(state);
  await walk(heads, (id, type) => {
    objects.set(id, type);
    if (type === 'commit') rootCommits.push(id);
  });
  await walk(
    versions.map(([, id]) => id),
    (id, type) => objects.set(id, type),
  );
  return { objects, rootCommits, versions };
}

/** What the commits after `since` added: found by comparing each with its first parent, so it costs their changes. */
async function gatherSince(state: StoreState, since: ObjectId, heads: readonly ObjectId[]): Promise<Gathered> {
  const objects = new Map<ObjectId, ObjectType>();
  const rootCommits: ObjectId[] = [];
  const versions = new Map<string, { readonly version: ObjectId; readonly generation: number }>();
  const add = (id: ObjectId, type: ObjectType): void => {
    if (id !== emptyRoot && !objects.has(id)) objects.set(id, type);
  };
  // Only where histories part: the record of a large import is as large.
  let limit: number | undefined;
  const isOld = async (id: ObjectId, { generation }: CommitRecord): Promise<boolean> => {
    if ((await state.records.chainAt(generation)) !== id) return false;
    limit ??= (await state.records.get(since)).generation;
    return generation <= limit;
  };
  const open = [...heads];
  const seen = new Set<ObjectId>(open);
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (id === since) continue;
    const record = await state.records.get(id);
    if (record.parents[0] !== since && (await isOld(id, record))) continue;
    const { generation } = record;
    add(id, 'commit');
    rootCommits.push(id);
    // Versions made elsewhere than on `main` have no ref to hold them; whoever needs them derives them.
    if ((await state.records.chainAt(generation)) === id) {
      for (const [path, , { version }] of record.policies) {
        add(version, 'commit');
        if ((versions.get(path)?.generation ?? -1) < generation) versions.set(path, { version, generation });
      }
    }
    const cut = record.base === true || record.parents[0] === undefined;
    const parentRoot = cut ? emptyRoot : (await state.records.commit(record.parents[0]!)).tree;
    await changedObjects(state, parentRoot, record.root, add);
    for (const parent of record.parents) {
      if (cut || seen.has(parent)) continue;
      seen.add(parent);
      open.push(parent);
    }
    await state.breathe();
  }
  return { objects, rootCommits, versions: [...versions].map(([path, { version }]) => [path, version] as const) };
}
