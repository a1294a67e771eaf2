import { IpeError, isIpeError } from '@ipe/core';
import {
  type Ahead,
  type Cell,
  type Commit,
  type DataFamily,
  type Dot,
  encodeRecord,
  epochTimes,
  type Failure,
  type Head,
  isReserved,
  type LogRecord,
  logKey,
  type NamespaceReport,
  namespaceOf,
  quarantineAheadMs,
  Replica,
  type ReplicaEffect,
  type Rng,
  Sources,
  type StateEntry,
  type StatesJoin,
  type Strategy,
  type Write,
  type WriteOutcome,
  type WriteRequest,
} from '@ipe/core/replica';
import type { Kv } from '@ipe/core/store';
import type { Mark } from '../stores/mark.ts';
import { DamageList } from './damage.ts';
import { Driver, errorOf } from './driver.ts';
import { Housekeeper } from './housekeeper.ts';
import { recoverStore } from './recover.ts';
import { submitTaken } from './taken.ts';

/** Settings of a namespace. */
export interface NamespaceSettings {
  readonly strategy: Strategy;
  /** Versions kept of a key, the newest included. */
  readonly historyVersions: number;
  readonly historyAgeMs: number;
}

/** What the other members of a cluster mean for this instance's facts. */
export interface ReplicationView {
  /** Whether every member is known to hold a write. */
  isStable(namespace: string, dot: Dot): boolean;
  /** Latest time of what any member has purged from a namespace, hybrid milliseconds; 0 for none. */
  purgedMs(namespace: string): number;
  /** Time since this instance last confirmed that it held all that its peers held. */
  stalenessMs(namespace: string): number;
  /** Why a namespace cannot be read here, where it cannot: not held, or still loading. */
  notHeld(namespace: string): string | undefined;
  /** Why new writes of clients to a namespace are refused, where they are. */
  refusesWrites(namespace: string): Failure | undefined;
}

/** What `openEngine` needs. Everything that acts on the world is handed in. */
export interface EngineOptions {
  /** Opened with `dataFamilies`; the engine closes it. */
  readonly kv: Kv<DataFamily>;
  /** Origin of this instance's writes: 16 hexadecimal digits, for life. */
  readonly origin: string;
  readonly durability: 'fsync' | 'wal';
  readonly settingsOf: (namespace: string) => NamespaceSettings;
  readonly batchWritesMax: number;
  readonly flushIntervalMs: number;
  readonly tombstoneGraceMs: number;
  readonly logBytesMax: number;
  readonly cacheBytesMax: number;
  /** Holds the store to what it was known to hold; absent for stores that keep nothing. The engine closes it. */
  readonly mark?: Mark;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
  readonly rng: Rng;
  /** Milliseconds between rounds of housekeeping; 0: none by itself, `Engine.housekeep` runs one. Default 1000. */
  readonly housekeepingIntervalMs?: number;
  /** Whether this instance has peers: until their view is attached, no write counts as known to them. Default: false. */
  readonly isClustered?: boolean;
  /** Told when writes begin to be refused, and when they are taken again (undefined). */
  readonly onFence?: (failure: Failure | undefined) => void;
  /** Told what housekeeping met; it goes on. */
  readonly onError?: (error: unknown) => void;
}

/** What the replica reports besides its commits: for whoever replicates it. */
export type ReplicaNotice = Extract<
  ReplicaEffect,
  { readonly type: 'durable' | 'gap' | 'refused' | 'held' | 'due' | 'offered' }
>;

/** What changed under readers, in one tick. */
export interface Applied {
  readonly commits: readonly Commit[];
  readonly cells: ReadonlyMap<string, { readonly before: Cell; readonly after: Cell }>;
  /** Namespaces in which keys changed without a commit, because states came in from elsewhere. */
  readonly joined: readonly string[];
}

/** Bytes of requests that may wait for admission. */
const queueBytesMax = 64 * 1024 * 1024;

