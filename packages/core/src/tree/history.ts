import { IpeError } from '../errors.ts';
import { decodeCommit } from '../git/index.ts';
import { describeCommit, describeVersion, versionOf } from './commits.ts';
import { compareRoots, type PolicySide } from './compare.ts';
import { decodePolicyTree, type PolicyFileIds } from './directory.ts';
import { unifiedPatch } from './patch.ts';
import { comparePaths, isWithin, nodeSegments, policySegments } from './paths.ts';
import { resolveRevision } from './resolve.ts';
import { nearestPath } from './snapshot.ts';
import { mainRef, type StoreState } from './state.ts';
import type {
  CommitInfo,
  DiffEntry,
  DiffOptions,
  LogOptions,
  ObjectId,
  Page,
  PageOptions,
  PolicyVersion,
} from './types.ts';
import { decodeCursor, encodeCursor, pageLimit } from './walk.ts';

/** Versions of one path, newest first, along the version chain. */
export async function readHistory(
  state: StoreState,
  path: string,
  options: PageOptions & { readonly ref?: string },
): Promise<Page<PolicyVersion>> {
  policySegments(path);
  const limit = pageLimit(options.limit);
  const last = decodeCursor('history', options.cursor);
  const ref = options.ref ?? mainRef;
  let next = last === undefined ? await newestVersion(state, path, ref) : await previousVersion(state, last);
  const items: PolicyVersion[] = [];
  while (next !== undefined && items.length < limit) {
    const version = describeVersion(next, await state.records.commit(next));
    if (version.path !== path) {
      const message = `the version chain of \`${path}\` holds a version of \`${version.path}\``;
      throw new IpeError('corrupt', message, { details: { object: next, problem: 'chain', path } });
    }
    items.push(version);
    next = await previousVersion(state, next);
  }
  return next === undefined ? { items } : { items, cursor: encodeCursor('history', items.at(-1)!.version) };
}

async function newestVersion(state: StoreState, path: string, ref: string): Promise<ObjectId | undefined> {
  // The patch is relative to the index of one moment: read both again if an update came between.
  for (;;) {
    const { commit } = state.head(ref);
    const main = state.live.commit;
    let version: ObjectId | undefined;
    if (commit !== null) {
      const sides = new Map([[path, { before: null, after: null }]]);
      const states = await state.statesAt(commit, { policies: sides, directories: new Map() });
      version = states.policies.get(path)?.version;
    }
    if (main !== state.live.commit) continue;
    if (version !== undefined) return version;
    const near = await nearestPath(state.snapshot(state.head(ref)), path);
    const hint = near === undefined ? '' : `; did you mean \`${near}\`?`;
    const details = near === undefined ? { path } : { path, nearest: near };
    throw new IpeError('not_found', `no policy was ever at \`${path}\`${hint}`, { details });
  }
}

async function previousVersion(state: StoreState, version: ObjectId): Promise<ObjectId | undefined> {
  const { parents } = await state.records.commit(version);
  return parents[0] === undefined || (await state.records.isShallow(version)) ? undefined : parents[0];
}

/** Root commits of a ref, or from any other revision back, newest first, along first parents; all, or those of a path. */
export async function readLog(state: StoreState, options: LogOptions): Promise<Page<CommitInfo>> {
  const { path } = options;
  const limit = pageLimit(options.limit);
  const last = decodeCursor('log', options.cursor);
  const before = (commit: ObjectId) =>
    path === undefined ? parentOf(state, commit) : changeBefore(state, path, commit);
  let next: ObjectId | undefined;
  if (last !== undefined) next = await before(last);
  else {
    const start = options.ref === undefined ? state.head(mainRef) : await resolveRevision(state, options.ref);
    next = path === undefined ? (start.commit ?? undefined) : await newestChange(state, path, start);
  }
  const items: CommitInfo[] = [];
  while (next !== undefined && items.length < limit) {
    items.push(describeCommit(next, await state.records.commit(next)));
    next = await before(next);
  }
  return next === undefined ? { items } : { items, cursor: encodeCursor('log', items.at(-1)!.commit) };
}

/** The commit that last changed what stands at a path. @throws IpeError `not_found` with the nearest path */
async function newestChange(
  state: StoreState,
  path: string,
  at: { readonly root: ObjectId; readonly commit: ObjectId | null },
): Promise<ObjectId> {
  const snapshot = state.snapshot({ ...at, timeMs: 0 });
  const change = await snapshot.lastChange(path);
  if (change !== undefined) return change.commit;
  const near = await nearestPath(snapshot, path);
  const hint = near === undefined ? '' : `; did you mean \`${near}\`?`;
  const details = near === undefined ? { path } : { path, nearest: near };
  throw new IpeError('not_found', `nothing is at \`${path}\`${hint}`, { details });
}

