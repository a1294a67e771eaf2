import type { KvOperation } from '../store/kv.ts';
import type { Answers } from './answers.ts';
import { Batch, sealBatch } from './batch.ts';
import { ByteWriter, type Utf8Encoder } from './codec.ts';
import type { ReplicaEffect } from './events.ts';
import { moveHead } from './fold.ts';
import type { HybridClock } from './hlc.ts';
import type { DataFamily } from './layout.ts';
import type { Namespaces } from './namespaces.ts';
import type { OfferProgress } from './offer.ts';
import type { Quarantine } from './quarantine.ts';
import type { Recovered } from './recovery.ts';
import type { States } from './states.ts';
import type { Failure, WriteOutcome } from './write.ts';

/** Commits under way at once, when what gathers reaches its bound. */
const inFlightMax = 4;
/** Bytes that gather before another commit is started beside the one in flight. */
const gatherBytesMax = 8 * 1024 * 1024;
/** Memory that the rows of batches are cut from. */
const rowChunkBytes = 64 * 1024;

export interface PipelineOptions {
  readonly historyOf: (namespace: string) => number;
  readonly batchWritesMax: number;
  readonly flushIntervalMs: number;
  readonly tombstoneGraceMs: number;
  /** Writes text into rows; absent: JavaScript does. */
  readonly encoder?: Utf8Encoder;
}

/** What the pipeline works on; owned by the replica. */
export interface PipelineParts {
  readonly states: States;
  readonly namespaces: Namespaces;
  readonly answers: Answers;
  readonly clock: HybridClock;
  readonly quarantine: Quarantine;
  readonly offered: OfferProgress;
  readonly readFloorMs: () => number;
  /** Tells the store's log from those of earlier stores. */
  readonly logId: number;
  readonly emit: (effect: ReplicaEffect) => void;
}

/**
 * From admitted writes to durable commits: what gathers, what is in flight, and what happens when a batch is committed
 * or fails. Batches are numbered and end in order.
 */
export class Pipeline {
  gathering: Batch;
  readonly #options: PipelineOptions;
  readonly #parts: PipelineParts;
  readonly #out: ByteWriter;
  readonly #inFlight: Batch[] = [];
  /** Batches that failed, of which the store may hold some, from the first on. */
  #doubtful: readonly Batch[] = [];
  #batchNumber = 1;
  #sealedCommit: number;
  #appliedCommit: number;
  #durableCommit: number;
  #trimmedCommit: number;
  #committedTrim: number;
  /** As of the last batch that was handed out, and as of the last that is committed. */
  #sealedLogBytes: number;
  #logBytes: number;

