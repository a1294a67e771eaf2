import { IpeError } from '@ipe/core';
import type { KvEntry, KvRange, KvSnapshot } from '@ipe/core/store';
import type RocksDB from 'rocksdb-native';
import { explainReadFailure } from './errors.ts';

/** Gets of one tick that go to the library as one batch: a thread hop costs more than the reads. */
const readBatchMax = 64;
/** Entries an iterator fetches a hop. */
const scanBatchMax = 128;

/** Reads on a set of family sessions: the live store's or a snapshot's. */
export class RocksReader {
  readonly #directory: string;
  readonly #sessions: ReadonlyMap<string, RocksDB>;
  readonly #assertOpen: () => void;
  readonly #iterators = new Set<RocksDB.Iterator>();
  readonly #gathering = new Map<string, RocksDB.ReadBatch>();

  constructor(directory: string, sessions: ReadonlyMap<string, RocksDB>, assertOpen: () => void) {
    this.#directory = directory;
    this.#sessions = sessions;
    this.#assertOpen = assertOpen;
  }

  async get(family: string, key: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      return own(await this.#batch(family).get(key));
    } catch (error) {
      throw this.#explain(error);
    }
  }

  async getMany(family: string, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const session = this.session(family);
    if (keys.length === 0) return [];
    const batch = session.read({ capacity: keys.length, autoDestroy: true });
    const values = Promise.all(keys.map((key) => batch.get(key)));
    batch.tryFlush();
    try {
      return (await values).map(own);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  entries(family: string, range: KvRange = {}): AsyncIterable<KvEntry> {
    return this.#scan(this.session(family), range);
  }

  /** @throws TypeError for a family the store does not have, IpeError `unavailable` once closed. */
  session(family: string): RocksDB {
    this.#assertOpen();
    const session = this.#sessions.get(family);
    if (session === undefined)
      throw new TypeError(`no family \`${family}\` in this store; it has ${[...this.#sessions.keys()].join(', ')}`);
    return session;
  }

  /** Ends iterations under way: their next step fails with `unavailable`. */
  async close(): Promise<void> {
    await Promise.all(
      [...this.#iterators].map(async (iterator) => {
        if (iterator.destroyed) return;
        const closed = new Promise<void>((resolve) => iterator.once('close', resolve));
        iterator.destroy();
        await closed;
      }),
    );
  }

  /** The batch that gathers this tick's gets of a family. */
  #batch(family: string): RocksDB.ReadBatch {
    const session = this.session(family);
    const gathering = this.#gathering.get(family);
    if (gathering !== undefined) return gathering;
    const batch = session.read({ autoDestroy: true });
    let left = readBatchMax;
    const counted: RocksDB.ReadBatch = {
      get: (key) => {
        if (--left === 0) this.#gathering.delete(family);
        return batch.get(key);
      },
      tryFlush: () => batch.tryFlush(),
    };
    this.#gathering.set(family, counted);
    queueMicrotask(() => {
      if (this.#gathering.get(family) === counted) this.#gathering.delete(family);
      batch.tryFlush();
    });
    return counted;
  }

  async *#scan(session: RocksDB, range: KvRange): AsyncGenerator<KvEntry, void, undefined> {
    this.#assertOpen();
    const limit = range.limit ?? Number.POSITIVE_INFINITY;
    const bounds = nativeBounds(range);
    if (bounds === undefined || limit <= 0) return;
    const iterator = session.iterator(
      { ...bounds, reverse: range.reverse === true, limit },
      { capacity: Math.min(limit, scanBatchMax) },
    );
    this.#iterators.add(iterator);
    try {
      for await (const { key, value } of iterator) {
        this.#assertOpen();
        yield [view(key), view(value)];
      }
      this.#assertOpen();
    } catch (error) {
      this.#assertOpen();
      throw this.#explain(error);
    } finally {
      this.#iterators.delete(iterator);
      iterator.destroy();
    }
  }

  #explain(error: unknown): Error {
    return error instanceof TypeError ? error : explainReadFailure(this.#directory, error);
  }
}

/** A consistent view of all families, held by native sessions that share one snapshot. */
export class RocksSnapshot<Family extends string> implements KvSnapshot<Family> {
  readonly #root: RocksDB;
  readonly #sessions = new Map<string, RocksDB>();
  readonly #reader: RocksReader;
  readonly #onClose: () => void;
  #closed: Promise<void> | undefined;

  constructor(
    directory: string,
    live: RocksDB,
    families: readonly Family[],
    assertStoreOpen: () => void,
    onClose: (snapshot: RocksSnapshot<Family>) => void,
  ) {
    this.#root = live.snapshot();
    for (const family of families) this.#sessions.set(family, this.#root.columnFamily(family));
    this.#onClose = () => onClose(this);
    this.#reader = new RocksReader(directory, this.#sessions, () => {
      assertStoreOpen();
      if (this.#closed !== undefined) throw new IpeError('unavailable', 'the snapshot is closed; take another one');
    });
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

  close(): Promise<void> {
    this.#closed ??= this.#release();
    return this.#closed;
  }

  async #release(): Promise<void> {
    await this.#reader.close();
    for (const session of this.#sessions.values()) await session.close();
    await this.#root.close();
    this.#onClose();
  }
}

/**
 * A range as half-open bounds, the only form whose edges are the same here and in the library, which takes an empty
 * bound for an absent one. The successor of a key is that key with a zero byte. Undefined when nothing can be in it.
 */
export function nativeBounds(range: KvRange): { gte?: Uint8Array; lt?: Uint8Array } | undefined {
  const lower = [range.gte, range.gt && successor(range.gt)].filter((bound) => bound !== undefined);
  const upper = [range.lt, range.lte && successor(range.lte)].filter((bound) => bound !== undefined);
  lower.sort(Buffer.compare);
  upper.sort(Buffer.compare);
  const gte = lower.at(-1);
  const lt = upper[0];
  if (lt !== undefined && (lt.length === 0 || (gte !== undefined && Buffer.compare(gte, lt) >= 0))) return undefined;
  return { ...(gte !== undefined && gte.length > 0 && { gte }), ...(lt !== undefined && { lt }) };
}

function successor(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

const own = (value: Buffer | null) => (value === null ? undefined : view(value));

/** The same bytes as a plain array: `slice` of a Buffer would alias. The library hands out memory of its own. */
const view = (bytes: Buffer) => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
