export type { RocksTuning } from './options.ts';
export { openRocksKv, type RocksKvOptions } from './rocksdb.ts';
