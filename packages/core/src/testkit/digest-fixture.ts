import { sipHash128 } from '../bytes/siphash.ts';
import { type Cell, decodeCell } from '../replica/cell.ts';
import { type Cuts, cutsAt } from '../replica/digest/cuts.ts';
import { Digests } from '../replica/digest/digests.ts';
import type { LocalDigests } from '../replica/digest/questions.ts';
import type { Sources } from '../replica/dot.ts';
import type { ReplicaEffect, ReplicaEvent } from '../replica/events.ts';
import { epochTimes } from '../replica/fold.ts';
import { liveKey } from '../replica/layout.ts';
import { quarantineAheadMs } from '../replica/quarantine.ts';
import type { LogRecord } from '../replica/record.ts';
import { readMetadata } from '../replica/recovery.ts';
import { Replica } from '../replica/replica.ts';
import type { Strategy } from '../replica/state.ts';
import type { Write } from '../replica/write.ts';
import { Disk } from './simulator/disk.ts';

export const graceMs = 3_600_000;
export const strategies: Readonly<Record<string, Strategy>> = {
  plain: { kind: 'lww' },
  grants: { kind: 'version-vector', resolver: 'revoke-wins' },
  notes: { kind: 'version-vector', resolver: 'siblings' },
  counts: { kind: 'counter' },
  groups: { kind: 'set', resolver: 'add-wins' },
  bans: { kind: 'set', resolver: 'remove-wins' },
};
const hash = sipHash128(Uint8Array.from({ length: 16 }, (_, i) => i * 7));

/** @internal A replica over a disk in memory, with its digests, whose batches are committed when the test says so. */
export class TestInstance {
  readonly replica: Replica;
  readonly digests: Digests;
  readonly disk: Disk;
  /** What this instance wrote, in order. */
  readonly written: LogRecord[] = [];
  /** Whether the other instances have a write. */
  isStable: (namespace: string, dot: { source: unknown; seq: number }) => boolean = () => true;
  readonly #now: () => number;
  readonly #batches: Extract<ReplicaEffect, { type: 'commit' }>[] = [];
  #id = 0;

  /** @param disk what an earlier instance left; its namespaces are to be walked */
  constructor(origin: string, sources: Sources, now: () => number, disk = new Disk()) {
    this.#now = now;
    this.disk = disk;
    this.replica = new Replica(
      {
        origin,
        strategyOf: (namespace) => strategies[namespace]!,
        historyOf: () => 1,
        batchWritesMax: 500,
        flushIntervalMs: 1,
        tombstoneGraceMs: graceMs,
        startedMs: now(),
        epochTimes,
        quarantineAheadMs,
        cacheBytesMax: 2_000,
        queueBytesMax: 1 << 20,
        isStable: (namespace, dot) => this.isStable(namespace, dot),
      },
      sources,
      readMetadata(disk.rows('metadata'), sources),
      this.#rng,
    );
    this.digests = new Digests(
      hash,
      this.replica.report().map(({ name }) => name),
    );
  }

  readonly #rng = () => (Number.parseInt(this.replica?.origin ?? '7', 16) % 1000) / 1000;

  get inFlight(): number {
    return this.#batches.length;
  }

  get local(): LocalDigests {
    return {
      digests: this.digests,
      names: () => this.replica.report().map(({ name }) => name),
      cuts: () => this.cuts(),
      headsOf: (namespace) => this.replica.headsOf(namespace),
      strategyOf: (namespace) => JSON.stringify(strategies[namespace]),
      isWhole: () => true,
    };
  }

  row(key: string): Uint8Array | undefined {
    return this.disk.get('live', liveKey(key));
  }

  cuts(): Cuts {
    return cutsAt(this.replica.readMs(this.#now()), graceMs);
  }

  submit(...writes: readonly Write[]): void {
    this.step({ type: 'submit', id: ++this.#id, request: { writes, atomic: writes.length > 1, sizeBytes: 100 } });
  }

  step(event: ReplicaEvent): void {
    for (const effect of this.replica.step(event, this.#now(), this.#rng)) {
      if (effect.type === 'commit') this.#batches.push(effect);
      else if (effect.type === 'applied') {
        this.digests.changed(effect.cells);
        for (const { record } of effect.commits)
          if (record.source.origin === this.replica.origin) this.written.push(record);
      } else if (effect.type === 'load')
        this.step({ type: 'loaded', load: effect.load, rows: effect.keys.map((key) => this.row(key)) });
    }
  }

  /** The oldest batch in flight is committed. */
  commit(): void {
    const batch = this.#batches.shift();
    if (batch === undefined) return;
    this.disk.write(batch.operations);
    this.disk.sync();
    this.step({ type: 'committed', batch: batch.batch });
    this.step({ type: 'durable', commit: batch.lastCommit });
  }

  commitAll(): void {
    while (this.#batches.length > 0) this.commit();
  }

  purge(): void {
    this.step({ type: 'purge', keys: this.disk.rows('live').map(([key]) => textOf(key)) });
    this.commitAll();
  }

  /** The committed cells of a namespace: what is in the rows, but for keys that are being written. */
  cells(namespace: string): Map<string, Cell> {
    const cells = new Map<string, Cell>();
    for (const [key, row] of this.disk.rows('live', liveKey(`${namespace}.`)))
      cells.set(textOf(key), decodeCell(row, this.replica.sources, strategies[namespace]!));
    for (const [key, cell] of this.replica.uncommitted())
      if (cell !== undefined && key.startsWith(`${namespace}.`)) cells.set(key, cell);
    return cells;
  }

  /** Counts a namespace's rows into the digests. @returns whether they differ from what was kept */
  walk(namespace: string, digests = this.digests): boolean {
    const walk = digests.begin(namespace);
    for (const [key, cell] of this.cells(namespace)) walk.add(key, cell);
    return walk.end();
  }

  /** Digests counted anew from the rows. */
  recount(namespace: string): Digests {
    const digests = new Digests(hash, [namespace]);
    digests.dropBelow(this.cuts());
    this.walk(namespace, digests);
    return digests;
  }
}

const textOf = (bytes: Uint8Array) => bytes.reduce((text, byte) => text + String.fromCharCode(byte), '');