/** The change of a path before the one that a commit made; undefined where it came to be, or its history was collected. */
async function changeBefore(state: StoreState, path: string, commit: ObjectId): Promise<ObjectId | undefined> {
  const { directories, policies } = await state.records.get(commit);
  let before = directories.find(([at]) => at === path)?.[1]?.commit;
  if (before === undefined) {
    const version = policies.find(([at]) => at === path)?.[1]?.version;
    const found = version === undefined ? undefined : await state.objects.find(version);
    if (found?.type === 'commit') before = versionOf(decodeCommit(state.primitives, found.body))?.commit;
  }
  if (before === undefined || state.condemned.has(before)) return undefined;
  return (await state.objects.find(before)) === undefined ? undefined : before;
}

/** Commits of `main` at distances 0, 1, 2, 4, 8, ... from its head, as far back as history is kept. */
export async function readLandmarks(state: StoreState): Promise<ObjectId[]> {
  const head = state.head(mainRef);
  const { commit } = head;
  if (commit === null) return [];
  const generation = await state.generationOf(head);
  const found = [commit];
  for (let distance = 1; distance <= generation; distance *= 2) {
    const id = await state.records.chainAt(generation - distance);
    if (id === undefined || state.condemned.has(id)) break;
    found.push(id);
  }
  return found;
}

async function parentOf(state: StoreState, commit: ObjectId): Promise<ObjectId | undefined> {
  const { parents } = await state.records.commit(commit);
  return parents[0] === undefined || (await state.records.isShallow(commit)) ? undefined : parents[0];
}

/** Policies that differ between two roots, in path order. */
export async function diffRoots(
  state: StoreState,
  from: ObjectId,
  to: ObjectId,
  options: DiffOptions,
): Promise<DiffEntry[]> {
  const prefix = options.prefix ?? '';
  nodeSegments(prefix);
  const { policies } = await compareRoots(state.objects, from, to, state.breathe);
  const entries: DiffEntry[] = [];
  for (const [path, { before, after }] of policies) {
    if (isWithin(path, prefix)) entries.push(await diffPolicy(state, path, before, after, options.patches === true));
  }
  return entries.sort((a, b) => comparePaths(a.path, b.path));
}

async function diffPolicy(
  state: StoreState,
  path: string,
  before: PolicySide | null,
  after: PolicySide | null,
  patches: boolean,
): Promise<DiffEntry> {
  const [left, right] = [await fileIds(state, before), await fileIds(state, after)];
  const parts: DiffEntry['parts'][number][] = [];
  for (const part of ['source', 'program', 'manifest'] as const) if (left?.[part] !== right?.[part]) parts.push(part);
  if ((before?.test ?? null) !== (after?.test ?? null)) parts.push('test');
  const change = before === null ? 'added' : after === null ? 'removed' : 'changed';
  const entry = { path, change, before: before?.hash ?? null, after: after?.hash ?? null, parts } as const;
  if (!patches) return entry;
  const file = path.replaceAll('.', '/');
  const sourcePatch = await patchOf(state, `${file}.policy.yaml`, left?.source ?? null, right?.source ?? null);
  const testPatch = await patchOf(state, `${file}.test.yaml`, before?.test ?? null, after?.test ?? null);
  return { ...entry, ...(sourcePatch === '' ? {} : { sourcePatch }), ...(testPatch === '' ? {} : { testPatch }) };
}

async function fileIds(state: StoreState, side: PolicySide | null): Promise<PolicyFileIds | undefined> {
  return side === null ? undefined : decodePolicyTree(side.hash, await state.objects.read(side.hash, 'tree'));
}

async function patchOf(state: StoreState, name: string, from: ObjectId | null, to: ObjectId | null): Promise<string> {
  if (from === to) return '';
  const text = async (id: ObjectId | null): Promise<string | null> => {
    if (id === null) return null;
    const bytes = await state.objects.read(id, 'blob');
    try {
      return state.primitives.utf8Decode(bytes);
    } catch {
      return `(${bytes.length} bytes that are not UTF-8)\n`;
    }
  };
  return unifiedPatch(name, await text(from), await text(to));
}
