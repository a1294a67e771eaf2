import { BatchRecord, operationBytes } from '../batch.ts';
import { absentCell, Cell, stateBytes } from '../cell.ts';
import { dotText, type Source } from '../dot.ts';
import type { ReplicaEvent } from '../events.ts';
import { covers } from '../exchange/vectors.ts';
import { headOf, isFolded, moveHead } from '../fold.ts';
import { withoutForgotten } from '../forgotten.ts';
import { join } from '../join.ts';
import { namespaceOf } from '../key.ts';
import { Namespace } from '../namespaces.ts';
import type { LogRecord } from '../record.ts';
import { everyDot, latestOf } from '../resolve.ts';
import { type Head, type KeyState, stateKindOf, strategyText } from '../state.ts';
import type { HeldRecords } from './held-records.ts';
import { joinRecord } from './joined.ts';
import { misfit } from './misfit.ts';
import type { DeskParts } from './parts.ts';

/** States as another member holds them, on their way in. */
type StatesArrival = Omit<Extract<ReplicaEvent, { readonly type: 'states' }>, 'type'>;

type AdvanceArrival = Omit<Extract<ReplicaEvent, { readonly type: 'advance' }>, 'type'>;

/** What other members wrote, as their records or as the states of their keys. */
export class ForeignRecords {
  readonly #parts: DeskParts;
  readonly #held: HeldRecords;

  constructor(parts: DeskParts, held: HeldRecords) {
    this.#parts = parts;
    this.#held = held;
  }

  /**
   * Joins a record of another source. Known ones are ignored; what is missing before it is reported. What it did to a
   * key whose row is damaged comes with the state that mends the row: until then the key is refused.
   */
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
    const failure = misfit(received, namespace);
    if (failure !== undefined) {
      emit({ type: 'refused', record: received, failure });
      return;
    }
    const batch = pipeline.gathering;
    batch.sealRecord(namespace.name);
    const record = new BatchRecord(namespace.name, source, seq, received);
    if (this.#held.isHeldBack(received, nowMs)) {
      for (const operation of operations) {
        record.operations.push(operation);
        const isDamaged = states.damageOf(operation.key) !== undefined;
        const cell = isDamaged ? absentCell(namespace.strategy) : states.latest(operation.key);
        record.changes.push({ key: operation.key, effect: 'none', cell, superseded: undefined });
        record.sizeBytes += operationBytes(operation);
      }
      this.#held.hold(received, nowMs);
    } else {
      clock.witness(received, nowMs);
      for (const change of joinRecord(this.#parts, namespace, received, nowMs)) {
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

  /**
   * Joins states that another member holds, damaged rows of ours included: theirs take the place of what is lost, but
   * for a page of a transfer, which may be older than the row was.
   */
  states(arrival: StatesArrival, nowMs: number): void {
    const { id, namespace: name, entries, rewrite = false, covered, isPage, floor = 0, mending = [] } = arrival;
    const { states, namespaces, clock, pipeline } = this.#parts;
    const namespace = namespaces.open(name);
    if (!(namespace instanceof Namespace)) {
      pipeline.answerWith(0, id, { ok: false, failure: namespace });
      return;
    }
    const message = this.#unjoinable(arrival, namespace);
    if (message !== undefined) {
      pipeline.answerWith(0, id, { ok: false, failure: { reason: 'unavailable', message } });
      return;
    }
    const batch = pipeline.gathering;
    const heads = covered && bySource(covered);
    const given = bySource(covered ?? mending);
    for (const { key, state: shown } of entries) {
      const isDamaged = states.damageOf(key) !== undefined;
      if (isDamaged && isPage) {
        states.setAside(key, { state: shown, heads: given });
        continue;
      }
      const theirs = isDamaged ? states.withAside(key, { state: shown, heads: given }).state : shown;
      const before = isDamaged ? absentCell(namespace.strategy) : states.latest(key);
      const kept = keptOf(namespace, before, theirs, heads);
      const state = theirs === undefined ? kept : join(kept, theirs);
      if (state === before.state && !(isDamaged || rewrite)) continue;
      if (theirs !== undefined) this.#noteAhead(namespace, before, theirs, nowMs);
      namespace.floor = Math.max(namespace.floor, floor);
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

  /** Why states cannot be joined in, if so. */
  #unjoinable({ namespace: name, entries, rewrite, mending = [] }: StatesArrival, { strategy }: Namespace) {
    const kind = stateKindOf(strategy);
    const stranger = entries.find(
      ({ key, state }) => (state !== undefined && state.kind !== kind) || namespaceOf(key) !== name,
    );
    if (stranger !== undefined)
      return `the state of \`${stranger.key}\` does not fit namespace \`${name}\`, which is \`${strategyText(strategy)}\``;
    if (rewrite !== true) return undefined;
    const given = bySource(mending);
    // What was written meanwhile is not in them, and as a record it does not come again.
    const lacking = entries.find(({ key }) => !covers(given, this.#leftOutOf(key)));
    return lacking && `\`${lacking.key}\` was written to while what mends it was on its way`;
  }

  /** What a row would lack that is put in the place of a damaged one, if whoever gives it had not applied it. */
  #leftOutOf(key: string): ReadonlyMap<Source, number> {
    const { states } = this.#parts;
    return (states.damageOf(key) && states.leftOutOf(key)) ?? new Map();
  }

  /** Remembers what a state names that is new here and that the vector does not cover, until it does. */
  #noteAhead(namespace: Namespace, { state }: Cell, theirs: KeyState, nowMs: number): void {
    const { pipeline, origin, readMs } = this.#parts;
    // What is folded everybody holds.
    const beyond = everyDot(theirs).filter(
      ({ source, seq }) => !isFolded(seq) && headOf(namespace.admitted, source) < seq,
    );
    if (beyond.length === 0) return;
    const known = new Set((state === undefined ? [] : everyDot(state)).map(dotText));
    if (beyond.every((dot) => known.has(dotText(dot)))) return;
    // The readers' clock never goes back, so that what came before is never taken for this.
    namespace.ahead.came(origin, readMs(nowMs), beyond);
    pipeline.gathering.ahead.add(namespace);
  }

  /** Moves the vector to where the states that came in reach. */
  advance({ id, namespace: name, heads, floor, ahead }: AdvanceArrival): void {
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
    if (ahead !== undefined) {
      namespace.ahead.add(ahead, namespace.admitted);
      batch.ahead.add(namespace);
    }
    batch.operationCount++;
    pipeline.answerWith(batch.number, id, { ok: true, results: [] });
  }
}

/** What is left of a cell's state beside that of a member with these heads. Remembers that something is forgotten. */
function keptOf(
  namespace: Namespace,
  { state, view }: Cell,
  theirs: KeyState | undefined,
  heads: ReadonlyMap<Source, number> | undefined,
): KeyState | undefined {
  if (state === undefined || heads === undefined) return state;
  const kept = withoutForgotten(state, theirs, (dot) => headOf(heads, dot.source) >= dot.seq);
  if (kept === undefined && theirs === undefined) {
    namespace.purgedMs = Math.max(namespace.purgedMs, latestOf(state).ms);
    namespace.floor = Math.max(namespace.floor, view?.version ?? 0);
  }
  return kept;
}

const bySource = (heads: readonly Head[]) => new Map(heads.map(({ source, seq }) => [source, seq]));
