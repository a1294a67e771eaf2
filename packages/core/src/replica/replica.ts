import type { Ahead } from './ahead.ts';
import { Answers } from './answers.ts';
import { type Arrival, Arrivals, arrivalsOf, type Takeable, targetsOf } from './arrivals.ts';
import { absentCell, type Cell, decodeCell } from './cell.ts';
import { Desk } from './desk/index.ts';
import type { Dot, Source, Sources } from './dot.ts';
import type { LoadedRow, ReplicaEffect, ReplicaEvent, Rng } from './events.ts';
import { covers } from './exchange/vectors.ts';
import { type EpochTimes, foldable, headOf } from './fold.ts';
import { HybridClock } from './hlc.ts';
import { namespaceOf } from './key.ts';
import { type Namespace, type NamespaceStats, Namespaces } from './namespaces.ts';
import { OfferProgress, type OffersMade } from './offer.ts';
import { OwnSources } from './own-sources.ts';
import { PendingReads } from './pending-reads.ts';
import { Pipeline, type PipelineOptions } from './pipeline.ts';
import { type HeldRun, Quarantine } from './quarantine.ts';
import type { LogRecord } from './record.ts';
import type { Recovered } from './recovery.ts';
import type { Head, Strategy } from './state.ts';
import { States } from './states.ts';
import { commitTag, formatToken, parseToken, type Token } from './token.ts';
import type { Failure, WriteOutcome, WriteRequest } from './write.ts';

/** Settings of a replica. All are required: defaults are the configuration's. */
export interface ReplicaOptions extends PipelineOptions {
  /** 64 random bits of the instance, 16 hexadecimal digits. */
  readonly origin: string;
  /** The conflict strategy of a namespace; does not change while the replica lives. */
  readonly strategyOf: (namespace: string) => Strategy;
  /** Versions kept of a key, the newest included. */
  readonly historyOf: (namespace: string) => number;
  /** Writes that gather behind a commit before another is started beside it. */
  readonly batchWritesMax: number;
  /** Time that writes gather behind a commit before another is started beside it. */
  readonly flushIntervalMs: number;
  /** Records further ahead of the wall clock than this are held back. */
  readonly quarantineAheadMs: number;
  /** Least time that a deletion is remembered. */
  readonly tombstoneGraceMs: number;
  /** The wall clock at the start: epochs are drawn from it. */
  readonly startedMs: number;
  readonly epochTimes: EpochTimes;
  /** Memory for committed cells. */
  readonly cacheBytesMax: number;
  /** Bytes of requests that may wait for admission; more are refused. */
  readonly queueBytesMax: number;
  /** Whether every member of the cluster is known to hold a write; absent: this instance is alone, and all are. */
  readonly isStable?: (namespace: string, dot: Dot) => boolean;
  /** Latest time of what any member, this instance too, has said to have purged, 0 for none; absent: it is alone. */
  readonly purgedMs?: (namespace: string) => number;
}

/** A namespace as `stats` tells it. */
export interface NamespaceReport extends NamespaceStats {
  readonly name: string;
  readonly strategy: Strategy;
  /** Why it can be neither read nor written, where it cannot. */
  readonly problem: Failure | undefined;
  /** By source: the record up to which all are applied. */
  readonly heads: ReadonlyMap<Source, number>;
}

const nothing: readonly ReplicaEffect[] = [];
const noHeads: ReadonlyMap<Source, number> = new Map();
/** How far the readers' clock may run ahead of its stored floor. */
const readFloorSlackMs = 10_000;
const answersForgottenPerTick = 1_000;

/**
 * The facts of one instance as a deterministic state machine: no clock, socket, disk or promise. Equal events, times and
 * random numbers give equal effects, on a node and in the simulator (design 0004).
 *
 * Readers (`peek`, `fetch`) see what is committed, and nothing that is pending.
 */
export class Replica {
  readonly origin: string;
  readonly sources: Sources;
  readonly #options: ReplicaOptions;
  readonly #namespaces: Namespaces;
  readonly #clock: HybridClock;
  readonly #quarantine: Quarantine;
  readonly #offered: OfferProgress;
  readonly #states: States;
  readonly #answers = new Answers();
  readonly #pipeline: Pipeline;
  readonly #desk: Desk;
  readonly #arrivals = new Arrivals();
  readonly #reads: PendingReads;
  readonly #own: OwnSources;
  /** What the step under way was given. */
  #nowMs: number;
  #rng: Rng;
  readonly #logId: number;
  #fence: Failure | undefined;
  #readFloorMs: number;
  #storedReadFloorMs: number;
  #effects: ReplicaEffect[] = [];

