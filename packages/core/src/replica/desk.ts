import { admit, isRefused } from './admission.ts';
import type { Answers } from './answers.ts';
import { BatchRecord, operationBytes } from './batch.ts';
import { absentCell, Cell, stateBytes } from './cell.ts';
import { compareDots, type Dot, placesMax, type Source } from './dot.ts';
import type { Change, ReplicaEffect, StateEntry } from './events.ts';
import { headOf, moveHead } from './fold.ts';
import { afterHlc, compareHlc, type Hlc, type HybridClock } from './hlc.ts';
import { purged } from './housekeeping.ts';
import { isCausal, join, stateOf } from './join.ts';
import { namespaceOf } from './key.ts';
import { Namespace, type Namespaces } from './namespaces.ts';
import { type Offered, type Offering, type OfferProgress, offer } from './offer.ts';
import { type ParkedWrite, parkedId, parkedKey, parkedNamespace, parkedWrite } from './parked.ts';
import type { Pipeline } from './pipeline.ts';
import { type Quarantine, quarantineAheadMs } from './quarantine.ts';
import type { LogRecord, Operation } from './record.ts';
import { recordBytesMax } from './record-codec.ts';
import { latestOf, liveDots } from './resolve.ts';
import { type Context, type Head, type KeyState, stateKindOf, strategyText } from './state.ts';
import type { States } from './states.ts';
import { supersededBy } from './superseded.ts';
import { undoing } from './undo.ts';
import type { Failure, Write, WriteDone, WriteOutcome, WriteRefused, WriteRequest, WriteResult } from './write.ts';

/** Coalesced writes fill a record up to here; a transaction may go up to `recordBytesMax`. */
const recordFillBytes = 256 * 1024;
const recordFillOperations = 1024;

/** What admission works on; owned by the replica. */
export interface DeskParts {
  readonly origin: string;
  readonly states: States;
  readonly namespaces: Namespaces;
  readonly answers: Answers;
  readonly clock: HybridClock;
  readonly quarantine: Quarantine;
  readonly pipeline: Pipeline;
  readonly source: () => Source;
  /** Under which writes of earlier sources are offered again. */
  readonly offersSource: () => Source;
  readonly offered: OfferProgress;
  readonly readMs: (nowMs: number) => number;
  readonly tombstoneGraceMs: number;
  /** Whether every member of the cluster is known to hold a write. */
  readonly isStable: (namespace: string, dot: Dot) => boolean;
  readonly emit: (effect: ReplicaEffect) => void;
}

/** What became of writes that stand or fall together. */
interface Answer {
  readonly results: readonly WriteResult[];
  readonly failure?: Failure;
  /** The batch whose commit the answer waits for; 0: none. */
  readonly batch: number;
  /** Whether it was written now, rather than refused or remembered. */
  readonly isNew?: boolean;
}

/**
 * Where writes are admitted, one arrival after the other, each judged against the latest cells, pending ones included.
 * Every key of an arrival is at hand.
 */
export class Desk {
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
      const answer = this.#repeat(requestKey, fingerprint, writes) ?? this.#group(writes, nowMs);
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

