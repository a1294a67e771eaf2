export { checkPolicies } from './check-policies.ts';
export { type ForwardedWrite, followWrites, serveWrites } from './forward.ts';
export { memoryFile } from './memory.ts';
export { PolicySync, type PolicySyncOptions, type SyncedFrom, type SyncRole } from './policy-sync.ts';
