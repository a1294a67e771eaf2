import type { Primitives } from '../bytes/index.ts';
import { IpeError } from '../errors.ts';
import { decodeCommit, framedId, frameObject, isObjectId, type ObjectType, unframeObject } from '../git/index.ts';
import { decodeDirectory, decodePolicyTree, directoryBody, findChild } from './directory.ts';
import type { ObjectStore } from './objects.ts';
import { nodeSegments } from './paths.ts';
import { emptyRoot, type ObjectId } from './types.ts';

/**
 * What stands at a path of a root commit, provable without the store: the framed Git objects from the root commit down
 * the path, each named by the one before. As directories are whole sorted lists, the same bytes prove that something is
 * there, that nothing is, and what else is beside it.
 */
export interface TreeProof {
  readonly path: string;
  readonly commit: ObjectId;
  /** The root commit, the root's tree, then one tree for each segment that is there. */
  readonly nodes: readonly Uint8Array[];
}

/** What a proof proves. */
export type Proven = {
  readonly path: string;
  readonly commit: ObjectId;
  readonly root: ObjectId;
  /** Unix milliseconds. */
  readonly timeMs: number;
} & (
  | {
      readonly kind: 'policy';
      readonly hash: ObjectId;
      readonly test: ObjectId | null;
      /** Blob ids of the policy's files: compare with the SHA-256 of `blob <length>\0<bytes>`. */
      readonly files: { readonly source: ObjectId; readonly program: ObjectId; readonly manifest: ObjectId };
    }
  | {
      readonly kind: 'directory';
      readonly hash: ObjectId;
      /** All of them: nothing was left out. */
      readonly children: readonly {
        readonly name: string;
        readonly kind: 'policy' | 'directory';
        readonly hash: ObjectId;
      }[];
    }
  | {
      readonly kind: 'absent';
      /** The deepest directory on the path (or policy in its way) that is there, and shows that the rest is not. */
      readonly within: string;
    }
);

/** Gathers the nodes of a proof. @throws IpeError `corrupt` where one cannot be read */
export async function makeProof(objects: ObjectStore, commit: ObjectId, path: string): Promise<TreeProof> {
  const segments = nodeSegments(path);
  const nodes = [frameObject('commit', await objects.read(commit, 'commit'))];
  const framed = unframeObject(nodes[0]!).body;
  let tree: ObjectId | undefined = treeOfCommit(framed);
  for (let depth = 0; tree !== undefined; depth++) {
    const body: Uint8Array = await directoryBody(objects, tree);
    nodes.push(frameObject('tree', body));
    const segment = segments[depth];
    if (segment === undefined) break;
    const child = findChild(body, segment);
    tree = child?.hash;
    if (child?.kind === 'policy') {
      nodes.push(frameObject('tree', await objects.read(child.hash, 'tree')));
      break;
    }
  }
  return { path, commit, nodes };
}

/**
 * Checks a proof against a root commit that the caller trusts. Pure: works offline and in a browser.
 * @throws IpeError `corrupt` when the proof does not prove anything about that commit; nothing in it may be relied on
 *
 * @example
 * const proven = verifyProof(primitives, proof, { rootCommit });
 * if (proven.kind === 'absent') console.log(`nothing is at ${proven.path}`);
 */
export function verifyProof(primitives: Primitives, proof: TreeProof, expected: { rootCommit: ObjectId }): Proven {
  const { path, nodes } = proof;
  const segments = nodeSegments(path);
  const commit = expected.rootCommit;
  if (!isObjectId(commit)) throw new IpeError('invalid_params', `\`${commit}\` is not a whole commit id`);
  let next = 0;
  const take = (id: ObjectId, type: ObjectType): Uint8Array => {
    const node = nodes[next++];
    if (node === undefined) throw broken('it ends before the path does');
    if (framedId(primitives, node) !== id) throw broken(`node ${next - 1} does not have the id \`${id}\``);
    const object = unframeObject(node);
    if (object.type !== type) throw broken(`node ${next - 1} is a ${object.type} where a ${type} belongs`);
    return object.body;
  };
  const { tree: root, author } = decodeCommit(primitives, take(commit, 'commit'));
  const about = { path, commit, root, timeMs: author.timeSeconds * 1000 };
  const done = (proven: Proven): Proven => {
    if (next !== nodes.length) throw broken('it has nodes that belong to no path');
    return proven;
  };
  let hash = root;
  for (let depth = 0; ; depth++) {
    const body = take(hash, 'tree');
    const children = decodeDirectory(hash, body);
    const segment = segments[depth];
    if (segment === undefined) {
      const shown = children.map(({ name, kind, hash: id }) => ({ name, kind, hash: id }));
      return done({ ...about, kind: 'directory', hash, children: shown });
    }
    const child = children.find((each) => each.name === segment);
    const here = segments.slice(0, depth).join('.');
    if (child === undefined) return done({ ...about, kind: 'absent', within: here });
    if (child.kind === 'policy') {
      const files = decodePolicyTree(child.hash, take(child.hash, 'tree'));
      if (depth + 1 < segments.length) {
        return done({ ...about, kind: 'absent', within: segments.slice(0, depth + 1).join('.') });
      }
      return done({ ...about, kind: 'policy', hash: child.hash, test: child.test, files });
    }
    hash = child.hash;
  }
}

/** The tree header, which is a commit's first line. */
function treeOfCommit(body: Uint8Array): ObjectId {
  let id = '';
  for (let i = 'tree '.length; i < 'tree '.length + 64; i++) id += String.fromCharCode(body[i] ?? 0);
  return isObjectId(id) ? id : emptyRoot;
}

function broken(why: string): IpeError {
  return new IpeError('corrupt', `the proof proves nothing: ${why}`, { details: { problem: 'proof' } });
}