  #group(writes: readonly Write[], nowMs: number): Answer {
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
      // The last write of the key is in the open record, so its time already exceeds everything before it.
      if (state === undefined || (open !== undefined && states.pending(write.key)?.record === open)) continue;
      const latest = latestOf(state);
      if (floor === undefined || compareHlc(latest, floor) > 0) floor = latest;
    }
    if (bytes > recordBytesMax)
      return fail(writes, {
        reason: 'too_large',
        message: `the transaction may take ${bytes} bytes, more than the ${recordBytesMax} of a record; split it`,
        details: { max_bytes: recordBytesMax },
      });
    const record = this.#openRecord(namespace, floor, writes.length, bytes, nowMs);
    return writes.length === 1
      ? this.#one(writes[0]!, namespace, record, nowMs)
      : this.#transaction(writes, namespace, record, nowMs);
  }

  #one(write: Write, namespace: Namespace, record: BatchRecord, nowMs: number): Answer {
    const { states, pipeline } = this.#parts;
    const cell = states.latest(write.key);
    const operation = admit(write, cell, this.#site(namespace, record, nowMs));
    // Judged by a write that may not be durable yet: answered only when that one is.
    if (isRefused(operation)) return { results: [operation], batch: states.pending(write.key)?.batch ?? 0 };
    const after = this.#apply(namespace, record, operation, cell);
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
      const after = this.#apply(namespace, record, operation, before);
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

  /** A record of this instance with room, whose hybrid time exceeds `floor`. */
  #openRecord(namespace: Namespace, floor: Hlc | undefined, count: number, bytes: number, nowMs: number): BatchRecord {
    const { clock, pipeline } = this.#parts;
    const { open } = pipeline.gathering;
    const current = open.get(namespace.name);
    // A record ahead of the clock, for a key that is, must not take other keys along.
    const isAhead = current !== undefined && compareHlc(current, clock.last) > 0;
    const needsAhead = floor !== undefined && compareHlc(floor, clock.last) > 0;
    if (current !== undefined && isAhead === needsAhead && (floor === undefined || compareHlc(current, floor) > 0)) {
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
    const source = this.#parts.source();
    const record = new BatchRecord(namespace.name, source, (namespace.admitted.get(source) ?? 0) + 1, hlc);
    open.set(namespace.name, record);
    return record;
  }

  /** Logs an operation of ours and joins it into its key. */
  #apply(namespace: Namespace, record: BatchRecord, operation: Operation, before: Cell): Cell {
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

  /** Joins a record of another source. Known ones are ignored; what is missing before it is reported. */
  record(received: LogRecord, nowMs: number): void {
    const { states, namespaces, clock, pipeline, emit } = this.#parts;
    const namespace = namespaces.open(received.namespace);
    if (!(namespace instanceof Namespace)) {
      emit({ type: 'refused', record: received, failure: namespace });
      return;
    }
    const { source, seq, operations } = received;
    const head = headOf(namespace.admitted, source);
    if (seq <= head) return;
    if (seq > head + 1) {
      emit({ type: 'gap', namespace: namespace.name, source, after: head, before: seq });
      return;
    }
    const failure =
      misfit(received, namespace) ?? operations.map(({ key }) => states.damageOf(key)).find((damage) => damage);
    if (failure !== undefined) {
      emit({ type: 'refused', record: received, failure });
      return;
    }
    const batch = pipeline.gathering;
    batch.sealRecord(namespace.name);
    const record = new BatchRecord(namespace.name, source, seq, received);
    if (this.#isHeldBack(received, nowMs)) {
      for (const operation of operations) {
        record.operations.push(operation);
        const cell = states.latest(operation.key);
        record.changes.push({ key: operation.key, effect: 'none', cell, superseded: undefined });
        record.sizeBytes += operationBytes(operation);
      }
      this.#hold(received, nowMs);
    } else {
      clock.witness(received, nowMs);
      for (const change of this.#join(namespace, received, nowMs)) {
        record.operations.push(change.operation);
        record.changes.push(change);
        record.sizeBytes += operationBytes(change.operation);
      }
    }
    batch.operationCount += operations.length + 1;
    batch.sizeBytes += record.sizeBytes;
    namespace.admitted.set(source, seq);
    batch.records.push(record);
  }

  /** Joins the operations of another source's record into their keys. */
  #join(namespace: Namespace, received: LogRecord, nowMs: number): (Change & { readonly operation: Operation })[] {
    const { states, pipeline, readMs, origin } = this.#parts;
    const batch = pipeline.gathering;
    const { source, seq } = received;
    return received.operations.map((operation, idx) => {
      const { key } = operation;
      const before = states.latest(key);
      const state = join(before.state, stateOf(received, idx, namespace.strategy.kind === 'version-vector'));
      const isIn = liveDots(state).some((dot) => dot.source === source && dot.seq === seq && dot.idx === idx);
      const after =
        state === before.state ? before : new Cell(state, before.revision + Number(isIn), namespace.strategy);
      if (after !== before) {
        if (isIn && before.state !== undefined && namespace.strategy.kind !== 'counter')
          batch.replaced.push({ namespace, key, cell: before, atMs: readMs(nowMs) });
        states.put(batch, namespace, key, before, after, undefined);
      }
      const effect = isIn ? (isWhole(state) ? 'whole' : 'merged') : 'none';
      const superseded = supersededBy(before.state, after.state, operation, namespace.strategy, origin);
      return { key, operation, effect, cell: after, superseded };
    });
  }

  /** Whether a record's time lies too far ahead to be applied now. */
  #isHeldBack(record: LogRecord, nowMs: number): boolean {
    return record.ms > nowMs + quarantineAheadMs && !this.#isExplained(record);
  }

  /** Whether the keys of a record are as far ahead already: a write exceeds the time of all that it overwrites. */
  #isExplained({ ms, operations }: LogRecord): boolean {
    return operations.every(({ key }) => {
      const { state } = this.#parts.states.latest(key);
      return state !== undefined && latestOf(state).ms + quarantineAheadMs >= ms;
    });
  }

  #hold(record: LogRecord, nowMs: number): void {
    const { quarantine, pipeline, emit } = this.#parts;
    if (quarantine.has(record.namespace, record.source, record.seq)) return;
    quarantine.hold(record);
    pipeline.gathering.held.push(record);
    pipeline.gathering.operationCount++;
    emit({ type: 'held', record, aheadMs: record.ms - nowMs });
  }

  /** Holds back records that another member holds back too; the vector is not moved by them. */
  hold(id: number, name: string, records: readonly LogRecord[], nowMs: number): void {
    const { namespaces, pipeline } = this.#parts;
    const namespace = namespaces.open(name);
    if (!(namespace instanceof Namespace)) {
      pipeline.answerWith(0, id, { ok: false, failure: namespace });
      return;
    }
    const failure = records.map((record) => misfit(record, namespace)).find((each) => each !== undefined);
    if (failure === undefined) for (const record of records) this.#hold(record, nowMs);
    const answer: WriteOutcome = failure === undefined ? { ok: true, results: [] } : { ok: false, failure };
    pipeline.answerAfterAll(id, answer);
  }

  /** Applies a record that is held back here, if its time has come, others explain it, or an operator said so. */
  release(record: LogRecord, isForced: boolean, nowMs: number): void {
    const { namespaces, quarantine } = this.#parts;
    const namespace = namespaces.get(record.namespace);
    if (namespace === undefined || !quarantine.has(record.namespace, record.source, record.seq)) return;
    if (isForced || record.ms <= nowMs || this.#isExplained(record)) this.#applyHeld(namespace, record, nowMs);
    else quarantine.postpone(record);
  }

  #applyHeld(namespace: Namespace, record: LogRecord, nowMs: number): void {
    const { clock, pipeline } = this.#parts;
    const batch = pipeline.gathering;
    clock.witness(record, nowMs);
    // Readers see a change that no commit of the log tells of, as when states come in.
    batch.joined.add(namespace);
    batch.released.push(record);
    batch.operationCount += record.operations.length;
    this.#join(namespace, record, nowMs);
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
    this.#applyHeld(namespace, record, nowMs);
    const writes = [...before].flatMap(([key, cell]) =>
      undoing(namespace, key, cell, states.latest(key), readMs(nowMs)),
    );
    const undone: Answer =
      writes.length > 0 ? this.#group(writes, nowMs) : { results: [], batch: pipeline.gathering.number };
    const { results, failure, batch } = undone;
    pipeline.answerWith(batch, id, failure === undefined ? { ok: true, results } : { ok: false, failure });
  }

  /**
   * Writes again what still holds of a record of an earlier source of this instance, and parks what an operator must
   * judge: both in the batch that tells how far the offering has come, so that no crash parts them.
   * @returns undefined where it cannot be offered as things are, which the offering tells; nothing changed then
   */
  offer(old: LogRecord, offering: Offering, nowMs: number): readonly Offered[] | undefined {
    const { states, namespaces, pipeline, offered, offersSource } = this.#parts;
    if (offering.failure !== undefined) return undefined;
    if (offered.isKnown(old)) return [];
    const namespace = namespaces.open(old.namespace);
    offering.failure = namespace instanceof Namespace ? this.#unofferable(old, namespace) : namespace;
    if (!(namespace instanceof Namespace) || offering.failure !== undefined) return undefined;
    const batch = pipeline.gathering;
    batch.sealRecord(old.namespace);
    const source = offersSource();
    const record = new BatchRecord(old.namespace, source, (namespace.admitted.get(source) ?? 0) + 1, old);
    const seen = offered.seenIn(old.namespace);
    const verdicts = old.operations.map((operation, idx) => {
      const cell = states.latest(operation.key);
      const verdict = offer(old, idx, {
        state: cell.state,
        source,
        floor: namespace.floor,
        purgedMs: Math.max(offering.purgedMs, namespace.purgedMs),
        seen,
        before: operation.op === 'add' ? offering.before.get(operation) : undefined,
      });
      if (verdict.operation !== undefined) this.#apply(namespace, record, verdict.operation, cell);
      return verdict;
    });
    const as = record.operations.length > 0 ? record : undefined;
    if (as !== undefined) batch.records.push(as);
    for (const [idx, { parked }] of verdicts.entries())
      if (parked !== undefined) this.#park(parkedWrite(old, idx, parked), nowMs);
    offered.admit({ record: old, as });
    batch.offered.push({ record: old, as });
    batch.operationCount++;
    return verdicts;
  }

  /** Why a record cannot be offered, if it cannot. */
  #unofferable(old: LogRecord, namespace: Namespace): Failure | undefined {
    const { states, namespaces } = this.#parts;
    const keys = old.operations.flatMap(({ key }, idx) => [key, parkedKey(parkedId(old, idx))]);
    const damage = keys.map((key) => states.damageOf(key)).find((each) => each !== undefined);
    return misfit(old, namespace) ?? namespaces.get(parkedNamespace)?.problem ?? damage;
  }

  /** Parks a write. One that was parked before is left: an operator may have decided already. */
  #park(write: ParkedWrite, nowMs: number): void {
    const key = parkedKey(write.id);
    if (this.#parts.states.latest(key).state !== undefined) return;
    const namespace = this.#parts.namespaces.open(parkedNamespace) as Namespace;
    const put = { op: 'put', namespace: parkedNamespace, key, json: JSON.stringify(write) } as const;
    this.#one(put, namespace, this.#openRecord(namespace, undefined, 1, writeBytes(put), nowMs), nowMs);
  }

  /** Joins states that another member holds, damaged rows of ours included: theirs take the place of what is lost. */
  states(id: number, name: string, entries: readonly StateEntry[], rewrite: boolean, nowMs: number): void {
    const { states, namespaces, clock, pipeline } = this.#parts;
    const namespace = namespaces.open(name);
    if (!(namespace instanceof Namespace)) {
      pipeline.answerWith(0, id, { ok: false, failure: namespace });
      return;
    }
    const kind = stateKindOf(namespace.strategy);
    const stranger = entries.find(
      ({ key, state }) => (state !== undefined && state.kind !== kind) || namespaceOf(key) !== name,
    );
    if (stranger !== undefined) {
      const message = `the state of \`${stranger.key}\` does not fit namespace \`${name}\`, which is \`${strategyText(namespace.strategy)}\``;
      pipeline.answerWith(0, id, { ok: false, failure: { reason: 'unavailable', message } });
      return;
    }
    const batch = pipeline.gathering;
    for (const { key, state: theirs } of entries) {
      const isDamaged = states.damageOf(key) !== undefined;
      const before = isDamaged ? absentCell(namespace.strategy) : states.latest(key);
      const state = theirs === undefined ? before.state : join(before.state, theirs);
      if (state === before.state && !(isDamaged || rewrite)) continue;
      states.mend(key);
      batch.joined.add(namespace);
      batch.operationCount++;
      if (theirs !== undefined) clock.witness(latestOf(theirs), nowMs);
      if (state !== undefined) batch.sizeBytes += stateBytes(state);
      const revision = before.revision + Number(state !== before.state);
      states.put(batch, namespace, key, before, new Cell(state, revision, namespace.strategy), undefined);
    }
    // Also where nothing was new: what is pending may hold what these states hold.
    const pending = Math.max(0, ...entries.map(({ key }) => states.pending(key)?.batch ?? 0));
    pipeline.answerWith(pending, id, { ok: true, results: [] });
  }

  /** Moves the vector to where the states that came in reach. */
  advance(id: number, name: string, heads: readonly Head[], floor: number): void {
    const { namespaces, pipeline } = this.#parts;
    const namespace = namespaces.open(name);
    if (!(namespace instanceof Namespace)) {
      pipeline.answerWith(0, id, { ok: false, failure: namespace });
      return;
    }
    const batch = pipeline.gathering;
    batch.sealRecord(name);
    const advanced = batch.advanced.get(namespace) ?? new Map<Source, number>();
    for (const { source, seq } of heads) {
      const folded = moveHead(namespace.admitted, source, seq);
      if (folded === undefined) continue;
      advanced.set(source, seq);
      for (const each of folded) batch.folded.push({ namespace, source: each });
    }
    batch.advanced.set(namespace, advanced);
    namespace.floor = Math.max(namespace.floor, floor);
    batch.operationCount++;
    pipeline.answerWith(batch.number, id, { ok: true, results: [] });
  }

  /** Removes what is dead of a key, if it is, and nothing is being written to it. */
  purge(key: string, nowMs: number): void {
    const { states, namespaces, pipeline, readMs, tombstoneGraceMs } = this.#parts;
    const namespace = namespaces.get(namespaceOf(key));
    if (namespace === undefined || namespace.problem !== undefined) return;
    // What is held back may be older than the deletion that would be forgotten.
    if (this.#parts.quarantine.holdsIn(namespace.name)) return;
    if (states.damageOf(key) !== undefined || states.pending(key) !== undefined) return;
    const before = states.latest(key);
    const rules = {
      nowMs: readMs(nowMs),
      graceMs: tombstoneGraceMs,
      isStable: (dot: Dot) =>
        headOf(namespace.heads, dot.source) >= dot.seq && this.#parts.isStable(namespace.name, dot),
    };
    const after = purged(before, namespace.strategy, rules);
    if (after === before) return;
    // A set that lost old members keeps its version, but the floor must tell that something is forgotten.
    namespace.purgedMs = Math.max(namespace.purgedMs, latestOf(before.state!).ms);
    namespace.floor = Math.max(namespace.floor, after.state === undefined ? (before.view?.version ?? 0) : 1);
    pipeline.gathering.operationCount++;
    states.put(pipeline.gathering, namespace, key, before, after, undefined);
  }
}

