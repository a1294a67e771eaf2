export { checkPolicies } from './check-policies.ts';
export { followWrites, serveWrites } from './forward.ts';
export { memoryFile } from './memory.ts';
export { PolicySync } from './policy-sync.ts';
