import { IpeError, isIpeError } from '@ipe/core';
import { type DataFamily, dataFamilies, decodeRecord, type LogRecord } from '@ipe/core/replica';
import type { Kv } from '@ipe/core/store';
import { createMemoryDisk, openMemoryKv } from '@ipe/core/store';
import type { CallContext, Caller, Session } from '../api/method.ts';
import { type Engine, type EngineOptions, openEngine } from '../data/engine.ts';
import { createDataService, type DataService } from '../data/service.ts';
import { settingsFrom } from '../data/settings.ts';

/** Whatever a method answers: tests look into it freely. */
export type Json = ReturnType<typeof JSON.parse>;

/** A namespace of every strategy. */
export const testSettings = settingsFrom({
  conflict_strategy: 'lww',
  history_versions: 5,
  history_age: 3_600_000,
  namespaces: {
    counts: { conflict_strategy: 'counter' },
    groups: { conflict_strategy: 'set' },
    bans: { conflict_strategy: 'set', resolver: 'remove-wins' },
    votes: { conflict_strategy: 'version-vector' },
    drafts: { conflict_strategy: 'version-vector', resolver: 'siblings' },
  },
});

export const testService: Caller = { kind: 'service', tokenId: 'token-1', name: 'tests' };

export interface DataNodeOptions extends Partial<EngineOptions> {
  /** Opens the store, at start and after each crash. Default: memory on `DataNode.disk`. */
  readonly openKv?: () => Promise<Kv<DataFamily>>;
  readonly seed?: number;
}

/** A data plane in one process with a clock and randomness of its own, for tests. */
export class DataNode {
  nowMs = 1_700_000_000_000;
  readonly disk = createMemoryDisk();
  engine!: Engine;
  service!: DataService;
  readonly #options: DataNodeOptions;
  readonly #rng: () => number;

  private constructor(options: DataNodeOptions) {
    this.#options = options;
    this.#rng = lehmer(options.seed ?? 1);
  }

  static async open(options: DataNodeOptions = {}): Promise<DataNode> {
    const node = new DataNode(options);
    await node.start();
    return node;
  }

  async start(): Promise<void> {
    this.engine = await openEngine({
      kv: (await this.#options.openKv?.()) ?? openMemoryKv({ families: dataFamilies, disk: this.disk }),
      origin: '00112233445566aa',
      durability: 'fsync',
      settingsOf: testSettings,
      batchWritesMax: 1000,
      flushIntervalMs: 100,
      tombstoneGraceMs: 60_000,
      logBytesMax: 64 * 1024 * 1024,
      cacheBytesMax: 4 * 1024 * 1024,
      now: () => this.nowMs,
      rng: this.#rng,
      housekeepingIntervalMs: 0,
      ...this.#options,
    });
    this.service = createDataService({ engine: this.engine });
  }

  /** Loses what was not synced but for the first `keepBatches` batches, and starts again. */
  async crash(keepBatches = 0): Promise<void> {
    this.service.close();
    this.disk.crash(keepBatches);
    await this.engine.close().catch(() => {});
    await this.start();
  }

  async restart(): Promise<void> {
    await this.close();
    await this.start();
  }

  async close(): Promise<void> {
    this.service.close();
    await this.engine.close();
  }

  async call(method: string, params: unknown, context: Partial<CallContext> = {}): Promise<Json> {
    const handler = this.service.handlers[method]!;
    return await handler(params, { caller: testService, signal: new AbortController().signal, ...context });
  }

  /** Hands what this node wrote itself to another one, as a peer would, and waits until that has it. */
  async tell(other: DataNode, isWanted: (record: LogRecord) => boolean = () => true): Promise<void> {
    const records: LogRecord[] = [];
    for await (const [, row] of this.engine.kv.entries('log')) {
      const record = decodeRecord(row, other.engine.replica.sources);
      if (record.source.origin === this.engine.replica.origin && isWanted(record)) records.push(record);
    }
    other.engine.takeRecords(this.engine.replica.origin, records);
    await other.engine.housekeep();
  }

  /** The error of a call that must fail. */
  async refused(method: string, params: unknown, context: Partial<CallContext> = {}): Promise<IpeError> {
    try {
      await this.call(method, params, context);
    } catch (error) {
      if (isIpeError(error)) return error;
      throw error;
    }
    throw new Error(`\`${method}\` was accepted`);
  }
}

/** A client's connection: keeps what it is sent, and can be slow or go away. */
export class TestSession implements Session {
  readonly events: Json[] = [];
  readonly #gone = new AbortController();
  #gate: Promise<void> = Promise.resolve();
  #open = () => {};
  #wakeUps: (() => void)[] = [];

  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  async notify(_event: string, data: unknown, id?: string): Promise<void> {
    if (this.signal.aborted) throw new IpeError('unavailable', 'the connection is gone');
    this.events.push({ ...(data as object), id });
    for (const wake of this.#wakeUps.splice(0)) wake();
    await this.#gate;
  }

  /** Stops reading: the next notification waits. */
  pause(): void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  resume(): void {
    this.#open();
    this.#gate = Promise.resolve();
  }

  end(): void {
    this.#gone.abort();
    this.resume();
  }

  /** The events, once there are `count` of them. */
  async received(count: number): Promise<Json[]> {
    while (this.events.length < count) await new Promise<void>((resolve) => this.#wakeUps.push(resolve));
    return this.events;
  }
}

/** Park and Miller's generator: seeded, in [0, 1). */
export function lehmer(seed: number): () => number {
  let state = (seed % 2147483646) + 1;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}