  constructor(options: PipelineOptions, parts: PipelineParts, recovered: Recovered) {
    this.#options = options;
    this.#parts = parts;
    this.#out = new ByteWriter(rowChunkBytes, options.encoder);
    this.#sealedCommit = this.#appliedCommit = this.#durableCommit = recovered.lastCommit;
    this.#trimmedCommit = this.#committedTrim = recovered.trimmedCommit;
    this.#sealedLogBytes = this.#logBytes = recovered.logBytes;
    this.gathering = new Batch(this.#batchNumber);
  }

  get appliedCommit(): number {
    return this.#appliedCommit;
  }

  get durableCommit(): number {
    return this.#durableCommit;
  }

  get trimmedCommit(): number {
    return this.#trimmedCommit;
  }

  get logBytes(): number {
    return this.#logBytes;
  }

  get inFlightCount(): number {
    return this.#inFlight.length;
  }

  /** Answers once the batch is committed; at once where it is already. 0 stands for no batch. */
  answerWith(batch: number, id: number, outcome: WriteOutcome): void {
    const target =
      batch === this.gathering.number ? this.gathering : this.#inFlight.find(({ number }) => number === batch);
    if (target === undefined) this.#parts.emit({ type: 'reply', id, outcome });
    else target.waiting.push({ id, outcome });
  }

  /** Answers once everything that was admitted so far is committed. */
  answerAfterAll(id: number, outcome: WriteOutcome): void {
    const last = this.gathering.isEmpty ? this.#inFlight.at(-1) : this.gathering;
    this.answerWith(last?.number ?? 0, id, outcome);
  }

  /** Tells something once everything that was admitted so far is committed; not at all if that fails. */
  tellAfterAll(effect: ReplicaEffect): void {
    const last = this.gathering.isEmpty ? this.#inFlight.at(-1) : this.gathering;
    if (last === undefined) this.#parts.emit(effect);
    else last.telling.push(effect);
  }

  /** Starts a commit if one is due. */
  flush(nowMs: number): void {
    const batch = this.gathering;
    if (batch.isEmpty) return;
    if (batch.openedMs === undefined) batch.openedMs = nowMs;
    if (this.#inFlight.length > 0) {
      const { batchWritesMax, flushIntervalMs } = this.#options;
      const waitedMs = nowMs - batch.openedMs;
      const isFull = batch.operationCount >= batchWritesMax || batch.sizeBytes >= gatherBytesMax;
      // A clock that stepped back must not hold a batch: it goes when the commit in flight ends.
      if (!isFull && waitedMs < flushIntervalMs) {
        if (!batch.hasAlarm) this.#parts.emit({ type: 'alarm', inMs: Math.max(flushIntervalMs - waitedMs, 1) });
        batch.hasAlarm = true;
        return;
      }
      if (this.#inFlight.length >= inFlightMax) return;
    }
    const { namespaces, clock, readFloorMs, logId, emit } = this.#parts;
    const operations = sealBatch(batch, {
      lastCommit: this.#sealedCommit,
      trimmedCommit: this.#trimmedCommit,
      logBytes: this.#sealedLogBytes,
      logId,
      hlc: clock.last,
      readFloorMs: readFloorMs(),
      graceMs: this.#options.tombstoneGraceMs,
      historyOf: this.#options.historyOf,
      namespaceOf: (name) => namespaces.get(name)!,
      out: this.#out,
    });
    this.#sealedCommit = batch.lastCommit;
    this.#sealedLogBytes = batch.logBytes;
    // Readers of the log stop short of rows that are about to go.
    this.#trimmedCommit = batch.trimmedCommit ?? this.#trimmedCommit;
    this.#inFlight.push(batch);
    this.gathering = new Batch(++this.#batchNumber);
    emit({ type: 'commit', batch: batch.number, operations, lastCommit: batch.lastCommit });
  }

  /** The oldest batch in flight is committed: readers see it, then its writers are answered, then subscribers told. */
  committed(number: number): void {
    if (this.#inFlight[0]?.number === number) this.#take(this.#inFlight.shift()!);
  }

  #take(batch: Batch): void {
    const { states, answers, emit } = this.#parts;
    states.commit(batch);
    for (const [namespace, stats] of batch.namespaces) namespace.committed = stats;
    for (const namespace of batch.joined) namespace.joins++;
    for (const record of batch.records)
      this.#parts.namespaces.get(record.namespace)!.heads.set(record.source, record.seq);
    for (const [namespace, seqs] of batch.advanced)
      for (const [source, seq] of seqs) moveHead(namespace.heads, source, seq);
    for (const namespace of batch.namespaces.keys()) namespace.ahead.caughtUp(namespace.heads);
    for (const { namespace, source, seq } of batch.released) this.#parts.quarantine.release(namespace, source, seq);
    for (const offer of batch.offered) this.#parts.offered.commit(offer);
    for (const requestKey of batch.answers.keys()) answers.settle(requestKey);
    this.#appliedCommit = batch.lastCommit;
    this.#logBytes = batch.logBytes;
    this.#committedTrim = batch.trimmedCommit ?? this.#committedTrim;
    for (const effect of batch.telling) emit(effect);
    for (const { id, outcome } of batch.waiting) emit({ type: 'reply', id, outcome });
    if (batch.cells.size > 0 || batch.records.length > 0)
      emit({
        type: 'applied',
        commits: batch.commits(),
        cells: batch.cells,
        joined: [...batch.joined].map(({ name }) => name),
      });
  }

  /** Every commit up to `number` is on disk. */
  durable(number: number): void {
    const commit = Math.min(number, this.#appliedCommit);
    if (commit <= this.#durableCommit) return;
    this.#durableCommit = commit;
    this.#parts.emit({ type: 'durable', commit });
  }

  /** Takes rows out of the log with the next batch. Only what is applied can be trimmed, and only further. */
  trim(commit: number, bytes: number, rows: readonly KvOperation<DataFamily>[]): void {
    const { gathering } = this;
    if (commit > this.#appliedCommit || commit <= (gathering.trimmedCommit ?? this.#trimmedCommit)) return;
    gathering.trimmedCommit = commit;
    gathering.trimmedBytes += bytes;
    for (const row of rows) gathering.trimmedRows.push(row);
    gathering.mustCommit = true;
  }

  isInFlight(number: number): boolean {
    return this.#inFlight.some((batch) => batch.number === number);
  }

  /** Everything admitted and not committed is undone: it was judged against what failed. */
  failAll(failure: Failure): void {
    const { states, namespaces, answers, emit } = this.#parts;
    for (const batch of [...this.#inFlight, this.gathering]) {
      for (const requestKey of batch.answers.keys()) answers.forget(requestKey);
      for (const { namespace, source, seq } of batch.held) this.#parts.quarantine.release(namespace, source, seq);
      for (const { id } of batch.waiting) emit({ type: 'reply', id, outcome: { ok: false, failure } });
    }
    // Their writers have been answered; should the store turn out to hold one, readers are still to see it.
    for (const batch of this.#inFlight) batch.waiting.length = 0;
    this.#doubtful = this.#inFlight.splice(0);
    this.gathering = new Batch(++this.#batchNumber);
    states.rollBack();
    this.#rollBack();
    for (const namespace of namespaces) namespace.rollBack();
    this.#parts.offered.rollBack();
  }

  /**
   * Goes on from what the store holds after a failure. Batches that failed and are there after all are seen by readers
   * and told to subscribers like any other; nothing that readers saw before may be missing.
   */
  adopt(recovered: Recovered | undefined): void {
    const doubtful = this.#doubtful;
    this.#doubtful = [];
    const { states, namespaces, answers, emit } = this.#parts;
    if (recovered === undefined) {
      states.unveil();
      return;
    }
    states.clear();
    for (const batch of doubtful) {
      if (batch.records.length > 0 && batch.lastCommit <= recovered.lastCommit) this.#take(batch);
      // Whether states came in without a record cannot be told: their followers look again.
      else if (batch.joined.size > 0) {
        for (const namespace of batch.joined) namespace.joins++;
        emit({ type: 'applied', commits: [], cells: new Map(), joined: [...batch.joined].map(({ name }) => name) });
      }
    }
    this.#parts.quarantine.adopt(recovered.held);
    this.#parts.offered.adopt(recovered);
    for (const [name, each] of recovered.namespaces) namespaces.adopt(name, each);
    for (const [requestKey, answer] of recovered.answers) answers.restore(requestKey, answer);
    this.#appliedCommit = recovered.lastCommit;
    this.#committedTrim = recovered.trimmedCommit;
    this.#logBytes = recovered.logBytes;
    this.#rollBack();
  }

  #rollBack(): void {
    this.#sealedCommit = this.#appliedCommit;
    this.#sealedLogBytes = this.#logBytes;
    this.#trimmedCommit = this.#committedTrim;
  }
}
