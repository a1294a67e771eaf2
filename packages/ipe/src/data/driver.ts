import { IpeError, isIpeError } from '@ipe/core';
import {
  type Ahead,
  ByteWriter,
  type Cell,
  type DataFamily,
  type Failure,
  type Head,
  type LoadedRow,
  liveKey,
  type Recovered,
  type Replica,
  type ReplicaEffect,
  type ReplicaEvent,
  type Rng,
  type StateEntry,
  type StatesJoin,
  type WriteOutcome,
  type WriteRequest,
} from '@ipe/core/replica';
import type { Kv } from '@ipe/core/store';

/** What the driver works with. */
export interface DriverOptions {
  readonly kv: Kv<DataFamily>;
  readonly replica: Replica;
  readonly durability: 'fsync' | 'wal';
  /** Wall clock, milliseconds. */
  readonly now: () => number;
  readonly rng: Rng;
  /** Reads what the store remembers, as a start does. @throws IpeError `corrupt` where it holds less than it must */
  readonly reread: () => Promise<Recovered>;
  /** Told of every effect that is not the driver's own to carry out: `applied`, `durable`, `gap`, `refused`, `held`, `due`. */
  readonly onEffect: (effect: ReplicaEffect) => void;
  /** Told when writes begin to be refused, and when they are taken again (undefined). */
  readonly onFence: (failure: Failure | undefined) => void;
}

/**
 * Feeds the replica and carries out what it asks of the store. Owns the order of commits: a batch is written only when
 * the one before it was, and reported in order.
 */
export class Driver {
  readonly #options: DriverOptions;
  readonly #replica: Replica;
  readonly #kv: Kv<DataFamily>;
  #id = 0;
  readonly #writers = new Map<number, (outcome: WriteOutcome) => void>();
  readonly #readers = new Map<
    number,
    { resolve: (cells: ReadonlyMap<string, Cell>) => void; reject: (error: IpeError) => void }
  >();
  /** Effects of a step taken while those of another are carried out wait for their turn. */
  readonly #effects: ReplicaEffect[] = [];
  #isRunning = false;
  #lastWrite: Promise<void> = Promise.resolve();
  #lastCommitted: Promise<void> = Promise.resolve();
  #writtenCommit: number;
  /** A batch was written since the last sync; not every batch has a commit: states come in without one. */
  #hasUnsynced = false;
  #syncing: Promise<void> | undefined;
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #alarms = new Set<NodeJS.Timeout>();
  /** Set where recovering from a failure showed a loss: only a restart helps then. */
  #loss: Failure | undefined;
  #isClosed = false;

  constructor(options: DriverOptions) {
    this.#options = options;
    this.#replica = options.replica;
    this.#kv = options.kv;
    this.#writtenCommit = options.replica.appliedCommit;
  }

  /** Hands writes to the replica. Resolves once they are durable, or refused. */
  submit(request: WriteRequest): Promise<WriteOutcome> {
    return this.ask((id) => ({ type: 'submit', id, request }));
  }

  /** Joins states of another member in. Resolves once they are durable, or refused. */
  joinStates(namespace: string, entries: readonly StateEntry[], how: StatesJoin): Promise<WriteOutcome> {
    return this.ask((id) => ({ type: 'states', id, namespace, entries, ...how }));
  }

  /** Moves the vector to where joined states reach. Resolves once that is durable, or refused. */
  advance(namespace: string, heads: readonly Head[], floor: number, ahead?: Ahead): Promise<WriteOutcome> {
    return this.ask((id) => ({ type: 'advance', id, namespace, heads, floor, ahead }));
  }

  /** Hands in an event that is answered. Resolves once what it wrote is durable, or refused. */
  ask(event: (id: number) => ReplicaEvent): Promise<WriteOutcome> {
    return new Promise((resolve) => {
      const id = ++this.#id;
      this.#writers.set(id, resolve);
      this.step(event(id));
    });
  }

