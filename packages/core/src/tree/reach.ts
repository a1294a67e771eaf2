import { type IpeError, isIpeError } from '../errors.ts';
import { decodeCommit, decodeTree, type IdSet, type ObjectType } from '../git/index.ts';
import type { StoreState } from './state.ts';
import { emptyRoot, type ObjectId } from './types.ts';

/** What a walk over everything that some roots reach is told and asked. */
export interface WalkOptions {
  /** Told each object once, as it is found to be reachable. `body` for commits and trees only. */
  readonly visit?: (id: ObjectId, type: ObjectType, body: Uint8Array | undefined) => void;
  /** Told of each object that cannot be read; the walk goes on. Absent: the walk ends with that error. */
  readonly damaged?: (id: ObjectId, type: ObjectType, error: IpeError) => void;
  /** Whether to go on to a commit's parents. */
  readonly parents: (id: ObjectId) => boolean;
  /** Reads blobs too, to see that they are there and whole. Else they only count as reached. */
  readonly readBlobs: boolean;
  readonly breathe: () => Promise<void>;
}

/** Reads many objects at once. */
const sliceSize = 256;

/**
 * Walks commits and trees from `starts`, each object once, adding what it reaches to `seen` (and not entering what is in
 * there already). The empty tree needs no object.
 */
export async function walkReachable(
  state: Pick<StoreState, 'objects' | 'primitives'>,
  starts: Iterable<ObjectId>,
  seen: IdSet,
  options: WalkOptions,
): Promise<void> {
  const open: [ObjectId, ObjectType][] = [];
  const reach = (id: ObjectId, type: ObjectType): void => {
    if (id === emptyRoot || !seen.add(id)) return;
    if (type === 'blob' && !options.readBlobs) options.visit?.(id, type, undefined);
    else open.push([id, type]);
  };
  for (const id of starts) reach(id, 'commit');
  while (open.length > 0) {
    const slice = open.splice(-sliceSize);
    const bodies = await state.objects.tryReadMany(slice);
    for (let i = 0; i < slice.length; i++) {
      const [id, type] = slice[i]!;
      try {
        const body = bodies[i]!;
        if (isIpeError(body)) throw body;
        if (type === 'tree') for (const entry of decodeTree(body)) reach(entry.id, entry.kind);
        if (type === 'commit') {
          const commit = decodeCommit(state.primitives, body);
          reach(commit.tree, 'tree');
          if (options.parents(id)) for (const parent of commit.parents) reach(parent, 'commit');
        }
        options.visit?.(id, type, type === 'blob' ? undefined : body);
      } catch (error) {
        if (!isIpeError(error) || options.damaged === undefined) throw error;
        options.damaged(id, type, error);
      }
    }
    await options.breathe();
  }
}
