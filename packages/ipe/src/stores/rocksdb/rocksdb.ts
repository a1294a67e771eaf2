import { mkdir, readdir, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';
import type { Kv, KvEntry, KvOperation, KvRange, KvSnapshot } from '@ipe/core/store';
import type RocksDB from 'rocksdb-native';
import { writeAtomically } from './batch.ts';
import { explainOpenFailure, explainWriteFailure, holderFile, isWantOfRoom } from './errors.ts';
import { loadRocksDb } from './load.ts';
import { strangeRecordAt } from './manifest.ts';
import { defaultTuning, type RocksTuning, storeOptions } from './options.ts';
import { nativeBounds, RocksReader, RocksSnapshot } from './reads.ts';
import { type FencedKv, RecoveringKv, type StoreFence } from './recovering.ts';
import { WalSyncer } from './wal.ts';

/** What `openRocksKv` needs to know. */
export interface RocksKvOptions<Family extends string> extends RocksTuning {
  /** Directory of the store, made when absent, owned by it alone. */
  readonly directory: string;
  /** Families the store has; ones that it does not hold yet are added. */
  readonly families: readonly Family[];
  /** Who opens it, named to whoever else tries: an instance's name. */
  readonly holder?: string;
}

/**
 * Opens a store on disk.
 *
 * Reads and writes run off the event loop. Batches take effect in the order of the calls; those that wait for one
 * another share a write. A write that the disk refuses, or a sync that fails, fences the store: it keeps answering reads and
 * refuses writes until it is opened again, because what the disk holds is no longer known. Where room was all it lacked,
 * `recover` does that.
 *
 * @throws IpeError `unavailable` when the library does not load, another process holds the directory, or the disk is
 *   full or not accessible; `corrupt` when what is stored is damaged. Nothing is changed then.
 */
export async function openRocksKv<Family extends string>(options: RocksKvOptions<Family>): Promise<Kv<Family>> {
  const open = () => openDirectory(options);
  return new RecoveringKv(await open(), options.directory, open);
}

async function openDirectory<Family extends string>(options: RocksKvOptions<Family>): Promise<RocksKv<Family>> {
  const { directory, families } = options;
  const tuning = { ...defaultTuning, ...definedOnly(options) };
  const rocks = await loadRocksDb();
  // The library copies the path into a buffer of 4096 bytes without looking.
  if (Buffer.byteLength(directory) > 3800)
    throw new IpeError('unavailable', 'the path of the store is too long; choose one below 3,800 bytes');
  const db = new rocks(directory, storeOptions(rocks, families, tuning));
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await assertWhole(directory);
    await db.ready();
    const holder = options.holder === undefined ? '' : `name ${options.holder.replaceAll(/\s/g, ' ')}\n`;
    await writeFile(join(directory, holderFile), `pid ${process.pid}\n${holder}`);
    await removeOldInfoLogs(directory);
  } catch (error) {
    throw await explainOpenFailure(directory, error);
  }
  return new RocksKv(rocks, db, directory, families, tuning.walBytesMax);
}