  /**
   * Reads committed cells, from disk where they are cold.
   * @throws IpeError `corrupt` for a row that does not decode, `unavailable` when the store cannot be read
   */
  fetch(keys: readonly string[]): Promise<ReadonlyMap<string, Cell>> {
    return new Promise((resolve, reject) => {
      const id = ++this.#id;
      this.#readers.set(id, { resolve, reject });
      this.step({ type: 'fetch', id, keys });
    });
  }

  step(event: ReplicaEvent): void {
    const { now, rng } = this.#options;
    const effects = this.#replica.step(event, now(), rng);
    for (const effect of effects) this.#effects.push(effect);
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (let i = 0; i < this.#effects.length; i++) this.#carryOut(this.#effects[i]!);
    } finally {
      this.#effects.length = 0;
      this.#isRunning = false;
    }
  }

  /** Syncs what was only written, under `wal`; once a second, and before closing. */
  async syncWritten(): Promise<void> {
    if (this.#options.durability === 'fsync' || this.#replica.fence !== undefined) return;
    if (!this.#hasUnsynced) return;
    this.#syncing ??= this.#sync().finally(() => {
      this.#syncing = undefined;
    });
    await this.#syncing;
  }

  /** Why writes are refused, while they are. */
  get fence(): Failure | undefined {
    return this.#loss ?? this.#replica.fence;
  }

