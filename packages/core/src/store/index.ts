export type { Kv, KvEntry, KvOperation, KvRange, KvRead, KvSnapshot } from './kv.ts';
export { createMemoryDisk, type MemoryDisk, type MemoryKvOptions, openMemoryKv } from './memory.ts';
