export type * from './types.ts';
export { emptyRoot, policyFamilies } from './types.ts';