/** Everything that was applied in a namespace before a record, as a context; nothing where nothing was ever purged. */
function seenBy(namespace: Namespace, record: BatchRecord, quarantine: Quarantine): Context {
  if (namespace.floor === 0) return [];
  const seen: Dot[] = [];
  for (const [source, head] of namespace.admitted) {
    const bound = source === record.source ? Math.min(head, record.seq - 1) : head;
    // What is held back is not seen; and nothing behind it is forgotten here.
    const seq = Math.min(bound, quarantine.firstOf(namespace.name, source) - 1);
    if (seq > 0) seen.push({ source, seq, idx: placesMax });
  }
  return seen.sort(compareDots);
}

/** A write of ours. Tag and token are made when asked for: by then its batch is sealed. */
class Done implements WriteDone {
  readonly ok = true;
  readonly key: string;
  readonly version: number;
  readonly updatedMs: number;
  readonly cell: Cell;
  readonly isCreated: boolean;
  readonly #origin: string;
  readonly #record: BatchRecord;
  readonly #hasValue: boolean;

  constructor(origin: string, record: BatchRecord, operation: Operation, cell: Cell, isCreated: boolean) {
    this.key = operation.key;
    this.version = operation.version;
    this.updatedMs = record.ms;
    this.cell = cell;
    this.isCreated = isCreated;
    this.#origin = origin;
    this.#record = record;
    this.#hasValue = operation.op === 'add' || operation.op === 'members';
  }

