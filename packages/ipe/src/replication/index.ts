export { startJsonMirror } from './json-mirror.ts';
export { Replication, type ReplicationMemory, type ReplicationOptions, type ReplicationStatus } from './replication.ts';
