import { admit, isRefused } from '../admission.ts';
import { BatchRecord, operationBytes } from '../batch.ts';
import { Cell } from '../cell.ts';
import { compareDots, type Dot, placesMax, type Source } from '../dot.ts';
import { isFolded } from '../fold.ts';
import { afterHlc, compareHlc, type Hlc } from '../hlc.ts';
import { isCausal, join, standsFor, stateOf } from '../join.ts';
import { Namespace } from '../namespaces.ts';
import type { Quarantine } from '../quarantine.ts';
import type { Operation } from '../record.ts';
import { recordBytesMax } from '../record-codec.ts';
import { latestOf } from '../resolve.ts';
import type { Context } from '../state.ts';
import type { Failure, Write, WriteDone, WriteOutcome, WriteRefused, WriteRequest, WriteResult } from '../write.ts';
import { isWhole } from './joined.ts';
import type { DeskParts } from './parts.ts';
import { Done } from './written.ts';

/** Coalesced writes fill a record up to here; a transaction may go up to `recordBytesMax`. */
const recordFillBytes = 256 * 1024;
const recordFillOperations = 1024;

/** What became of writes that stand or fall together. */
export interface Answer {
  readonly results: readonly WriteResult[];
  readonly failure?: Failure;
  /** The batch whose commit the answer waits for; 0: none. */
  readonly batch: number;
  /** Whether it was written now, rather than refused or remembered. */
  readonly isNew?: boolean;
}

/**
 * Where clients' writes are admitted, each judged against the latest cells, pending ones included. Every key of a request
 * is at hand.
 */
export class LocalWrites {
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  /** Admits a client's request; its answer is emitted or left with the batch it waits for. */
  request(id: number, request: WriteRequest, nowMs: number): void {
    const { answers, pipeline } = this.#parts;
    const results: WriteResult[] = [];
    let batch = 0;
    let failure: Failure | undefined;
    const groups = request.atomic ? [request.writes] : request.writes.map((write) => [write]);
    for (const writes of groups) {
      const { requestKey, fingerprint = '' } = request.atomic ? request : writes[0]!;
      const answer = this.#repeat(requestKey, fingerprint, writes) ?? this.group(writes, nowMs);
      batch = Math.max(batch, answer.batch);
      failure = answer.failure ?? failure;
      for (const result of answer.results) results.push(result);
      if (answer.isNew && requestKey !== undefined) {
        const done = answer.results as readonly WriteDone[];
        const row = answers.remember(requestKey, fingerprint, done, answer.batch, nowMs);
        pipeline.gathering.answers.set(requestKey, row);
      }
    }
    const outcome: WriteOutcome = failure === undefined ? { ok: true, results } : { ok: false, failure };
    pipeline.answerWith(batch, id, outcome);
  }

