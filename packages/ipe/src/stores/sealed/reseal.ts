import { IpeError } from '@ipe/core';
import type { Kv, KvOperation } from '@ipe/core/store';
import type { Keyring, ResealPlace } from './keyring.ts';
import { keyIdOf, type RowSealer } from './row.ts';

/** Rows read and written at a time: some milliseconds of the event loop. */
const batchRows = 256;

/** How far sealing all rows again has come. */
export interface ResealProgress {
  /** Rows looked at so far, over all runs. */
  readonly rows: number;
  /** Family being walked, and how many there are. */
  readonly family: string;
  readonly familiesDone: number;
  readonly families: number;
  readonly done: boolean;
}

/** Walks a store and seals its rows with the current data key. The place is kept in the key ring. */
export class Resealer<Family extends string> {
  readonly #inner: Kv<Family>;
  readonly #keyring: Keyring;
  readonly #sealer: RowSealer;
  /** Stored keys written since the batch in hand was read; they hold newer values than the batch. */
  #written: Set<string> | undefined;
  readonly #writing = new Set<Promise<void>>();
  #running: Promise<ResealProgress> | undefined;
  #stopped = false;

  constructor(inner: Kv<Family>, keyring: Keyring, sealer: RowSealer) {
    this.#inner = inner;
    this.#keyring = keyring;
    this.#sealer = sealer;
  }

  get progress(): ResealProgress | undefined {
    return this.#keyring.resealing && this.#progressAt(this.#keyring.resealing);
  }

  /** The way every batch takes to the store. */
  async write(operations: readonly KvOperation<Family>[]): Promise<void> {
    if (this.#written !== undefined) for (const { family, key } of operations) this.#written.add(place(family, key));
    const writing = this.#inner.write(operations);
    this.#writing.add(writing);
    try {
      await writing;
    } finally {
      this.#writing.delete(writing);
    }
  }

  run(onProgress: (progress: ResealProgress) => void, signal?: AbortSignal): Promise<ResealProgress> {
    if (this.#running !== undefined)
      throw new IpeError('conflict', 'the store is being resealed already; wait for it to finish');
    this.#running = this.#walk(onProgress, signal).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Ends a run after the batch under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running?.catch(() => undefined);
  }

  async #walk(onProgress: (progress: ResealProgress) => void, signal?: AbortSignal): Promise<ResealProgress> {
    const { families } = this.#inner;
    if (this.#keyring.resealing === undefined) await this.#keyring.rotate({ family: families[0]!, after: '', rows: 0 });
    let at = this.#keyring.resealing!;
    // From here on a restart goes on with it.
    onProgress(this.#progressAt(at));
    for (let index = Math.max(0, families.indexOf(at.family as Family)); index < families.length; index++) {
      const family = families[index]!;
      if (at.family !== family) at = { family, after: '', rows: at.rows };
      for (;;) {
        if (this.#stopped || signal?.aborted) return this.#progressAt(at);
        const { next, count } = await this.#resealBatch(family, Buffer.from(at.after, 'hex'));
        at = {
          family,
          after: next === undefined ? at.after : Buffer.from(next).toString('hex'),
          rows: at.rows + count,
        };
        // What the place says is done must be on disk before the place is.
        await this.#inner.sync();
        await this.#keyring.reach(at);
        onProgress(this.#progressAt(at));
        if (count < batchRows) break;
      }
    }
    // Old rows are gone from the tables before the keys that open them are.
    for (const family of families) await this.#inner.compact(family);
    await this.#keyring.finish();
    const finished = { ...this.#progressAt(at), familiesDone: families.length, done: true };
    onProgress(finished);
    return finished;
  }

  async #resealBatch(family: Family, after: Uint8Array): Promise<{ next: Uint8Array | undefined; count: number }> {
    const current = this.#keyring.current.id;
    const written = new Set<string>();
    this.#written = written;
    try {
      // A write under way that was not noted must be in the store before the batch is read.
      await Promise.allSettled(this.#writing);
      const operations: KvOperation<Family>[] = [];
      let next: Uint8Array | undefined;
      let count = 0;
      const range = after.length === 0 ? { limit: batchRows } : { gt: after, limit: batchRows };
      for await (const [storedKey, stored] of this.#inner.entries(family, range)) {
        next = storedKey;
        count++;
        if (keyIdOf(stored) === current) continue;
        const { key, value } = this.#sealer.open(family, storedKey, stored);
        const resealed = this.#sealer.seal(family, storedKey, key, value);
        operations.push({ type: 'put', family, key: storedKey, value: resealed });
      }
      // From here to the call of `write` nothing else runs: later writes come later in the store as well.
      const untouched = operations.filter(({ key }) => !written.has(place(family, key)));
      if (untouched.length > 0) await this.#inner.write(untouched);
      return { next, count };
    } finally {
      this.#written = undefined;
    }
  }

  #progressAt(at: ResealPlace): ResealProgress {
    const { families } = this.#inner;
    const familiesDone = Math.max(0, families.indexOf(at.family as Family));
    return { rows: at.rows, family: at.family, familiesDone, families: families.length, done: false };
  }
}

function place(family: string, storedKey: Uint8Array): string {
  return `${family}/${Buffer.from(storedKey).toString('latin1')}`;
}
