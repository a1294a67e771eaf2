export type * from './types.ts';
export { emptyRoot, policyFamilies } from './types.ts';
export { unifiedPatch } from './unified-patch.ts';
