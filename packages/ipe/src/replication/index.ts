export { startJsonMirror } from './json-mirror.ts';
export type { ReplicationMemory } from './memory-keeper.ts';
export { Replication, type ReplicationOptions, type ReplicationStatus } from './replication.ts';