/**
 * Opens the facts of an instance: reads what the store remembers, holds it to its mark, and draws a new epoch.
 * @throws IpeError `corrupt` when commits are missing or a row of metadata does not decode; nothing is changed then, and
 *   the store stays open for its owner to close
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const sources = new Sources();
  const attached: { view?: ReplicationView } = {};
  const recovered = await recoverStore(options.kv, sources, options.mark);
  const replica = new Replica(
    {
      origin: options.origin,
      strategyOf: (namespace) => options.settingsOf(namespace).strategy,
      historyOf: (namespace) => options.settingsOf(namespace).historyVersions,
      batchWritesMax: options.batchWritesMax,
      flushIntervalMs: options.flushIntervalMs,
      tombstoneGraceMs: options.tombstoneGraceMs,
      startedMs: options.now(),
      epochTimes,
      quarantineAheadMs,
      cacheBytesMax: options.cacheBytesMax,
      queueBytesMax,
      encoder: new TextEncoder(),
      isStable: (namespace, dot) => attached.view?.isStable(namespace, dot) ?? options.isClustered !== true,
      purgedMs: (namespace) => attached.view?.purgedMs(namespace) ?? 0,
    },
    sources,
    recovered,
    options.rng,
  );
  return new Engine(options, replica, attached);
}

/**
 * The facts of an instance, to the rest of the process. Knows nothing of callers: whoever calls it may do anything,
 * reserved namespaces included. Readers see durable writes only.
 */
