export { LruCache, type LruCounters, type LruOptions } from './lru.ts';
export { openPolicyStore } from './open.ts';
export { unifiedPatch } from './patch.ts';
export {
  baseName,
  childPath,
  comparePaths,
  isSegment,
  isWithin,
  maxDirectoryEntries,
  maxPathSegments,
  nearest,
  nodeSegments,
  parentPath,
  policySegments,
} from './paths.ts';
export { type Proven, type TreeProof, verifyProof } from './proof.ts';
export type * from './types.ts';
export { emptyRoot, policyFamilies } from './types.ts';
