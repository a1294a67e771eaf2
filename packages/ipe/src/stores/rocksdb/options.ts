import type RocksDB from 'rocksdb-native';

/** What a deployment may tune; everything else below follows from what IPE stores. */
export interface RocksTuning {
  /**
   * Bytes a family gathers in memory before they become a table file, default 16 MiB. There are two such buffers a
   * family, so a store uses up to `2 * families * writeBufferBytes`. Larger: fewer, bigger files; longer recovery.
   */
  readonly writeBufferBytes?: number;
  /**
   * Bytes of write-ahead log after which all families are written to table files, default 64 MiB. Bounds the log that
   * a start after a crash has to replay (about 100 MB/s).
   */
  readonly walBytesMax?: number;
  /** Threads that write and merge table files, default 2: a sidecar leaves the other cores to its application. */
  readonly backgroundJobs?: number;
}

export const defaultTuning = {
  writeBufferBytes: 16 * 1024 * 1024,
  walBytesMax: 64 * 1024 * 1024,
  backgroundJobs: 2,
} as const satisfies Required<RocksTuning>;

/**
 * Options of one family. Not available in this build and therefore done above it or not at all: compression (the tree
 * deflates its objects, the facts their large values), the size of the block cache (32 MiB a family, RocksDB's own
 * default), prefix extractors, merge operators.
 */
export function familyOptions(rocks: typeof RocksDB, tuning: Required<RocksTuning>): RocksDB.FamilyOptions {
  return {
    // Values are mostly below 1 KiB: a cold read fetches one page of the file system rather than two.
    tableBlockSize: 4096,
    // 10 bits a key: 1% of lookups of absent keys (conditions, deduplication, `key in data.x`) touch a table file.
    filterPolicy: new rocks.BloomFilterPolicy(10),
    // Filters and indexes stay outside the block cache, whose size cannot be chosen: data blocks must not evict them.
    // Costs about 1.5 bytes a key and 0.5% of the data in memory.
    tableCacheIndexAndFilterBlocks: false,
    // One filling while the other is written out; a third would only lengthen recovery.
    maxWriteBufferNumber: 2,
    writeBufferSize: tuning.writeBufferBytes,
  };
}

/** Options of the store as a whole. */
export function storeOptions(
  rocks: typeof RocksDB,
  families: readonly string[],
  tuning: Required<RocksTuning>,
): RocksDB.Options {
  const family = familyOptions(rocks, tuning);
  return {
    ...family,
    columnFamilies: families.map((name) => new rocks.ColumnFamily(name, family)),
    createIfMissing: true,
    // A release that adds a family opens the stores of the one before it.
    createMissingColumnFamilies: true,
    // A torn last record is what a crash leaves and is dropped; a bad record before the end refuses to open. The
    // default, point-in-time recovery, silently drops everything behind a flipped bit.
    walRecoveryMode: rocks.constants.walRecoveryMode.TOLERATE_CORRUPTED_TAIL_RECORDS,
    maxBackgroundJobs: tuning.backgroundJobs,
    // Table files reach the disk as they are written, 1 MiB at a time: no burst that would delay a group commit.
    bytesPerSync: 1024 * 1024,
    // All table files stay open: a cold read never pays for an open. 64 MiB files, so a thousand of them hold 64 GB.
    maxOpenFiles: -1,
    // Only feeds compaction heuristics, and reads every file at start.
    skipStatsUpdateOnOpen: true,
    // `close` flushes each family itself and so knows about failures.
    avoidFlushDuringShutdown: true,
  };
}