  /** @param recovered what the store held, read by `readMetadata` with the same `sources` */
  constructor(options: ReplicaOptions, sources: Sources, recovered: Recovered, rng: Rng) {
    this.origin = options.origin;
    this.sources = sources;
    this.#options = options;
    this.#clock = new HybridClock(recovered.hlc);
    this.#quarantine = new Quarantine(recovered.held);
    this.#offered = new OfferProgress(recovered);
    this.#readFloorMs = this.#storedReadFloorMs = recovered.readFloorMs;
    this.#states = new States(options.cacheBytesMax);
    this.#namespaces = new Namespaces(options.strategyOf);
    for (const [name, each] of recovered.namespaces) this.#namespaces.restore(name, each);
    for (const [requestKey, answer] of recovered.answers) this.#answers.restore(requestKey, answer);
    this.#nowMs = options.startedMs;
    this.#rng = rng;
    const own = { origin: options.origin, sources, times: options.epochTimes, namespaces: this.#namespaces };
    this.#own = new OwnSources(own, options.startedMs, rng);
    this.#logId = recovered.logId ?? this.#own.current.epoch;
    const emit = (effect: ReplicaEffect) => void this.#effects.push(effect);
    this.#reads = new PendingReads(this.#states, emit);
    const parts = {
      origin: options.origin,
      states: this.#states,
      namespaces: this.#namespaces,
      answers: this.#answers,
      clock: this.#clock,
      quarantine: this.#quarantine,
      quarantineAheadMs: options.quarantineAheadMs,
      tombstoneGraceMs: options.tombstoneGraceMs,
      isStable: options.isStable ?? (() => true),
      purgedMs: options.purgedMs ?? (() => 0),
      source: (namespace: Namespace) => this.#own.for(namespace, this.#nowMs, this.#rng),
      offersSource: () => this.#own.offers(this.#nowMs, this.#rng),
      offered: this.#offered,
      readMs: (nowMs: number) => this.readMs(nowMs),
      logId: this.#logId,
      readFloorMs: () => (this.#storedReadFloorMs = this.#readFloorMs),
      emit,
    };
    this.#pipeline = new Pipeline(options, parts, recovered);
    this.#desk = new Desk({ ...parts, pipeline: this.#pipeline });
  }

  /** Who this instance writes as, until it starts again. */
  get source(): Source {
    return this.#own.current;
  }

  /** Number of the last commit that readers see. */
  get appliedCommit(): number {
    return this.#pipeline.appliedCommit;
  }

  /** Number of the last commit that is on disk for certain. */
  get durableCommit(): number {
    return this.#pipeline.durableCommit;
  }

  /** Commits up to this number are no longer in the log. */
  get trimmedCommit(): number {
    return this.#pipeline.trimmedCommit;
  }

  /** Bytes of the records in the log. */
  get logBytes(): number {
    return this.#pipeline.logBytes;
  }

  /** Records that are held back because their time lies far ahead. */
  heldBack(namespace?: string): readonly HeldRun[] {
    return this.#quarantine.runs(namespace);
  }

  /** Whether a record is held back for its time. */
  isHeldBack(namespace: string, source: Source, seq: number): boolean {
    return this.#quarantine.has(namespace, source, seq);
  }

  /** How many records are held back. */
  get heldBackCount(): number {
    return this.#quarantine.count;
  }

  /** How far records of earlier sources of this instance are offered again, durably. */
  get offersMade(): OffersMade {
    return this.#offered.made;
  }

  /** Why writes are refused, while they are. */
  get fence(): Failure | undefined {
    return this.#fence;
  }

  /** What readers see of a key, if it is in memory; else ask with `fetch`. */
  peek(key: string): Cell | undefined {
    return this.#states.peek(key);
  }

  /**
   * Committed cells of keys that are being written: what a reader of the store must take instead of their rows. Undefined
   * where the row is damaged and what mends it is on its way: it shows nothing that was committed.
   */
  uncommitted(): ReadonlyMap<string, Cell | undefined> {
    return this.#states.uncommitted();
  }

  /** The readers' clock: the wall clock, but never behind hybrid time or itself. */
  readMs(nowMs: number): number {
    this.#readFloorMs = Math.max(this.#readFloorMs, nowMs, this.#clock.last.ms);
    return this.#readFloorMs;
  }

  strategyOf(namespace: string): Strategy {
    return this.#namespaces.strategyOf(namespace);
  }

  /** By source: the record up to which all of a namespace are applied. */
  headsOf(namespace: string): ReadonlyMap<Source, number> {
    return this.#namespaces.get(namespace)?.heads ?? noHeads;
  }

  /** What the states of a namespace show beyond its vector; undefined where that covers all. */
  aheadOf(namespace: string): Ahead | undefined {
    const ahead = this.#namespaces.get(namespace)?.ahead;
    return ahead === undefined || ahead.isEmpty ? undefined : ahead;
  }

  /** Highest version that was ever purged in a namespace. */
  floorOf(namespace: string): number {
    return this.#namespaces.get(namespace)?.floor ?? 0;
  }

  /** Latest hybrid milliseconds of what was purged from a namespace. */
  purgedMsOf(namespace: string): number {
    return this.#namespaces.get(namespace)?.purgedMs ?? 0;
  }

  /**
   * First commit behind the states that last came into a namespace without records, whether or not there is one yet: the
   * log does not tell what changed before it.
   */
  joinedCommit(namespace: string): number {
    return this.#namespaces.get(namespace)?.joined ?? 0;
  }

  /** Tells which states have come in behind a commit; undefined where none have. Means nothing after a restart. */
  joinedTag(namespace: string, commit: number): string | undefined {
    const known = this.#namespaces.get(namespace);
    if (known === undefined || commit >= known.joined) return undefined;
    return this.commitTag({ source: this.source, seq: known.joins });
  }

  /** Why a namespace cannot be read, where it cannot. */
  problemOf(namespace: string): Failure | undefined {
    return this.#namespaces.get(namespace)?.problem;
  }

  /**
   * Whether readers here see the record that a token names, and all that was told with it. Undefined for a text that is
   * not a token.
   */
  hasSeen(tokenText: string): boolean | undefined {
    const token = this.parseToken(tokenText);
    return token && this.reaches(token);
  }

  /** Whether the record that a token names is held here, and readers see all that was told with it. */
  reaches({ namespace, source, seq, vector }: Token): boolean {
    if (headOf(this.headsOf(namespace), source) < seq) return false;
    return vector === undefined || covers(this.visibleHeads(namespace), vector);
  }

  parseToken(text: string): Token | undefined {
    return parseToken(text, this.sources);
  }

  /** Which log this is: another directory, or this one emptied, has another. Undefined before the first commit. */
  get logId(): number | undefined {
    return this.appliedCommit === 0 ? undefined : this.#logId;
  }

  /** Tells the commit of a record here from others of its number. */
  commitTag(record: Pick<Dot, 'source' | 'seq'>): string {
    return commitTag(record, this.#logId);
  }

  /**
   * The token of a record, as of a commit of this instance after which a subscription goes on.
   * @param isPartial events of that commit are outstanding
   */
  tokenOf({ namespace, source, seq }: LogRecord, commit: number, isPartial = false): string {
    const tag = this.commitTag({ source, seq });
    return formatToken({ namespace, source, seq, instance: this.origin, commit, tag, isPartial });
  }

  /**
   * A token that says nothing of freshness but where a subscription goes on: after `commit`, which has this tag.
   * @param vector `visibleHeads` as of that commit: lets other instances go on from it too
   * @param joined `joinedTag` as of that moment: states that came in behind the commit were told too
   */
  bookmark(
    namespace: string,
    commit: number,
    tag: string,
    vector?: ReadonlyMap<Source, number>,
    joined?: string,
  ): string {
    const place = { commit, tag: joined ?? tag, isPartial: joined !== undefined };
    return formatToken({ namespace, source: this.source, seq: 0, instance: this.origin, vector, ...place });
  }

  /**
   * Whether a row of a namespace is known to be damaged: what is written to it meanwhile is left out here, and comes with
   * what mends it.
   */
  hasDamage(namespace: string): boolean {
    return this.#states.hasDamage(namespace);
  }

  /** By source: the record up to which readers see all of a namespace. Records that are held back are not among them. */
  visibleHeads(namespace: string): ReadonlyMap<Source, number> {
    const visible = new Map<Source, number>();
    for (const [source, head] of this.headsOf(namespace))
      visible.set(source, Math.min(head, this.#quarantine.firstOf(namespace, source) - 1));
    return visible;
  }

  report(): NamespaceReport[] {
    return this.#namespaces.names().map((name) => {
      const { strategy, problem, heads, committed } = this.#namespaces.get(name)!;
      return { name, strategy, problem, heads, ...committed };
    });
  }

  /** How much waits where, for operators. */
  pressure(): {
    readonly queued: number;
    readonly queuedBytes: number;
    readonly commitsInFlight: number;
    readonly cacheBytes: number;
  } {
    return {
      queued: this.#arrivals.count,
      queuedBytes: this.#arrivals.bytes,
      commitsInFlight: this.#pipeline.inFlightCount,
      cacheBytes: this.#states.cacheBytes,
    };
  }

  /**
   * Takes in one event.
   * @param nowMs the wall clock; may step back
   * @returns what is to be done, in order
   */
  step(event: ReplicaEvent, nowMs: number, rng: Rng): readonly ReplicaEffect[] {
    this.#nowMs = nowMs;
    this.#rng = rng;
    switch (event.type) {
      case 'submit':
        this.#submit(event.id, event.request, nowMs);
        break;
      case 'fetch':
        this.#reads.ask(event.id, event.keys);
        break;
      case 'loaded':
        this.#loaded(event.load, event.rows);
        this.#drain(nowMs);
        break;
      case 'load-failed':
        this.#loadFailed(event.load, event.failure);
        break;
      case 'committed':
        this.#pipeline.committed(event.batch);
        break;
      case 'failed':
        if (event.batch === undefined || this.#pipeline.isInFlight(event.batch)) this.#failAll(event.failure);
        break;
      case 'durable':
        this.#pipeline.durable(event.commit);
        break;
      case 'records':
      case 'states':
      case 'advance':
      case 'hold':
      case 'release':
      case 'reject':
      case 'offer':
      case 'purge':
        this.#take(event, nowMs);
        break;
      case 'trim':
        if (this.#fence === undefined) this.#pipeline.trim(event.commit, event.bytes, event.rows);
        break;
      case 'reopen':
        this.#fence = undefined;
        this.#pipeline.adopt(event.recovered);
        this.#own.renew(nowMs, rng);
        break;
      case 'tick':
        this.#tick(nowMs);
        break;
    }
    this.#pipeline.flush(nowMs);
    const load = this.#states.loads.start();
    if (load !== undefined) this.#effects.push(load);
    if (this.#effects.length === 0) return nothing;
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** Whether a source is one of this instance's earlier ones: nothing more is written under it. */
  isPast(source: Source): boolean {
    return this.#own.isPast(source);
  }

  /** Whether a source is an earlier one of this instance, and nothing can turn up any more that was written under it. */
  isClosed(source: Source, nowMs: number): boolean {
    return this.#own.isClosed(source, nowMs);
  }

  /** What this instance's closed epochs fold to in a namespace, if nobody else holds it; undefined for nothing. */
  foldableAlone(namespace: string): Head | undefined {
    return foldable(
      this.headsOf(namespace),
      this.origin,
      (source) => this.isPast(source),
      () => true,
    );
  }

  #submit(id: number, request: WriteRequest, nowMs: number): void {
    const failure = this.#fence ?? this.#overflow(request);
    if (failure === undefined) this.#arrive([{ kind: 'submit', id, request }], nowMs);
    else this.#refuse(id, failure);
  }

  #overflow(request: WriteRequest): Failure | undefined {
    const { bytes } = this.#arrivals;
    if (bytes === 0 || bytes + request.sizeBytes <= this.#options.queueBytesMax) return undefined;
    return {
      reason: 'unavailable',
      message: 'more writes wait for the store than may wait; try again shortly',
      details: { queued_bytes: bytes },
    };
  }

  /** What comes from elsewhere, or from housekeeping. Without an id nobody waits for an answer: it comes again. */
  #take(event: Takeable, nowMs: number): void {
    if (this.#fence === undefined) {
      // Drawn as offers come, not as they are admitted: equal events give equal sources.
      if (event.type === 'offer') this.#own.offers(nowMs, this.#rng);
      this.#arrive(arrivalsOf(event), nowMs);
    } else if ('id' in event) this.#refuse(event.id, this.#fence);
  }

  #refuse(id: number, failure: Failure): void {
    this.#effects.push({ type: 'reply', id, outcome: { ok: false, failure } });
  }

  #arrive(arrivals: readonly Arrival[], nowMs: number): void {
    const isIdle = this.#arrivals.count === 0;
    for (const arrival of arrivals) {
      this.#arrivals.push(arrival);
      // Behind one that waits only the look-ahead is done: its cold rows join the next load.
      if (!isIdle) this.#isReady(arrival);
    }
    if (isIdle) this.#drain(nowMs);
  }

  /** Admits arrivals in order, up to the first that needs a cold row; those behind it have theirs asked for too. */
  #drain(nowMs: number): void {
    for (let arrival = this.#arrivals.next; arrival !== undefined; arrival = this.#arrivals.next) {
      if (!this.#isReady(arrival)) return;
      this.#arrivals.shift();
      if (arrival.kind === 'submit') this.#desk.local.request(arrival.id, arrival.request, nowMs);
      else if (arrival.kind === 'record') this.#desk.foreign.record(arrival.record, nowMs);
      else if (arrival.kind === 'states') this.#desk.foreign.states(arrival, nowMs);
      else if (arrival.kind === 'advance') this.#desk.foreign.advance(arrival);
      else if (arrival.kind === 'hold') this.#desk.held.holdAll(arrival.id, arrival.namespace, arrival.records, nowMs);
      else if (arrival.kind === 'release') this.#desk.held.release(arrival.record, arrival.isForced, nowMs);
      else if (arrival.kind === 'released') this.#pipeline.answerAfterAll(arrival.id, { ok: true, results: [] });
      else if (arrival.kind === 'offer') {
        const { record, offering } = arrival;
        const verdicts = this.#desk.offers.offer(record, offering, nowMs);
        if (verdicts !== undefined) this.#pipeline.tellAfterAll({ type: 'offered', record, verdicts });
      } else if (arrival.kind === 'offering-end') {
        const { failure } = arrival.offering;
        const outcome: WriteOutcome = failure === undefined ? { ok: true, results: [] } : { ok: false, failure };
        this.#pipeline.answerAfterAll(arrival.id, outcome);
      } else if (arrival.kind === 'reject') this.#desk.held.reject(arrival.id, arrival.record, nowMs);
      else this.#desk.purge(arrival.key, nowMs);
    }
    this.#states.release();
  }

  #isReady(arrival: Arrival): boolean {
    if (arrival.kind === 'purge') return this.#states.isAtHand(arrival.key, false);
    const targets = targetsOf(arrival);
    let isReady = true;
    const hold = targets.length > 1;
    for (const { key } of targets) if (!this.#states.isAtHand(key, hold)) isReady = false;
    return isReady;
  }

  #loaded(load: number, rows: readonly LoadedRow[]): void {
    const keys = this.#states.loads.finish(load);
    const isQueueWaiting = this.#arrivals.count > 0;
    const fresh = new Map<string, Cell>();
    for (const [i, key] of keys.entries()) {
      if (key === undefined) continue;
      const strategy = this.#namespaces.strategyOf(namespaceOf(key));
      const row = rows[i];
      if (row !== undefined && 'reason' in row) {
        this.#damaged(key, row);
        continue;
      }
      try {
        const cell = row === undefined ? absentCell(strategy) : decodeCell(row, this.sources, strategy);
        this.#states.install(key, cell, isQueueWaiting);
        if (!this.#reads.isEmpty) fresh.set(key, cell);
      } catch (error) {
        const message = `the stored row of \`${key}\` does not decode: ${error instanceof Error ? error.message : String(error)}`;
        this.#damaged(key, { reason: 'corrupt', message, details: { key } });
      }
    }
    this.#reads.loaded(fresh);
  }

  #damaged(key: string, failure: Failure): void {
    this.#states.damage(key, failure);
    this.#effects.push({ type: 'damaged', key, failure });
  }

  /** The store could not be read: whoever waits for it is told; later arrivals try again. */
  #loadFailed(load: number, failure: Failure): void {
    if (this.#states.loads.finish(load).length === 0) return;
    this.#reads.fail(failure);
    this.#rejectQueue(failure);
  }

  #failAll(failure: Failure): void {
    this.#fence = failure;
    this.#pipeline.failAll(failure);
    this.#rejectQueue(failure);
  }

  #rejectQueue(failure: Failure): void {
    for (const arrival of this.#arrivals.clear())
      if ('id' in arrival) this.#refuse(arrival.id, { ...failure, state: 'unchanged' });
    this.#states.release();
  }

  #tick(nowMs: number): void {
    if (this.#fence !== undefined) return;
    const due = this.#quarantine.due(nowMs);
    if (due.length > 0) this.#effects.push({ type: 'due', runs: due });
    const { gathering } = this.#pipeline;
    gathering.forgottenAnswers.push(...this.#answers.expire(nowMs, answersForgottenPerTick));
    // Expiry that was seen must stay seen after a restart, even if the wall clock steps back meanwhile.
    if (this.readMs(nowMs) >= this.#storedReadFloorMs + readFloorSlackMs) gathering.mustCommit = true;
  }
}
