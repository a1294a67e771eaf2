import type { ObjectType } from '../git/index.ts';
import { compareRoots } from './compare.ts';
import { decodePolicyTree } from './directory.ts';
import type { StoreState } from './state.ts';
import { emptyRoot, type ObjectId } from './types.ts';

/** Policies whose trees are read at once. */
const sliceSize = 256;

/**
 * Objects that the root `after` needs and `before` does not have in the same place. Equal subtrees are never opened, so
 * the cost is that of the difference; the trees of the difference are read, and so known to be whole, its blobs are not.
 * @param add  told each object, some more than once, parents before what they name
 * @throws IpeError `corrupt` where a tree of the difference is missing, damaged, or none that a policy store writes
 */
export async function changedObjects(
  state: Pick<StoreState, 'objects' | 'breathe'>,
  before: ObjectId,
  after: ObjectId,
  add: (id: ObjectId, type: ObjectType) => void,
): Promise<void> {
  const { policies, directories } = await compareRoots(state.objects, before, after, state.breathe);
  for (const side of directories.values()) {
    if (side.after !== null && side.after !== emptyRoot) add(side.after, 'tree');
  }
  const trees: { readonly after: ObjectId; readonly before: ObjectId | undefined }[] = [];
  for (const side of policies.values()) {
    if (side.after === null) continue;
    if (side.after.test !== null && side.after.test !== side.before?.test) add(side.after.test, 'blob');
    if (side.after.hash !== side.before?.hash) trees.push({ after: side.after.hash, before: side.before?.hash });
  }
  for (let at = 0; at < trees.length; at += sliceSize) {
    const slice = trees.slice(at, at + sliceSize);
    const wanted = slice.flatMap((each) => [each.after, ...(each.before === undefined ? [] : [each.before])]);
    const read = await state.objects.readMany(wanted.map((id) => [id, 'tree'] as const));
    const bodies = new Map(wanted.map((id, i) => [id, read[i]!]));
    for (const { after: id, before: old } of slice) {
      add(id, 'tree');
      const known = new Set(old === undefined ? [] : Object.values(decodePolicyTree(old, bodies.get(old)!)));
      for (const file of Object.values(decodePolicyTree(id, bodies.get(id)!))) if (!known.has(file)) add(file, 'blob');
    }
    await state.breathe();
  }
}
