import { IpeError } from '@ipe/core';
import type { Kv, KvEntry, KvOperation, KvRange, KvSnapshot } from '@ipe/core/store';
import { assertRoom } from './room.ts';

/** Why a store refuses writes. */
export interface StoreFence {
  readonly error: IpeError;
  /** Whether nothing but room was missing. */
  readonly wantsRoom: boolean;
}

/** An open store that, once a write or a sync failed, refuses writes until it is closed. */
export interface FencedKv<Family extends string> extends Omit<Kv<Family>, 'recover'> {
  readonly fence: StoreFence | undefined;
}

/**
 * A store that ran out of room and is opened again once there is some.
 *
 * Opening is what makes it safe: RocksDB drops what a failed write left half done at the end of its log, replays the
 * rest, writes it to new table files and syncs those before it takes anything. Nothing then depends on what a failed
 * write or sync did to the old log. Reads go on until the moment of closing, wait while the store opens, and go on.
 */
export class RecoveringKv<Family extends string> implements Kv<Family> {
  readonly families: readonly Family[];
  readonly #directory: string;
  readonly #open: () => Promise<FencedKv<Family>>;
  #kv: FencedKv<Family>;
  /** Set while the store is closed in between; rejects where it did not open again, and is then tried anew. */
  #reopening: Promise<void> | undefined;
  #recovering: Promise<void> | undefined;
  #fence: StoreFence | undefined;
  readonly #reads = new Set<Promise<unknown>>();
  #isClosed = false;

  constructor(kv: FencedKv<Family>, directory: string, open: () => Promise<FencedKv<Family>>) {
    this.families = kv.families;
    this.#kv = kv;
    this.#directory = directory;
    this.#open = open;
  }

  get(family: Family, key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#read(() => this.#kv.get(family, key));
  }

  getMany(family: Family, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return this.#read(() => this.#kv.getMany(family, keys));
  }

  entries(family: Family, range?: KvRange): AsyncIterable<KvEntry> {
    return this.#reopening === undefined ? this.#kv.entries(family, range) : this.#entriesLater(family, range);
  }

  async *#entriesLater(family: Family, range?: KvRange): AsyncGenerator<KvEntry, void, undefined> {
    await this.#reopening;
    yield* this.#kv.entries(family, range);
  }

  /** @throws IpeError `unavailable` for the moment in which the store is opened again */
  snapshot(): KvSnapshot<Family> {
    if (this.#reopening !== undefined && !this.#isClosed)
      throw new IpeError('unavailable', `the store in \`${this.#directory}\` is being opened again; try again shortly`);
    return this.#kv.snapshot();
  }

  write(operations: readonly KvOperation<Family>[]): Promise<void> {
    return this.#fence === undefined ? this.#kv.write(operations) : Promise.reject(this.#fence.error);
  }

  sync(): Promise<void> {
    return this.#fence === undefined ? this.#kv.sync() : Promise.reject(this.#fence.error);
  }

  size(): ReturnType<Kv<Family>['size']> {
    return this.#read(() => this.#kv.size());
  }

  compact(family: Family, range?: KvRange): Promise<void> {
    return this.#read(() => this.#kv.compact(family, range ?? {}));
  }

  recover(): Promise<void> {
    this.#recovering ??= this.#recover().finally(() => {
      this.#recovering = undefined;
    });
    return this.#recovering;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#recovering?.catch(() => undefined);
    await this.#kv.close();
  }

  async #recover(): Promise<void> {
    this.#fence ??= this.#kv.fence;
    if (this.#fence === undefined) return;
    if (!this.#fence.wantsRoom || this.#isClosed) throw this.#fence.error;
    await assertRoom(this.#directory);
    this.#reopening = this.#reopen();
    // Readers that wait get the error themselves.
    this.#reopening.catch(() => undefined);
    await this.#reopening;
    this.#reopening = undefined;
    this.#fence = undefined;
  }

  async #reopen(): Promise<void> {
    await Promise.allSettled(this.#reads);
    await this.#kv.close();
    this.#kv = await this.#open();
  }

  /** Reads of a store that is fenced are counted, so that it is not closed under them. */
  async #read<T>(read: () => Promise<T>): Promise<T> {
    if (this.#reopening !== undefined && !this.#isClosed) await this.#reopening;
    const reading = read();
    if (this.#kv.fence === undefined) return reading;
    this.#reads.add(reading);
    return reading.finally(() => this.#reads.delete(reading));
  }
}
