export {
  type Commit,
  composeMessage,
  decodeCommit,
  encodeCommit,
  type Ident,
  isIdentText,
  parseMessage,
  type Trailer,
} from './commit.ts';
export { IdSet } from './id-set.ts';
export {
  framedId,
  frameObject,
  type GitObject,
  isObjectId,
  malformed,
  type ObjectType,
  objectId,
  unframeObject,
} from './object.ts';
export { applyDelta, packEntryHeader, packHeader, packTypes } from './pack.ts';
export {
  checkTree,
  compareEntries,
  countEntries,
  decodeTree,
  type EntryKind,
  type EntryPosition,
  editTree,
  encodeTree,
  entryFinder,
  findEntry,
  idAt,
  isEntryName,
  type TreeEdit,
  type TreeEntry,
} from './tree.ts';
