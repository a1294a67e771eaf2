import { IpeError } from '../errors.ts';
import { countEntries, editTree, encodeTree, entryFinder, type TreeEdit } from '../git/index.ts';
import type { Comparison } from './compare.ts';
import { directoryBody } from './directory.ts';
import type { ObjectStore, PreparedObject } from './objects.ts';
import { childPath, maxDirectoryEntries, policyEntry, policySegments, testEntry } from './paths.ts';
import { slices } from './slices.ts';
import type { ObjectId, PolicyFiles } from './types.ts';

/** A policy's objects, ready to be written. */
export interface PreparedPolicy {
  readonly hash: ObjectId;
  readonly program: ObjectId;
  readonly test: ObjectId | null;
  readonly objects: readonly PreparedObject[];
}

/** What shall stand at a path: a policy's ids, or nothing. */
export type Placement = { readonly hash: ObjectId; readonly test: ObjectId | null } | null;

/** A tree rebuilt along the touched paths. */
export interface RebuiltTree {
  readonly root: ObjectId;
  /** The new directories' trees. */
  readonly objects: readonly PreparedObject[];
  /** Directories that differ, the root included: their ids on both sides; null: not there (no directory is empty). */
  readonly directories: Comparison['directories'];
  /** Entries of the rebuilt directories that were taken over by id. */
  readonly reused: number;
}

/** Makes a policy's blobs and its own tree. @throws IpeError `too_large` */
export function preparePolicy(objects: ObjectStore, files: PolicyFiles): PreparedPolicy {
  const manifest = objects.prepare('blob', files.manifest);
  const program = objects.prepare('blob', files.program);
  const source = objects.prepare('blob', files.source);
  const tree = objects.prepare(
    'tree',
    encodeTree([
      { name: 'manifest.json', kind: 'blob', id: manifest.id },
      { name: 'program', kind: 'blob', id: program.id },
      { name: 'source.yaml', kind: 'blob', id: source.id },
    ]),
  );
  const test = files.test === undefined ? null : objects.prepare('blob', files.test);
  const all = [manifest, program, source, tree, ...(test === null ? [] : [test])];
  return { hash: tree.id, program: program.id, test: test?.id ?? null, objects: all };
}

interface Plan {
  readonly policies: Map<string, Placement>;
  readonly directories: Map<string, Plan>;
}

/**
 * Rebuilds a tree bottom-up: each touched directory is rehashed once, however many changes it holds; all others are
 * taken over by id. Reads the touched directories only.
 *
 * @throws IpeError `invalid_params` where a name would be both policy and namespace; `too_large` past the entry limit
 */
export async function rebuildTree(
  objects: ObjectStore,
  base: ObjectId,
  placements: ReadonlyMap<string, Placement>,
  breathe: () => Promise<void>,
): Promise<RebuiltTree> {
  const plan: Plan = { policies: new Map(), directories: new Map() };
  const planned = slices(breathe, 512);
  for (const [path, placement] of placements) {
    await planned();
    const segments = policySegments(path);
    const name = segments.pop()!;
    let at = plan;
    for (const segment of segments) {
      const next = at.directories.get(segment) ?? { policies: new Map(), directories: new Map() };
      at.directories.set(segment, next);
      at = next;
    }
    at.policies.set(name, placement);
  }
  const built: PreparedObject[] = [];
  const directories = new Map<string, { before: ObjectId | null; after: ObjectId | null }>();
  let reused = 0;
  const rest = slices(breathe, 8);

  const rebuild = async (path: string, id: ObjectId | null, changes: Plan): Promise<ObjectId | null> => {
    const body = id === null ? new Uint8Array(0) : await directoryBody(objects, id);
    await rest();
    const edits: TreeEdit[] = [];
    for (const [name, placement] of changes.policies) {
      edits.push(
        placement === null
          ? { name: policyEntry(name), remove: true }
          : { name: policyEntry(name), kind: 'tree', id: placement.hash },
        placement?.test == null
          ? { name: testEntry(name), remove: true }
          : { name: testEntry(name), kind: 'blob', id: placement.test },
      );
    }
    const find = entryFinder(body, changes.directories.size);
    for (const [name, below] of changes.directories) {
      const child = find(name);
      const next = await rebuild(childPath(path, name), child?.id ?? null, below);
      edits.push(next === null ? { name, remove: true } : { name, kind: 'tree', id: next });
    }
    const next = editTree(body, edits);
    checkNames(path, next, changes);
    if (next.length > body.length) checkCount(path, next);
    if (next.length === 0 && path !== '') {
      if (id !== null) directories.set(path, { before: id, after: null });
      return null;
    }
    const object = objects.prepare('tree', next);
    reused += countEntries(next) - edits.filter((edit) => !('remove' in edit)).length;
    built.push(object);
    if (object.id !== id) directories.set(path, { before: id, after: object.id });
    return object.id;
  };
  const root = (await rebuild('', base, plan))!;
  return { root, objects: built, directories, reused };
}

/** A name is a policy or a namespace, never both. */
function checkNames(path: string, body: Uint8Array, changes: Plan): void {
  const names = [...changes.policies.keys(), ...changes.directories.keys()];
  const find = entryFinder(body, 2 * names.length);
  for (const name of names) {
    if (find(name) === undefined || find(policyEntry(name)) === undefined) continue;
    const full = childPath(path, name);
    const message = `\`${full}\` would be both a policy and a namespace; choose another name for one of them`;
    throw new IpeError('invalid_params', message, { details: { path: full } });
  }
}

function checkCount(path: string, body: Uint8Array): void {
  // An entry has at least 40 bytes: most directories need no counting.
  if (body.length <= maxDirectoryEntries * 40) return;
  const count = countEntries(body, (name) => !name.endsWith('.test.yaml'));
  if (count <= maxDirectoryEntries) return;
  const where = path === '' ? 'the root directory' : `directory \`${path}\``;
  const message = `${where} would hold ${count} entries, and ${maxDirectoryEntries} is the most; split it into namespaces`;
  throw new IpeError('too_large', message, { details: { path, entries: count, limit: maxDirectoryEntries } });
}
