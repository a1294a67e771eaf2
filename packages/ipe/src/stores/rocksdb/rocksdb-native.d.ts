/** What IPE uses of rocksdb-native 3.18.1, which ships no types. Its `README.md` and `index.js` are the reference. */
declare module 'rocksdb-native' {
  class RocksDB {
    constructor(path: string, options: RocksDB.Options);
    ready(): Promise<void>;
    close(): Promise<void>;
    /** A session on one family; shares the snapshot of the session it is made from. */
    columnFamily(name: string): RocksDB;
    snapshot(): RocksDB;
    read(options?: { capacity?: number; autoDestroy?: boolean }): RocksDB.ReadBatch;
    write(options?: { capacity?: number; autoDestroy?: boolean }): RocksDB.WriteBatch;
    iterator(range: RocksDB.Range, options?: { capacity?: number }): RocksDB.Iterator;
    /** Writes the family's memtable to a table file. */
    flush(): Promise<void>;
    compactRange(
      start: Uint8Array | null,
      end: Uint8Array | null,
      options?: { exclusive?: boolean; bottommostLevelCompaction?: number },
    ): Promise<void>;
    /** `path` is relative to the store, with a leading slash. */
    currentWalFile(): Promise<{ path: string; number: number; startSequence: number; size: number }>;
    getProperty(name: string): Promise<string | null>;
  }

  namespace RocksDB {
    interface Options extends FamilyOptions {
      columnFamilies?: ColumnFamily[];
      createIfMissing?: boolean;
      createMissingColumnFamilies?: boolean;
      maxBackgroundJobs?: number;
      bytesPerSync?: number;
      maxOpenFiles?: number;
      skipStatsUpdateOnOpen?: boolean;
      walRecoveryMode?: number;
      avoidFlushDuringShutdown?: boolean;
    }
    interface FamilyOptions {
      tableBlockSize?: number;
      tableCacheIndexAndFilterBlocks?: boolean;
      filterPolicy?: object | null;
      maxWriteBufferNumber?: number;
      writeBufferSize?: number;
    }
    interface Range {
      gte?: Uint8Array;
      lt?: Uint8Array;
      reverse?: boolean;
      limit?: number;
    }
    interface ReadBatch {
      get(key: Uint8Array): Promise<Buffer | null>;
      tryFlush(): void;
    }
    interface WriteBatch {
      /** Private: the session whose family the next operation is made for. */
      _db: RocksDB;
      tryPut(key: Uint8Array, value: Uint8Array): void;
      tryDelete(key: Uint8Array): void;
      flush(): Promise<void>;
      destroy(): void;
    }
    interface Iterator extends AsyncIterable<{ key: Buffer; value: Buffer }> {
      destroy(): void;
      once(event: 'close', listener: () => void): this;
      readonly destroyed: boolean;
    }
    class ColumnFamily {
      constructor(name: string, options: FamilyOptions);
    }
    class BloomFilterPolicy {
      constructor(bitsPerKey: number);
    }
    const constants: {
      readonly walRecoveryMode: { readonly TOLERATE_CORRUPTED_TAIL_RECORDS: number };
      readonly bottommostLevelCompaction: { readonly FORCE: number };
    };
  }

  export = RocksDB;
}