interface PendingWrite<Family extends string> {
  readonly operations: readonly KvOperation<Family>[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Operations that waiting batches may share a write with; beyond it a latency of tens of milliseconds. */
const sharedOperationsMax = 10_000;

class RocksKv<Family extends string> implements FencedKv<Family> {
  readonly families: readonly Family[];
  readonly #rocks: typeof RocksDB;
  readonly #db: RocksDB;
  readonly #directory: string;
  readonly #walBytesMax: number;
  readonly #sessions = new Map<string, RocksDB>();
  readonly #reader: RocksReader;
  readonly #wal: WalSyncer;
  readonly #snapshots = new Set<RocksSnapshot<Family>>();
  #waiting: PendingWrite<Family>[] = [];
  #writing: Promise<void> | undefined;
  #flushing: Promise<void> | undefined;
  #unflushedBytes = 0;
  #fence: StoreFence | undefined;
  #closed: Promise<void> | undefined;

  constructor(rocks: typeof RocksDB, db: RocksDB, directory: string, families: readonly Family[], walBytesMax: number) {
    this.families = Object.freeze([...families]);
    this.#rocks = rocks;
    this.#db = db;
    this.#directory = directory;
    this.#walBytesMax = walBytesMax;
    for (const family of families) this.#sessions.set(family, db.columnFamily(family));
    this.#reader = new RocksReader(directory, this.#sessions, this.#assertOpen);
    this.#wal = new WalSyncer(directory, () => db.currentWalFile());
  }

  /** Why it refuses writes, while it does: until it is closed. */
  get fence(): StoreFence | undefined {
    return this.#fence;
  }

  get(family: Family, key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#reader.get(family, key);
  }

  getMany(family: Family, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return this.#reader.getMany(family, keys);
  }

  entries(family: Family, range?: KvRange): AsyncIterable<KvEntry> {
    return this.#reader.entries(family, range);
  }

  snapshot(): KvSnapshot<Family> {
    this.#assertOpen();
    const forget = (snapshot: RocksSnapshot<Family>) => this.#snapshots.delete(snapshot);
    const snapshot = new RocksSnapshot(this.#directory, this.#db, this.families, this.#assertOpen, forget);
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  async write(operations: readonly KvOperation<Family>[]): Promise<void> {
    this.#assertWritable();
    for (const { family } of operations) this.#reader.session(family);
    if (operations.length === 0) return;
    const written = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ operations, resolve, reject });
    });
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = undefined;
    });
    return written;
  }

  async sync(): Promise<void> {
    this.#assertWritable();
    try {
      await this.#wal.sync();
    } catch (error) {
      // The kernel may have dropped the pages and will report success next time: only a reopen tells what is there.
      const wantsRoom = isWantOfRoom(error);
      const fence = (this.#fence ??= {
        wantsRoom,
        error: wantsRoom
          ? explainWriteFailure(this.#directory, error)
          : new IpeError(
              'unavailable',
              `the disk failed to sync the store in \`${this.#directory}\`; restart the node`,
              {
                details: { directory: this.#directory, cause: String(error) },
                cause: error,
              },
            ),
      });
      throw new IpeError('unavailable', fence.error.message, { details: fence.error.details, state: 'unknown' });
    }
  }

  async size(): Promise<{ totalBytes: number; families: Partial<Record<Family, number>> }> {
    this.#assertOpen();
    const families: Partial<Record<Family, number>> = {};
    for (const family of this.families) {
      const session = this.#reader.session(family);
      const tables = Number(await session.getProperty('rocksdb.live-sst-files-size'));
      families[family] = tables + Number(await session.getProperty('rocksdb.cur-size-all-mem-tables'));
    }
    let totalBytes = 0;
    for (const name of await readdir(this.#directory)) {
      totalBytes += await stat(join(this.#directory, name)).then(
        (file) => file.size,
        () => 0, // deleted since the listing
      );
    }
    return { totalBytes, families };
  }

  async compact(family: Family, range: KvRange = {}): Promise<void> {
    const session = this.#reader.session(family);
    const bounds = nativeBounds(range);
    if (bounds === undefined) return;
    await session.compactRange(bounds.gte ?? null, bounds.lt ?? null, {
      // Rewrites the last level too: what was deleted or resealed leaves the disk.
      bottommostLevelCompaction: this.#rocks.constants.bottommostLevelCompaction.FORCE,
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#release();
    return this.#closed;
  }

  async #release(): Promise<void> {
    await this.#writing;
    await this.#flushing;
    await this.#reader.close();
    for (const snapshot of [...this.#snapshots]) await snapshot.close();
    // The next start then replays no log. A store that failed keeps its log as the disk has it.
    if (this.#fence === undefined) await this.#wal.sync().catch(() => undefined);
    if (this.#fence === undefined) await this.#flushFamilies().catch(() => undefined);
    await this.#wal.close();
    for (const session of this.#sessions.values()) await session.close();
    await this.#db.close();
    await unlink(join(this.#directory, holderFile)).catch(() => undefined);
  }

  /** Writes what waits, in order, joining what came while the write before was under way. */
  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batches = this.#takeWaiting();
      const operations = batches.length === 1 ? batches[0]!.operations : batches.flatMap((batch) => batch.operations);
      try {
        if (this.#fence !== undefined) throw this.#fence.error;
        await writeAtomically(this.#sessions, operations);
      } catch (error) {
        const failure = error instanceof IpeError ? error : explainWriteFailure(this.#directory, error);
        this.#fenceFor(failure, error);
        for (const batch of batches) batch.reject(failure);
        continue;
      }
      for (const batch of batches) batch.resolve();
      this.#boundLog(operations);
    }
  }

  #takeWaiting(): PendingWrite<Family>[] {
    let count = 0;
    let operations = 0;
    do operations += this.#waiting[count++]!.operations.length;
    while (count < this.#waiting.length && operations < sharedOperationsMax);
    return this.#waiting.splice(0, count);
  }

  /**
   * Writes all families to table files once the log has grown enough. Left to itself RocksDB keeps a log for as long as
   * any family has a single unflushed row in it, and a start after a crash would replay gigabytes.
   */
  #boundLog(operations: readonly KvOperation[]): void {
    for (const operation of operations)
      this.#unflushedBytes += operation.key.length + (operation.type === 'put' ? operation.value.length : 0);
    if (this.#unflushedBytes < this.#walBytesMax || this.#flushing !== undefined) return;
    this.#unflushedBytes = 0;
    this.#flushing = this.#flushFamilies()
      .catch((error) => {
        this.#fenceFor(explainWriteFailure(this.#directory, error), error);
      })
      .finally(() => {
        this.#flushing = undefined;
      });
  }

  #fenceFor({ message, details }: IpeError, cause: unknown): void {
    const error = new IpeError('unavailable', message, { details, cause });
    this.#fence ??= { error, wantsRoom: isWantOfRoom(cause) };
  }

  async #flushFamilies(): Promise<void> {
    for (const session of this.#sessions.values()) await session.flush();
  }

  readonly #assertOpen = (): void => {
    if (this.#closed !== undefined) throw new IpeError('unavailable', 'the store is closed; open it again');
  };

  #assertWritable(): void {
    this.#assertOpen();
    if (this.#fence !== undefined) throw this.#fence.error;
  }
}

/**
 * A directory that lost the file everything hangs from would otherwise be taken for a new store, and emptied; one whose
 * manifest ends early would never open.
 */
async function assertWhole(directory: string): Promise<void> {
  const names = await readdir(directory);
  if (names.includes('CURRENT')) {
    const strangeAt = await strangeRecordAt(directory);
    if (strangeAt !== undefined) throw damaged(directory, `the manifest holds no record at byte ${strangeAt}`);
    return;
  }
  const left = names.find((name) => /^(MANIFEST-\d+|\d+\.(sst|log|blob))$/.test(name));
  if (left !== undefined) throw damaged(directory, `\`CURRENT\` is missing beside \`${left}\``);
}

function damaged(directory: string, what: string): IpeError {
  const help = 'restore it from a backup, or move the directory away to start empty';
  return new IpeError('corrupt', `the store in \`${directory}\` is damaged: ${what}; ${help}`, {
    details: { directory },
  });
}

/** RocksDB keeps a thousand of its own logs; the last few are enough to look into an accident. */
async function removeOldInfoLogs(directory: string): Promise<void> {
  const logs = (await readdir(directory)).filter((name) => name.startsWith('LOG.old.')).sort();
  for (const name of logs.slice(0, -3)) await unlink(join(directory, name)).catch(() => undefined);
}

function definedOnly(tuning: RocksTuning): RocksTuning {
  const { writeBufferBytes, walBytesMax, backgroundJobs } = tuning;
  return {
    ...(writeBufferBytes !== undefined && { writeBufferBytes }),
    ...(walBytesMax !== undefined && { walBytesMax }),
    ...(backgroundJobs !== undefined && { backgroundJobs }),
  };
}
