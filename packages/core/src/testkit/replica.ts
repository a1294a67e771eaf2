import { decodeUtf8 } from '../replica/codec.ts';
import {
  Cell,
  type DataFamily,
  decodeCell,
  decodeHeld,
  decodeRecord,
  encodeRecord,
  epochTimes,
  heldRowKey,
  type LogRecord,
  liveKey,
  namespaceOf,
  quarantineAheadMs,
  Replica,
  type ReplicaEffect,
  type ReplicaEvent,
  type ReplicaOptions,
  readMetadata,
  Sources,
  type WriteOutcome,
  type WriteRequest,
} from '../replica/index.ts';
import type { KvOperation } from '../store/index.ts';

/** A small seeded generator (linear congruential): instances need epochs that differ, nothing more. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

/** The process ended, as a test asked for. */
export class Crash extends Error {}

type Row = readonly [key: Uint8Array, value: Uint8Array];

/**
 * A replica over rows in memory that carries out every effect at once: for tests of what a replica decides, where the
 * interleaving of the store is not the point.
 */
export class InstantReplica {
  replica: Replica;
  nowMs: number;
  /** Every record that became durable here, in the order in which it was applied, as others are sent it. */
  readonly log: Uint8Array[] = [];
  /** What the outside is told: `held`, `due`, `offered`, `gap`, `refused`. */
  readonly told: ReplicaEffect[] = [];
  /** How many more batches are written before the process ends, with `Crash`; `restart` goes on from the rows. */
  batchesUntilCrash = Number.POSITIVE_INFINITY;
  readonly #options: Omit<ReplicaOptions, 'startedMs'>;
  readonly #rng: () => number;
  readonly #rows = new Map<DataFamily, Map<string, Row>>();
  readonly #outcomes = new Map<number, WriteOutcome>();
  #nextId = 1;

  constructor(
    options: Pick<ReplicaOptions, 'origin' | 'strategyOf'> & Partial<ReplicaOptions>,
    rng: () => number,
    nowMs: number,
  ) {
    this.#options = {
      historyOf: () => 1,
      batchWritesMax: 100,
      flushIntervalMs: 0,
      tombstoneGraceMs: 0,
      cacheBytesMax: 1 << 20,
      queueBytesMax: 1 << 20,
      epochTimes,
      quarantineAheadMs,
      ...options,
    };
    this.#rng = rng;
    this.nowMs = nowMs;
    this.replica = this.#open();
  }

  /** Stops and starts on the same rows. */
  restart(): void {
    this.batchesUntilCrash = Number.POSITIVE_INFINITY;
    this.replica = this.#open();
  }

  step(event: ReplicaEvent): void {
    for (const effect of this.replica.step(event, this.nowMs, this.#rng)) this.#carryOut(effect);
  }

  /** Sends an event that is answered. @returns the answer */
  ask(event: (id: number) => ReplicaEvent): WriteOutcome {
    const id = this.#nextId++;
    this.step(event(id));
    const outcome = this.#outcomes.get(id);
    if (outcome === undefined) throw new Error('the replica did not answer');
    this.#outcomes.delete(id);
    return outcome;
  }

  write(...writes: WriteRequest['writes']): WriteOutcome {
    return this.ask((id) => ({ type: 'submit', id, request: { writes, atomic: false, sizeBytes: 100 } }));
  }

  /** Takes in records as another member sent them. */
  receive(...records: readonly Uint8Array[]): void {
    const decoded = records.map((bytes) => decodeRecord(bytes, this.replica.sources));
    this.step({ type: 'records', from: 'peer', records: decoded });
  }

  /** What the rows say a key holds. */
  cell(key: string): Cell {
    const strategy = this.replica.strategyOf(namespaceOf(key));
    const row = this.#family('live').get(nameOf(liveKey(key)))?.[1];
    return row === undefined ? new Cell(undefined, 0, strategy) : decodeCell(row, this.replica.sources, strategy);
  }

  /** JSON text that readers see of a key now; undefined for absent. */
  seen(key: string): string | undefined {
    return this.cell(key).seenAt(this.replica.readMs(this.nowMs))?.json;
  }

  /** Keys that have a row, dead ones included, in order. */
  keys(): string[] {
    return this.rows('live').map(([key]) => decodeUtf8(key));
  }

  rows(family: DataFamily): readonly Row[] {
    const rows = [...this.#family(family)].sort(([a], [b]) => (a < b ? -1 : 1));
    return rows.map(([, row]) => row);
  }

  /** Records that are held back here, of one namespace or of all. */
  held(namespace?: string): LogRecord[] {
    const { sources } = this.replica;
    return this.replica.heldBack(namespace).flatMap(({ namespace: name, source, from, to }) =>
      Array.from({ length: to - from + 1 }, (_, i) => {
        const row = this.#family('metadata').get(nameOf(heldRowKey(name, source, from + i)))!;
        return decodeRecord(decodeHeld(row[1], sources), sources);
      }),
    );
  }

  #open(): Replica {
    const sources = new Sources();
    return new Replica(
      { ...this.#options, startedMs: this.nowMs },
      sources,
      readMetadata(this.rows('metadata'), sources),
      this.#rng,
    );
  }

  #carryOut(effect: ReplicaEffect): void {
    switch (effect.type) {
      case 'load': {
        const rows = effect.keys.map((key) => this.#family('live').get(nameOf(liveKey(key)))?.[1]);
        this.step({ type: 'loaded', load: effect.load, rows });
        return;
      }
      case 'commit':
        if (this.batchesUntilCrash-- === 0) throw new Crash('the process ends before this batch is written');
        this.#write(effect.operations);
        this.step({ type: 'committed', batch: effect.batch });
        this.step({ type: 'durable', commit: effect.lastCommit });
        return;
      case 'applied':
        for (const { record } of effect.commits) this.log.push(encodeRecord(record));
        return;
      case 'reply':
        this.#outcomes.set(effect.id, effect.outcome);
        return;
      case 'held':
      case 'due':
      case 'offered':
      case 'gap':
      case 'refused':
        this.told.push(effect);
        return;
      default:
    }
  }

  #write(operations: readonly KvOperation<DataFamily>[]): void {
    for (const operation of operations) {
      const rows = this.#family(operation.family);
      if (operation.type === 'put') rows.set(nameOf(operation.key), [operation.key, operation.value]);
      else rows.delete(nameOf(operation.key));
    }
  }

  #family(family: DataFamily): Map<string, Row> {
    let rows = this.#rows.get(family);
    if (rows === undefined) this.#rows.set(family, (rows = new Map()));
    return rows;
  }
}

const nameOf = (key: Uint8Array) => String.fromCharCode(...key);
