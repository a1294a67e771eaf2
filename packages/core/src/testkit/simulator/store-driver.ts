import {
  type Failure,
  type HeldRun,
  type LogRecord,
  liveKey,
  type Replica,
  type ReplicaEffect,
  type ReplicaEvent,
  readMetadata,
  type WriteOutcome,
} from '../../replica/index.ts';
import type { Disk } from './disk.ts';
import type { Random } from './random.ts';

export type Applied = Extract<ReplicaEffect, { readonly type: 'applied' }>;
export type Gap = Extract<ReplicaEffect, { readonly type: 'gap' }>;

export interface StoreDriverOptions {
  readonly disk: Disk;
  readonly replica: Replica;
  readonly random: Random;
  readonly durability: 'fsync' | 'wal';
  /** A mutant: says that batches are durable before they are written. */
  readonly isEager: boolean;
  readonly wallMs: () => number;
  /** True time. */
  readonly nowMs: () => number;
  readonly later: (delayMs: number, run: () => void) => void;
  readonly onApplied: (applied: Applied) => void;
  readonly onDamaged: (key: string) => void;
  readonly onDurable: (commit: number) => void;
  readonly onDue: (runs: readonly HeldRun[]) => void;
  readonly onOffered: (record: LogRecord) => void;
  readonly onGap: (gap: Gap) => void;
  readonly onRefused: (record: LogRecord, failure: Failure) => void;
}

const full: Failure = { reason: 'unavailable', message: 'the disk is full', state: 'unknown' };
const reopenMs = 500;

/** Feeds a replica and carries out what it asks of its disk, as the node's driver does with promises. */
export class StoreDriver {
  readonly #options: StoreDriverOptions;
  readonly #replies = new Map<number, (outcome: WriteOutcome) => void>();
  readonly #effects: ReplicaEffect[] = [];
  #isRunning = false;
  #lastId = 0;
  /** When what was handed out last takes effect. */
  #busyMs = 0;
  /** Counts failures: a batch that was handed out before one is not written. */
  #failures = 0;
  #writtenCommit: number;

  constructor(options: StoreDriverOptions) {
    this.#options = options;
    this.#writtenCommit = options.replica.appliedCommit;
  }

  /** Hands in an event that is answered by one reply. */
  ask(event: (id: number) => ReplicaEvent, reply: (outcome: WriteOutcome) => void): void {
    const id = ++this.#lastId;
    this.#replies.set(id, reply);
    this.step(event(id));
  }

  step(event: ReplicaEvent): void {
    const { replica, wallMs, random } = this.#options;
    for (const effect of replica.step(event, wallMs(), random.next)) this.#effects.push(effect);
    // Effects of a step taken while those of another are carried out wait for their turn.
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (let i = 0; i < this.#effects.length; i++) this.#carryOut(this.#effects[i]!);
    this.#effects.length = 0;
    this.#isRunning = false;
  }

  /** Syncs what is only written; each second under `wal`. */
  syncWritten(): void {
    if (this.#options.durability === 'fsync' || this.#options.replica.fence !== undefined) return;
    this.#options.disk.sync();
    this.step({ type: 'durable', commit: this.#writtenCommit });
  }

  #carryOut(effect: ReplicaEffect): void {
    const { random, later, disk } = this.#options;
    switch (effect.type) {
      case 'load':
        later(random.int(0, 3), () => {
          const rows = effect.keys.map((key) => disk.get('live', liveKey(key)));
          this.step({ type: 'loaded', load: effect.load, rows });
        });
        return;
      case 'commit':
        this.#commit(effect);
        return;
      case 'reply': {
        const reply = this.#replies.get(effect.id);
        this.#replies.delete(effect.id);
        reply?.(effect.outcome);
        return;
      }
      case 'applied':
        this.#options.onApplied(effect);
        return;
      case 'durable':
        this.#options.onDurable(effect.commit);
        return;
      case 'due':
        this.#options.onDue(effect.runs);
        return;
      case 'offered':
        this.#options.onOffered(effect.record);
        return;
      case 'gap':
        this.#options.onGap(effect);
        return;
      case 'refused':
        this.#options.onRefused(effect.record, effect.failure);
        return;
      case 'damaged':
        this.#options.onDamaged(effect.key);
        return;
      case 'alarm':
        later(effect.inMs, () => this.step({ type: 'tick' }));
        return;
      case 'fetched':
        return;
    }
  }

  #commit({ batch, operations, lastCommit }: Extract<ReplicaEffect, { type: 'commit' }>): void {
    const { random, disk, durability, isEager } = this.#options;
    const failures = this.#failures;
    const isSynced = durability === 'fsync';
    if (isEager) this.#inOrder(0, () => this.#committed(batch, lastCommit, true));
    this.#inOrder(random.int(1, 8) + (isEager ? 200 : 0), () => {
      // A batch behind one that failed was judged against it.
      if (failures !== this.#failures) return;
      if (disk.isFull) {
        // Whether the batch is in the log by then is found out only when the store is opened again.
        if (random.chance(0.3)) disk.write(operations);
        this.#fail(batch);
        return;
      }
      disk.write(operations);
      if (isSynced || isEager) return;
      this.#committed(batch, lastCommit, false);
    });
    if (!isSynced) return;
    this.#inOrder(random.int(0, 8), () => {
      if (failures !== this.#failures) return;
      disk.sync();
      if (!isEager) this.#committed(batch, lastCommit, true);
    });
  }

  #committed(batch: number, lastCommit: number, isDurable: boolean): void {
    this.#writtenCommit = lastCommit;
    this.step({ type: 'committed', batch });
    if (isDurable) this.step({ type: 'durable', commit: lastCommit });
  }

  #fail(batch: number): void {
    this.#failures++;
    this.step({ type: 'failed', batch, failure: full });
    this.#reopen();
  }

  #reopen(): void {
    const { disk, later, replica } = this.#options;
    later(reopenMs, () => {
      if (disk.isFull) {
        this.#reopen();
        return;
      }
      disk.sync();
      this.step({ type: 'reopen', recovered: readMetadata(disk.rows('metadata'), replica.sources) });
    });
  }

  /** What is written takes effect in its order, whatever each takes. */
  #inOrder(takesMs: number, run: () => void): void {
    const { nowMs, later } = this.#options;
    this.#busyMs = Math.max(this.#busyMs, nowMs()) + takesMs;
    later(this.#busyMs - nowMs(), run);
  }
}