  #repeat(requestKey: string | undefined, fingerprint: string, writes: readonly Write[]): Answer | undefined {
    const held = requestKey === undefined ? undefined : this.#parts.answers.get(requestKey);
    if (held === undefined) return undefined;
    if (held.fingerprint === fingerprint) return { results: held.results, batch: held.batch };
    return fail(writes, {
      reason: 'invalid_params',
      message: 'this `request_id` was used for another request in the last ten minutes',
      details: { field: 'request_id' },
    });
  }

  /** Admits writes of one namespace that stand or fall together. */
  group(writes: readonly Write[], nowMs: number): Answer {
    const { states, namespaces, pipeline } = this.#parts;
    const name = writes[0]!.namespace;
    const namespace = namespaces.open(name);
    if (!(namespace instanceof Namespace)) return fail(writes, namespace);
    const open = pipeline.gathering.open.get(name);
    let floor: Hlc | undefined;
    let bytes = 0;
    for (const write of writes) {
      bytes += writeBytes(write);
      const damage = states.damageOf(write.key);
      if (damage !== undefined) return fail(writes, damage);
      const { state } = states.latest(write.key);
      if (state === undefined) continue;
      // The last write of the key is in the open record, so its time already exceeds everything before it.
      const latest = open !== undefined && states.pending(write.key)?.record === open ? open : latestOf(state);
      const order = floor === undefined ? 1 : compareHlc(latest, floor);
      // Of another key's time, equal to the open record's, only a later record is known to be behind.
      if (order > 0 || (order === 0 && floor === open)) floor = latest;
    }
    if (bytes > recordBytesMax)
      return fail(writes, {
        reason: 'too_large',
        message: `the transaction may take ${bytes} bytes, more than the ${recordBytesMax} of a record; split it`,
        details: { max_bytes: recordBytesMax },
      });
    const record = this.openRecord(namespace, floor, writes.length, bytes, nowMs);
    return writes.length === 1
      ? this.one(writes[0]!, namespace, record, nowMs)
      : this.#transaction(writes, namespace, record, nowMs);
  }

  /** Admits a write into a record that has room for it and whose time exceeds the key's. */
  one(write: Write, namespace: Namespace, record: BatchRecord, nowMs: number): Answer {
    const { states, pipeline } = this.#parts;
    const cell = states.latest(write.key);
    const operation = admit(write, cell, this.#site(namespace, record, nowMs));
    // Judged by a write that may not be durable yet: answered only when that one is.
    if (isRefused(operation)) return { results: [operation], batch: states.pending(write.key)?.batch ?? 0 };
    const after = this.apply(namespace, record, operation, cell);
    return {
      results: [this.#done(record, operation, cell, after, nowMs)],
      batch: pipeline.gathering.number,
      isNew: true,
    };
  }

  #transaction(writes: readonly Write[], namespace: Namespace, record: BatchRecord, nowMs: number): Answer {
    const { states, pipeline } = this.#parts;
    // First as a draft: a transaction that fails leaves no trace.
    const draft = new Map<string, Cell>();
    const operations: Operation[] = [...record.operations];
    const site = this.#site(namespace, record, nowMs);
    let batch = 0;
    for (const write of writes) {
      batch = Math.max(batch, states.pending(write.key)?.batch ?? 0);
      const cell = draft.get(write.key) ?? states.latest(write.key);
      const operation = admit(write, cell, site);
      if (isRefused(operation)) return { ...fail(writes, { ...operation, refused: operation }), batch };
      const { source, seq, ms, count } = record;
      operations.push(operation);
      const small = stateOf(
        { namespace: namespace.name, source, seq, ms, count, operations },
        operations.length - 1,
        isCausal(operation),
      );
      draft.set(write.key, new Cell(join(cell.state, small), cell.revision + 1, namespace.strategy));
    }
    const results = operations.slice(-writes.length).map((operation) => {
      const before = states.latest(operation.key);
      const after = this.apply(namespace, record, operation, before);
      return this.#done(record, operation, before, after, nowMs);
    });
    return { results, batch: pipeline.gathering.number, isNew: true };
  }

  #done(record: BatchRecord, operation: Operation, before: Cell, after: Cell, nowMs: number): Done {
    // A put that finds something keeps when that was created, which is nearly always earlier: seldom is a look needed.
    const isCreated =
      operation.op === 'put' &&
      operation.createdMs === record.ms &&
      before.seenAt(this.#parts.readMs(nowMs)) === undefined;
    return new Done(this.#parts.origin, record, operation, after, isCreated);
  }

  #site(namespace: Namespace, record: BatchRecord, nowMs: number) {
    const { strategy, floor } = namespace;
    const seen = () => seenBy(namespace, record, this.#parts.quarantine);
    const folds = namespace.folds();
    return { strategy, floor, seen, folds, source: record.source, nowMs: this.#parts.readMs(nowMs), ms: record.ms };
  }

  /** A record of this instance with room, whose hybrid time exceeds `floor`; that may be the open record, which goes on. */
  openRecord(namespace: Namespace, floor: Hlc | undefined, count: number, bytes: number, nowMs: number): BatchRecord {
    const { clock, pipeline } = this.#parts;
    const { open } = pipeline.gathering;
    const current = open.get(namespace.name);
    // A record ahead of the clock, for a key that is, must not take other keys along.
    const isAhead = current !== undefined && compareHlc(current, clock.last) > 0;
    const needsAhead = floor !== undefined && compareHlc(floor, clock.last) > 0;
    const isBehind =
      floor === undefined || floor === current || (current !== undefined && compareHlc(current, floor) > 0);
    if (current !== undefined && isAhead === needsAhead && isBehind) {
      const { operations, sizeBytes } = current;
      if (
        operations.length === 0 ||
        (operations.length + count <= recordFillOperations && sizeBytes + bytes <= recordFillBytes)
      )
        return current;
    }
    pipeline.gathering.sealRecord(namespace.name);
    let hlc = clock.tick(nowMs);
    if (floor !== undefined && compareHlc(floor, hlc) >= 0) {
      hlc = afterHlc(floor);
      clock.witness(hlc, nowMs);
    }
    const source = this.#parts.source(namespace);
    const record = new BatchRecord(namespace.name, source, (namespace.admitted.get(source) ?? 0) + 1, hlc);
    open.set(namespace.name, record);
    return record;
  }

  /** Logs an operation of ours and joins it into its key. */
  apply(namespace: Namespace, record: BatchRecord, operation: Operation, before: Cell): Cell {
    const { states, pipeline } = this.#parts;
    const batch = pipeline.gathering;
    record.operations.push(operation);
    const state = join(before.state, stateOf(record, record.operations.length - 1, isCausal(operation)));
    const after = new Cell(state, before.revision + 1, namespace.strategy);
    record.changes.push({
      key: operation.key,
      effect: isWhole(state) ? 'whole' : 'merged',
      cell: after,
      superseded: undefined,
    });
    const bytes = operationBytes(operation);
    record.sizeBytes += bytes;
    batch.sizeBytes += bytes;
    batch.operationCount++;
    namespace.admitted.set(record.source, record.seq);
    if (before.state !== undefined && namespace.strategy.kind !== 'counter')
      batch.replaced.push({ namespace, key: operation.key, cell: before, atMs: record.ms });
    states.put(batch, namespace, operation.key, before, after, record);
    return after;
  }
}

/** Everything that was applied in a namespace before a record, as a context; nothing where nothing was ever purged. */
export function seenBy(namespace: Namespace, record: BatchRecord, quarantine: Quarantine): Context {
  if (namespace.floor === 0) return [];
  const seen: Dot[] = [];
  // A folded entry tells of all its sources or of none.
  const seenUpTo = (source: Source, head: number) => {
    if (!isFolded(head)) return quarantine.firstOf(namespace.name, source) - 1;
    return quarantine.runs(namespace.name).some((run) => standsFor({ source }, run.source)) ? 0 : head;
  };
  for (const [source, head] of namespace.admitted) {
    const bound = source === record.source ? Math.min(head, record.seq - 1) : head;
    // What is held back is not seen; and nothing behind it is forgotten here.
    const seq = Math.min(bound, seenUpTo(source, head));
    if (seq > 0) seen.push({ source, seq, idx: placesMax });
  }
  return seen.sort(compareDots);
}

/** The same failure for writes that stand or fall together: each one's, or the transaction's. */
function fail(writes: readonly Write[], failure: Failure): Answer {
  if (writes.length > 1) return { results: [], failure, batch: 0 };
  const { reason, message, details } = failure;
  const refused: WriteRefused = { ok: false, key: writes[0]!.key, reason, message, ...(details && { details }) };
  return { results: [refused], batch: 0 };
}

/** Upper bound of what a write takes in a record. */
export function writeBytes(write: Write): number {
  let bytes = 96 + write.key.length * 3;
  if (write.op === 'put') bytes += write.json !== undefined ? write.json.length * 3 : (write.bytes?.length ?? 0);
  else if (write.op === 'set-add' || write.op === 'set-remove')
    for (const member of write.members) bytes += member.length * 3 + 40;
  return bytes;
}