export class Engine {
  readonly replica: Replica;
  readonly kv: Kv<DataFamily>;
  readonly settingsOf: (namespace: string) => NamespaceSettings;
  readonly #options: EngineOptions;
  readonly #attached: { view?: ReplicationView };
  /** Damaged rows that readers and scans met. */
  readonly damage = new DamageList();
  readonly #driver: Driver;
  readonly #housekeeper: Housekeeper;
  readonly #listeners = new Set<(applied: Applied) => void>();
  readonly #noticed = new Set<(notice: ReplicaNotice) => void>();
  readonly #timer: NodeJS.Timeout | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: EngineOptions, replica: Replica, attached: { view?: ReplicationView }) {
    this.#options = options;
    this.#attached = attached;
    this.replica = replica;
    this.kv = options.kv;
    this.settingsOf = options.settingsOf;
    this.#driver = new Driver({
      kv: options.kv,
      replica,
      durability: options.durability,
      now: options.now,
      rng: options.rng,
      reread: () => recoverStore(options.kv, replica.sources, options.mark),
      onEffect: (effect) => this.#onEffect(effect),
      onFence: options.onFence ?? (() => {}),
    });
    this.#housekeeper = new Housekeeper({
      kv: options.kv,
      replica,
      step: (event) => this.#driver.step(event),
      historyAgeOf: (namespace) => options.settingsOf(namespace).historyAgeMs,
      logBytesMax: options.logBytesMax,
      now: options.now,
    });
    const intervalMs = options.housekeepingIntervalMs ?? 1000;
    if (intervalMs > 0)
      this.#timer = setInterval(() => {
        this.housekeep().catch((error) => options.onError?.(error));
      }, intervalMs).unref();
  }

  /** The readers' clock in milliseconds: never goes back, and is never behind any write that was seen. */
  readMs(): number {
    return this.replica.readMs(this.#options.now());
  }

  /** A committed cell: at once where it is hot. Absent keys have a cell without a state. */
  get(key: string): Cell | Promise<Cell> {
    const cell = this.replica.peek(key);
    return cell ?? this.#driver.fetch([key]).then((cells) => cells.get(key)!);
  }

  /** Committed cells, all as of one moment, cold ones read in one trip. */
  getMany(keys: readonly string[]): ReadonlyMap<string, Cell> | Promise<ReadonlyMap<string, Cell>> {
    const cells = new Map<string, Cell>();
    for (const key of keys) {
      const cell = this.replica.peek(key);
      if (cell === undefined) return this.#driver.fetch([...new Set(keys)]);
      cells.set(key, cell);
    }
    return cells;
  }

  /**
   * Submits writes. Resolves once they are durable, or refused: each write that stands alone by itself where peers are
   * the reason, the request whole where nothing of it is left.
   */
  submit(request: WriteRequest): Promise<WriteOutcome> {
    if (this.#closed !== undefined) throw new IpeError('unavailable', 'the node is shutting down');
    const { view } = this.#attached;
    if (view === undefined) return this.#driver.submit(request);
    // IPE's own facts go on: members and tokens must depend neither on a clock nor on what has been loaded.
    const refuses = (namespace: string) => (isReserved(namespace) ? undefined : view.refusesWrites(namespace));
    return submitTaken(request, refuses, (taken) => this.#driver.submit(taken));
  }

  /**
   * Writes one JSON value, for parts of the node itself; any namespace.
   * @throws IpeError as `put` does
   */
  async put(
    key: string,
    value: unknown,
    options: { readonly ttlMs?: number; readonly ifVersion?: number } = {},
  ): Promise<void> {
    await this.#one({ op: 'put', namespace: namespaceOf(key), key, json: JSON.stringify(value), ...options });
  }

  /** Removes a key, for parts of the node itself. @returns whether there was something */
  async delete(key: string): Promise<boolean> {
    const existed = (await this.get(key)).seenAt(this.readMs()) !== undefined;
    await this.#one({ op: 'delete', namespace: namespaceOf(key), key });
    return existed;
  }

  async #one(write: Write): Promise<void> {
    const outcome = await this.submit({ writes: [write], atomic: false, sizeBytes: 256 });
    if (!outcome.ok) throw errorOf(outcome.failure);
    const result = outcome.results[0]!;
    if (!result.ok) throw errorOf(result);
  }

  /** Calls `listener` after each commit, in order, in the tick in which readers begin to see it. @returns how to stop */
  onApplied(listener: (applied: Applied) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Gives the engine the view of its peers; until then it is as alone as `isClustered` says. */
  attach(view: ReplicationView): void {
    this.#attached.view = view;
  }

  /** Whether this instance has, or may have, peers. */
  get isClustered(): boolean {
    return this.#attached.view !== undefined || this.#options.isClustered === true;
  }

  /** Why a namespace cannot be read here, where it cannot. */
  problemOf(namespace: string): Failure | undefined {
    const message = this.#attached.view?.notHeld(namespace);
    if (message === undefined) return this.replica.problemOf(namespace);
    return { reason: 'unavailable', message, details: { namespace } };
  }

  /** Time since this instance last confirmed that it held all its peers held; 0 without peers. */
  stalenessMs(namespace: string): number {
    return this.#attached.view?.stalenessMs(namespace) ?? 0;
  }

  /** Calls `listener` for what only replication cares about. @returns how to stop */
  onNotice(listener: (notice: ReplicaNotice) => void): () => void {
    this.#noticed.add(listener);
    return () => this.#noticed.delete(listener);
  }

  /**
   * Takes in records of other sources, each source's in order. What became of them is told by `onNotice` and
   * `onApplied`: known ones are ignored, gaps and misfits are reported.
   */
  takeRecords(from: string, records: readonly LogRecord[]): void {
    if (this.#closed === undefined) this.#driver.step({ type: 'records', from, records });
  }

  /**
   * Joins states of another member in, durably.
   * @param how what is known of the other member, and whether rows are written where nothing is new
   * @throws IpeError as a write does; some may be in then, which repeating does not harm
   */
  async joinStates(namespace: string, entries: readonly StateEntry[], how: StatesJoin = {}): Promise<void> {
    const outcome = await this.#driver.joinStates(namespace, entries, how);
    if (!outcome.ok) throw errorOf(outcome.failure);
  }

  /**
   * Says that all records up to `heads` have come in as states.
   * @param ahead what the giver's states showed beyond that
   * @throws IpeError as a write does; nothing moved then
   */
  async advance(namespace: string, heads: readonly Head[], floor: number, ahead?: Ahead): Promise<void> {
    const outcome = await this.#driver.advance(namespace, heads, floor, ahead);
    if (!outcome.ok) throw errorOf(outcome.failure);
  }

  /** Holds back records that another member holds back too. @throws IpeError as a write does */
  async hold(namespace: string, records: readonly LogRecord[]): Promise<void> {
    const outcome = await this.#driver.ask((id) => ({ type: 'hold', id, namespace, records }));
    if (!outcome.ok) throw errorOf(outcome.failure);
  }

  /**
   * Applies records that are held back here: those whose time has come or that others explain, or all of them.
   * @throws IpeError as a write does
   */
  async release(records: readonly LogRecord[], isForced: boolean): Promise<void> {
    const outcome = await this.#driver.ask((id) => ({ type: 'release', id, records, isForced }));
    if (!outcome.ok) throw errorOf(outcome.failure);
  }

  /**
   * Takes the effect from a record that is held back: it is applied and overwritten at once.
   * @returns the freshness token of what it is overwritten with; undefined where there was nothing to overwrite
   * @throws IpeError as a write does; `not_found` for a record that is not held back
   */
  async reject(record: LogRecord): Promise<string | undefined> {
    const outcome = await this.#driver.ask((id) => ({ type: 'reject', id, record }));
    if (!outcome.ok) throw errorOf(outcome.failure);
    const refused = outcome.results.find((result) => !result.ok);
    if (refused !== undefined && !refused.ok) throw errorOf(refused);
    const first = outcome.results[0];
    return first?.ok ? first.token : undefined;
  }

  /**
   * Writes again what still holds of records that this instance wrote before it was evicted, and nobody else has; what
   * may concern something deleted meanwhile is parked under `_sys.parked`. Resolves once all of it is durable; what became
   * of each record is told by `onNotice` (`offered`) until then. Records that were offered before are passed over.
   * @param counted records of the same sources that everyone has: of counters they tell what is counted already
   * @param purgedMs latest time of what was purged, as far as other members have told
   * @throws IpeError as a write does, or because a record cannot be offered as things are; some may be offered then, and
   *   the rest when this is repeated
   */
  async offer(
    records: readonly LogRecord[],
    options: { readonly counted: readonly LogRecord[]; readonly purgedMs: number },
  ): Promise<void> {
    if (this.#closed !== undefined) throw new IpeError('unavailable', 'the node is shutting down');
    const outcome = await this.#driver.ask((id) => ({ type: 'offer', id, records, ...options }));
    if (!outcome.ok) throw errorOf(outcome.failure);
  }

  /** Least time that deletions are remembered. */
  get tombstoneGraceMs(): number {
    return this.#options.tombstoneGraceMs;
  }

  /**
   * Puts a sound record in the place of a damaged one in the log, durably.
   * @returns false when the log has let go of it meanwhile: nothing was written
   */
  mendRecord(record: LogRecord): Promise<boolean> {
    const key = logKey(record.namespace, record.source, record.seq);
    // Between rounds of housekeeping: what trims the log does not do so meanwhile.
    return this.#housekeeper.between(async () => {
      await this.#driver.settle();
      const held = await this.kv.get('log', key).catch((error) => {
        if (isIpeError(error) && error.reason === 'corrupt') return error;
        throw error;
      });
      if (held === undefined) return false;
      await this.kv.write([{ type: 'put', family: 'log', key, value: encodeRecord(record) }]);
      await this.kv.sync();
      return true;
    });
  }

  /** Why writes are refused, while they are. */
  get fence(): Failure | undefined {
    return this.#driver.fence;
  }

  namespaces(): readonly NamespaceReport[] {
    return this.replica.report();
  }

  /** One round of housekeeping: syncs what is only written, purges a slice of what is due, trims history and the log. */
  async housekeep(): Promise<void> {
    if (this.#closed !== undefined) return;
    await this.#driver.recover();
    this.#driver.step({ type: 'tick' });
    await this.#driver.syncWritten();
    if (this.fence !== undefined) return;
    await this.#housekeeper.round();
    if (!this.isClustered) await this.#foldAlone();
    await this.#driver.settle();
  }

  /** Without peers an epoch that is over is known to all that there are. */
  async #foldAlone(): Promise<void> {
    for (const { name } of this.namespaces()) {
      const head = this.replica.foldableAlone(name);
      if (head !== undefined) await this.advance(name, [head], 0);
    }
  }

  /** Waits for what was begun, syncs, and closes the store. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#release();
    return this.#closed;
  }

  async #release(): Promise<void> {
    clearInterval(this.#timer);
    await this.#housekeeper.idle();
    await this.#driver.close();
    this.#options.mark?.advance(this.replica.durableCommit);
    await this.#options.mark?.close();
    await this.kv.close();
  }

  #onEffect(effect: ReplicaEffect): void {
    if (effect.type === 'durable') this.#options.mark?.advance(effect.commit);
    switch (effect.type) {
      case 'durable':
      case 'gap':
      case 'refused':
      case 'held':
      case 'due':
      case 'offered':
        for (const listener of this.#noticed) listener(effect);
        return;
      case 'damaged':
        this.damage.met({ namespace: namespaceOf(effect.key), key: effect.key, failure: effect.failure });
        return;
      case 'applied':
        this.damage.mended(effect.cells.keys());
        this.#housekeeper.saw(effect.commits);
        for (const listener of this.#listeners) listener(effect);
    }
  }
}
