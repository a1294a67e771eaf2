export type { Kv, KvEntry, KvOperation, KvRange, KvRead, KvSnapshot } from './kv.ts';
