export { openPolicyRepository, type PolicyRepositoryOptions } from './open.ts';
export { nodePrimitives, zlibCodec } from './primitives.ts';
