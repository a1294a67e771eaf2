import { IpeError } from '@ipe/core';
import type { Kv, KvEntry, KvOperation, KvRange, KvSnapshot } from '@ipe/core/store';
import type { Keyring } from './keyring.ts';
import type { KeyLayout } from './layout.ts';
import { SealedReader } from './reads.ts';
import { Resealer, type ResealProgress } from './reseal.ts';
import { RowSealer } from './row.ts';

/** What `sealKv` needs to know. */
export interface SealedKvOptions<Family extends string> {
  /** The store that keeps the sealed rows. The sealed store owns it: it closes it. */
  readonly inner: Kv<Family>;
  readonly keyring: Keyring;
  readonly layouts: Readonly<Record<Family, KeyLayout>>;
}

/** A store whose rows are sealed, and whose keys can be changed while it is used. */
export interface SealedKv<Family extends string> extends Kv<Family> {
  /** How far an unfinished reseal has come; undefined when all rows are sealed by the current key. */
  readonly resealing: ResealProgress | undefined;
  /** Wraps the keys by another master key. Nothing else changes. */
  rewrap(master: Uint8Array): Promise<void>;
  /**
   * Seals every row again, with a new data key or, where an earlier run was cut short, with the one it began with.
   * Reads and writes go on. Resolves when the old keys are forgotten and their rows are off the disk.
   * @param options.onProgress called after each batch
   * @param options.signal stops after the batch under way; a later call goes on from there
   */
  reseal(options?: { onProgress?: (progress: ResealProgress) => void; signal?: AbortSignal }): Promise<ResealProgress>;
}

/**
 * Puts a seal around a store: names become HMACs, values AES-256-GCM with the real key inside
 * (`docs/design/0006-sealed-store.md`). Everything a `Kv` promises holds, byte order included; large ranges stream only
 * with `order: 'store'` or over the clear parts of keys.
 */
export function sealKv<Family extends string>(options: SealedKvOptions<Family>): SealedKv<Family> {
  return new SealedStore(options);
}

class SealedStore<Family extends string> implements SealedKv<Family> {
  readonly families: readonly Family[];
  readonly #inner: Kv<Family>;
  readonly #keyring: Keyring;
  readonly #layouts: Readonly<Record<Family, KeyLayout>>;
  readonly #sealer: RowSealer;
  readonly #reader: SealedReader<Family>;
  readonly #resealer: Resealer<Family>;
  #closed = false;

  constructor({ inner, keyring, layouts }: SealedKvOptions<Family>) {
    this.families = inner.families;
    this.#inner = inner;
    this.#keyring = keyring;
    this.#layouts = layouts;
    this.#sealer = new RowSealer(keyring);
    this.#reader = new SealedReader(inner, this.#sealer, layouts, this.#assertOpen);
    this.#resealer = new Resealer(inner, keyring, this.#sealer);
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

  async write(operations: readonly KvOperation<Family>[]): Promise<void> {
    const sealed = operations.map((operation): KvOperation<Family> => {
      const { family, key } = operation;
      const storedKey = this.#sealer.sealKey(this.#reader.layout(family), key);
      if (operation.type === 'delete') return { type: 'delete', family, key: storedKey };
      const value = this.#sealer.seal(family, storedKey, key, operation.value);
      return { type: 'put', family, key: storedKey, value };
    });
    await this.#resealer.write(sealed);
  }

  sync(): Promise<void> {
    return this.#inner.sync();
  }

  recover(): Promise<void> {
    return this.#inner.recover();
  }

  snapshot(): KvSnapshot<Family> {
    const inner = this.#inner.snapshot();
    let closed = false;
    const reader = new SealedReader(inner, this.#sealer, this.#layouts, () => {
      this.#assertOpen();
      if (closed) throw new IpeError('unavailable', 'the snapshot is closed; take another one');
    });
    return {
      get: (family, key) => reader.get(family, key),
      getMany: (family, keys) => reader.getMany(family, keys),
      entries: (family, range) => reader.entries(family, range),
      close: () => {
        closed = true;
        return inner.close();
      },
    };
  }

  size(): Promise<{ readonly totalBytes: number; readonly families?: Readonly<Partial<Record<Family, number>>> }> {
    return this.#inner.size();
  }

  /** A range of names is not a range of the disk: the family is compacted whole. */
  compact(family: Family): Promise<void> {
    return this.#inner.compact(family);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#resealer.stop();
    await this.#inner.close();
  }

  get resealing(): ResealProgress | undefined {
    return this.#resealer.progress;
  }

  rewrap(master: Uint8Array): Promise<void> {
    return this.#keyring.rewrap(master);
  }

  reseal(options: { onProgress?: (progress: ResealProgress) => void; signal?: AbortSignal } = {}) {
    return this.#resealer.run(options.onProgress ?? (() => {}), options.signal);
  }

  readonly #assertOpen = (): void => {
    if (this.#closed) throw new IpeError('unavailable', 'the store is closed; open it again');
  };
}
