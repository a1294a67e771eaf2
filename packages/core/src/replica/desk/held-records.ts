import { Namespace } from '../namespaces.ts';
import type { LogRecord } from '../record.ts';
import { latestOf } from '../resolve.ts';
import { undoing } from '../undo.ts';
import type { WriteOutcome } from '../write.ts';
import { joinRecord } from './joined.ts';
import type { Answer, LocalWrites } from './local-writes.ts';
import { misfit } from './misfit.ts';
import type { DeskParts } from './parts.ts';

/** Records whose time lies too far ahead (design 0013, far future): held back, and applied, released or rejected later. */
export class HeldRecords {
  readonly #parts: DeskParts;
  readonly #local: LocalWrites;

  constructor(parts: DeskParts, local: LocalWrites) {
    this.#parts = parts;
    this.#local = local;
  }

  /** Whether a record's time lies too far ahead to be applied now. */
  isHeldBack(record: LogRecord, nowMs: number): boolean {
    return record.ms > nowMs + this.#parts.quarantineAheadMs && !this.#isExplained(record);
  }

  /**
   * Whether the keys of a record are as far ahead already: a write exceeds the time of all that it overwrites. Or whether
   * a member has forgotten what reaches as far: if this was among it, a write that had not seen it would stand there.
   */
  #isExplained({ namespace, ms, operations }: LogRecord): boolean {
    const { states, quarantineAheadMs, purgedMs } = this.#parts;
    if (ms <= purgedMs(namespace)) return true;
    return operations.every(({ key }) => {
      if (states.damageOf(key) !== undefined) return false;
      const { state } = states.latest(key);
      return state !== undefined && latestOf(state).ms + quarantineAheadMs >= ms;
    });
  }

  /** Holds a record back; one that is held back already stays as it is. */
  hold(record: LogRecord, nowMs: number): void {
    const { quarantine, pipeline, emit } = this.#parts;
    if (quarantine.has(record.namespace, record.source, record.seq)) return;
    quarantine.hold(record);
    pipeline.gathering.held.push(record);
    pipeline.gathering.operationCount++;
    emit({ type: 'held', record, aheadMs: record.ms - nowMs });
  }

  /** Holds back records that another member holds back too; the vector is not moved by them. */
  holdAll(id: number, name: string, records: readonly LogRecord[], nowMs: number): void {
    const { namespaces, pipeline } = this.#parts;
    const namespace = namespaces.open(name);
    if (!(namespace instanceof Namespace)) {
      pipeline.answerWith(0, id, { ok: false, failure: namespace });
      return;
    }
    const failure = records.map((record) => misfit(record, namespace)).find((each) => each !== undefined);
    if (failure === undefined) for (const record of records) this.hold(record, nowMs);
    const answer: WriteOutcome = failure === undefined ? { ok: true, results: [] } : { ok: false, failure };
    pipeline.answerAfterAll(id, answer);
  }

  /** Applies a record that is held back here, if its time has come, others explain it, or an operator said so. */
  release(record: LogRecord, isForced: boolean, nowMs: number): void {
    const { namespaces, quarantine } = this.#parts;
    const namespace = namespaces.get(record.namespace);
    if (namespace === undefined || !quarantine.has(record.namespace, record.source, record.seq)) return;
    if (isForced || record.ms <= nowMs || this.#isExplained(record)) this.#apply(namespace, record, nowMs);
    else quarantine.postpone(record);
  }

  #apply(namespace: Namespace, record: LogRecord, nowMs: number): void {
    const { clock, pipeline } = this.#parts;
    const batch = pipeline.gathering;
    clock.witness(record, nowMs);
    // Readers see a change that no commit of the log tells of, as when states come in.
    batch.joined.add(namespace);
    batch.released.push(record);
    batch.operationCount += record.operations.length;
    joinRecord(this.#parts, namespace, record, nowMs);
  }

  /** Applies a record that is held back, and overwrites it with what its keys held before: readers never see it. */
  reject(id: number, record: LogRecord, nowMs: number): void {
    const { namespaces, states, quarantine, pipeline, readMs } = this.#parts;
    const namespace = namespaces.get(record.namespace);
    if (namespace === undefined || !quarantine.has(record.namespace, record.source, record.seq)) {
      const message = `no record of ${record.source.id} is held back in \`${record.namespace}\` under number ${record.seq}`;
      pipeline.answerWith(0, id, { ok: false, failure: { reason: 'not_found', message } });
      return;
    }
    const before = new Map(record.operations.map(({ key }) => [key, states.latest(key)]));
    this.#apply(namespace, record, nowMs);
    const writes = [...before].flatMap(([key, cell]) =>
      undoing(namespace, key, cell, states.latest(key), readMs(nowMs)),
    );
    const undone: Answer =
      writes.length > 0 ? this.#local.group(writes, nowMs) : { results: [], batch: pipeline.gathering.number };
    const { results, failure, batch } = undone;
    pipeline.answerWith(batch, id, failure === undefined ? { ok: true, results } : { ok: false, failure });
  }
}
