import { IpeError } from '../errors.ts';
import { checkTree, findEntry, idAt } from '../git/index.ts';
import type { ObjectStore } from './objects.ts';
import { childPath, classifyEntry, nodeSegments, policyEntry, testEntry } from './paths.ts';
import { emptyRoot, type ObjectId } from './types.ts';

/** A child of a directory, as its Git tree has it. */
export type DirectoryEntry =
  | { readonly kind: 'directory'; readonly name: string; readonly hash: ObjectId }
  | { readonly kind: 'policy'; readonly name: string; readonly hash: ObjectId; readonly test: ObjectId | null };

/** A node without the metadata that only history knows. */
export type BareNode = DirectoryEntry & { readonly path: string };

/** Ids of a policy's files. */
export interface PolicyFileIds {
  readonly source: ObjectId;
  readonly program: ObjectId;
  readonly manifest: ObjectId;
}

const files = ['manifest.json', 'program', 'source.yaml'] as const;

/**
 * Children of a directory by name, from its tree's body.
 * @throws IpeError `corrupt` for a tree that a policy store would not have written, though Git would
 */
export function decodeDirectory(id: ObjectId, body: Uint8Array): DirectoryEntry[] {
  const entries = new Map<string, DirectoryEntry>();
  const tests = new Map<string, ObjectId>();
  checkTree(body, (entry, position) => {
    const named = classifyEntry(entry, position.kind);
    if (named === undefined) throw foreign(id, entry);
    const { name, part } = named;
    const hash = idAt(body, position);
    if (part === 'test') tests.set(name, hash);
    else if (entries.has(name)) throw foreign(id, entry);
    else if (part === 'policy') entries.set(name, { kind: 'policy', name, hash, test: null });
    else entries.set(name, { kind: 'directory', name, hash });
  });
  for (const [name, test] of tests) {
    const entry = entries.get(name);
    if (entry?.kind !== 'policy') throw foreign(id, testEntry(name));
    entries.set(name, { ...entry, test });
  }
  return [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** One child of a directory without decoding the others. */
export function findChild(body: Uint8Array, name: string): DirectoryEntry | undefined {
  const policy = findEntry(body, policyEntry(name));
  if (policy !== undefined) {
    return { kind: 'policy', name, hash: policy.id, test: findEntry(body, testEntry(name))?.id ?? null };
  }
  const directory = findEntry(body, name);
  return directory === undefined ? undefined : { kind: 'directory', name, hash: directory.id };
}

/** Ids of the files in a policy's own tree. @throws IpeError `corrupt` unless it holds exactly those three blobs. */
export function decodePolicyTree(id: ObjectId, body: Uint8Array): PolicyFileIds {
  const found: ObjectId[] = [];
  checkTree(body, (entry, position) => {
    if (entry !== files[found.length] || position.kind !== 'blob') throw foreign(id, entry);
    found.push(idAt(body, position));
  });
  if (found.length !== files.length) throw foreign(id, files[found.length]!);
  return { manifest: found[0]!, program: found[1]!, source: found[2]! };
}

/** Node at a path below a root, by walking the trees. Undefined where there is none. */
export async function walkTo(objects: ObjectStore, root: ObjectId, path: string): Promise<BareNode | undefined> {
  let node: BareNode = { kind: 'directory', name: '', path: '', hash: root };
  for (const segment of nodeSegments(path)) {
    if (node.kind !== 'directory') return undefined;
    const child = findChild(await directoryBody(objects, node.hash), segment);
    if (child === undefined) return undefined;
    node = { ...child, path: childPath(node.path, segment) };
  }
  return node;
}

/** A directory's tree; the empty one needs no object. */
export async function directoryBody(objects: ObjectStore, id: ObjectId): Promise<Uint8Array> {
  return id === emptyRoot ? new Uint8Array(0) : objects.readTree(id);
}

/** Children of a directory by name, with their paths. */
export async function childrenOf(
  objects: ObjectStore,
  directory: { path: string; hash: ObjectId },
): Promise<BareNode[]> {
  const body = await directoryBody(objects, directory.hash);
  return decodeDirectory(directory.hash, body).map((entry) => ({
    ...entry,
    path: childPath(directory.path, entry.name),
  }));
}

function foreign(id: ObjectId, entry: string): IpeError {
  const details = { object: id, problem: 'foreign', entry };
  return new IpeError('corrupt', `tree \`${id}\` is not one of a policy store: its entry \`${entry}\``, { details });
}