  /**
   * Tries to take writes again where the store only lacked room, going on from what it holds by then. Stays fenced where
   * something is missing that readers have seen.
   */
  async recover(): Promise<void> {
    if (this.#replica.fence === undefined || this.#loss !== undefined || this.#isClosed) return;
    // What failed is reported by now; nothing new is begun while the fence stands.
    await this.settle();
    try {
      await this.#kv.recover();
      // What the store holds is taken for durable from here on.
      await this.#kv.sync();
    } catch {
      return;
    }
    const { appliedCommit } = this.#replica;
    const recovered = await this.#options.reread().catch((error: unknown) => failureOf(error));
    if ('reason' in recovered) this.#loss = recovered;
    else if (recovered.lastCommit < appliedCommit) this.#loss = lossOf(recovered.lastCommit + 1, appliedCommit);
    if (this.#loss !== undefined || 'reason' in recovered) {
      this.#options.onFence(this.#loss);
      return;
    }
    this.#lastWrite = Promise.resolve();
    this.#writtenCommit = recovered.lastCommit;
    this.#hasUnsynced = false;
    this.step({ type: 'reopen', recovered });
    this.step({ type: 'durable', commit: recovered.lastCommit });
    this.#options.onFence(undefined);
  }

  /** Waits for what is under way, and for what a load among it leads to; not for what arrives meanwhile. */
  async settle(): Promise<void> {
    for (let i = 0; i < 2 && this.#underWay.size > 0; i++) await Promise.allSettled([...this.#underWay]);
  }

  /** Waits for everything that was begun. Nothing is taken in afterwards. */
  async close(): Promise<void> {
    this.#isClosed = true;
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    await this.syncWritten().catch(() => {});
    for (const alarm of this.#alarms) clearTimeout(alarm);
    const closed = new IpeError('unavailable', 'the fact store is closed');
    for (const { reject } of this.#readers.values()) reject(closed);
    for (const resolve of this.#writers.values()) resolve({ ok: false, failure: failureOf(closed) });
    this.#readers.clear();
    this.#writers.clear();
  }

  #carryOut(effect: ReplicaEffect): void {
    switch (effect.type) {
      case 'reply': {
        const resolve = this.#writers.get(effect.id);
        this.#writers.delete(effect.id);
        resolve?.(effect.outcome);
        return;
      }
      case 'fetched': {
        const reader = this.#readers.get(effect.id);
        this.#readers.delete(effect.id);
        if (effect.failure === undefined) reader?.resolve(effect.cells);
        else reader?.reject(errorOf(effect.failure));
        return;
      }
      case 'load':
        this.#track(this.#load(effect.load, effect.keys));
        return;
      case 'commit':
        this.#commit(effect);
        return;
      case 'alarm': {
        const alarm = setTimeout(() => {
          this.#alarms.delete(alarm);
          this.step({ type: 'tick' });
        }, effect.inMs);
        this.#alarms.add(alarm);
        return;
      }
      default:
        this.#options.onEffect(effect);
    }
  }

  async #load(load: number, keys: readonly string[]): Promise<void> {
    try {
      const out = new ByteWriter(keyChunkBytes);
      const rows = await this.#kv.getMany(
        'live',
        keys.map((key) => liveKey(key, out)),
      );
      this.step({ type: 'loaded', load, rows });
    } catch (error) {
      const failure = failureOf(error);
      if (failure.reason !== 'corrupt') return this.step({ type: 'load-failed', load, failure });
      // One damaged row fails a read of many: the others are not to suffer for it.
      const rows = await Promise.all(keys.map((key) => this.#loadOne(key)));
      this.step({ type: 'loaded', load, rows });
    }
  }

  async #loadOne(key: string): Promise<LoadedRow> {
    try {
      return await this.#kv.get('live', liveKey(key));
    } catch (error) {
      const { message, details, ...failure } = failureOf(error);
      return { ...failure, message: `\`${key}\` cannot be read: ${message}`, details: { ...details, key } };
    }
  }

  #commit({ batch, operations, lastCommit }: ReplicaEffect & { type: 'commit' }): void {
    const written = this.#lastWrite.then(() => this.#kv.write(operations));
    this.#lastWrite = written;
    const isSynced = this.#options.durability === 'fsync';
    const stored = isSynced ? written.then(() => this.#kv.sync()) : written;
    const previous = this.#lastCommitted;
    const ended = stored.then(
      async () => {
        await previous;
        this.#writtenCommit = lastCommit;
        this.#hasUnsynced = !isSynced;
        this.step({ type: 'committed', batch });
        if (isSynced) this.step({ type: 'durable', commit: lastCommit });
      },
      async (error) => {
        await previous;
        this.#fail(batch, failureOf(error));
      },
    );
    this.#lastCommitted = ended;
    this.#track(ended);
  }

  #fail(batch: number | undefined, failure: Failure): void {
    const wasFenced = this.#replica.fence !== undefined;
    this.step({ type: 'failed', batch, failure });
    if (!wasFenced && this.#replica.fence !== undefined) this.#options.onFence(this.#replica.fence);
  }

  async #sync(): Promise<void> {
    const commit = this.#writtenCommit;
    this.#hasUnsynced = false;
    try {
      await this.#kv.sync();
    } catch (error) {
      this.#fail(undefined, failureOf(error));
      throw error;
    }
    this.step({ type: 'durable', commit });
  }

  #track(work: Promise<unknown>): void {
    this.#underWay.add(work);
    void work.finally(() => this.#underWay.delete(work));
  }
}

/** Memory that the keys of a load are cut from. */
const keyChunkBytes = 4096;

/** Facts that were acknowledged, or seen by readers, are not in the store any more. */
function lossOf(first: number, last: number): Failure {
  return {
    reason: 'unavailable',
    message: `the fact store lost commits ${first} to ${last} when its disk failed; restart the node, which names what is missing, and restore a backup or let it join again`,
    details: { first, last },
    state: 'unknown',
  };
}

/** A failure as the error that clients get. */
export function errorOf({ reason, message, details, state }: Failure): IpeError {
  return new IpeError(reason, message, { ...(details && { details }), ...(state && { state }) });
}

/** What a store threw, as a failure. */
export function failureOf(error: unknown): Failure {
  if (isIpeError(error)) {
    const { reason, message, details } = error;
    return { reason, message, details, state: error.state === 'unknown' ? 'unknown' : 'unchanged' };
  }
  const message = `the fact store failed: ${error instanceof Error ? error.message : String(error)}`;
  return { reason: 'unavailable', message, state: 'unknown' };
}
