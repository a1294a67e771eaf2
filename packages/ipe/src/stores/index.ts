export { type Mark, type MarkOptions, openMark } from './mark.ts';
export { openPlainStore, openSealedStore, type SealOptions } from './open.ts';
export { openRocksKv, type RocksKvOptions, type RocksTuning } from './rocksdb/index.ts';
export { dataLayouts, type KeyLayout, type ResealProgress, type SealedKv } from './sealed/index.ts';