  get etag(): string {
    return this.cell.etag;
  }

  get token(): string {
    return this.#record.token(this.#origin);
  }

  get valueJson(): string | undefined {
    return this.#hasValue ? this.cell.view?.json : undefined;
  }
}

/** The same failure for writes that stand or fall together: each one's, or the transaction's. */
function fail(writes: readonly Write[], failure: Failure): Answer {
  if (writes.length > 1) return { results: [], failure, batch: 0 };
  const { reason, message, details } = failure;
  const refused: WriteRefused = { ok: false, key: writes[0]!.key, reason, message, ...(details && { details }) };
  return { results: [refused], batch: 0 };
}

/** Whether a state is the work of one write alone, so that the write's operation tells it all. */
function isWhole(state: KeyState): boolean {
  return state.kind === 'version' || (state.kind === 'siblings' && state.live.length === 1);
}

const kindsOfOperations = {
  put: ['version', 'siblings'],
  delete: ['version', 'siblings'],
  add: ['counter'],
  reset: ['counter'],
  members: ['members'],
} as const satisfies Record<Operation['op'], readonly KeyState['kind'][]>;

/** Why a record does not fit a namespace, if it does not: it was written under another strategy. */
function misfit(record: LogRecord, { name, strategy }: Namespace): Failure | undefined {
  const kind = stateKindOf(strategy);
  const fits = ({ op, key }: Operation) =>
    (kindsOfOperations[op] as readonly string[]).includes(kind) && namespaceOf(key) === name;
  if (record.operations.every(fits)) return undefined;
  return {
    reason: 'unavailable',
    message: `a record of ${record.source.id} was written under another strategy than \`${strategyText(strategy)}\` of \`${name}\``,
    details: { namespace: name, strategy: strategyText(strategy) },
  };
}

/** Upper bound of what a write takes in a record. */
function writeBytes(write: Write): number {
  let bytes = 96 + write.key.length * 3;
  if (write.op === 'put') bytes += write.json !== undefined ? write.json.length * 3 : (write.bytes?.length ?? 0);
  else if (write.op === 'set-add' || write.op === 'set-remove')
    for (const member of write.members) bytes += member.length * 3 + 40;
  return bytes;
}
