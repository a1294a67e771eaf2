import {
  Cell,
  type Commit,
  decodeCell,
  decodeRecord,
  type EpochTimes,
  Exchange,
  Fetches,
  type Head,
  type HeldRun,
  Holdings,
  type Interest,
  Leases,
  type LogRecord,
  liveKey,
  Reception,
  Replica,
  type ReplicaEvent,
  readMetadata,
  Sources,
  type Strategy,
  type WriteOutcome,
  type WriteRequest,
} from '../../replica/index.ts';
import { AntiEntropy } from './anti-entropy.ts';
import { Disk } from './disk.ts';
import { Feeds } from './feeds.ts';
import { housekeep } from './housekeeping.ts';
import { MemberFacts } from './member-facts.ts';
import type { Membership } from './membership.ts';
import type { Mutation } from './mutation.ts';
import type { Endpoint, Network } from './network.ts';
import { strategies } from './plan.ts';
import { type Batch, noPlane, type Plane, type Receiver } from './plane.ts';
import { Publisher } from './publisher.ts';
import { Questions } from './questions.ts';
import type { Random } from './random.ts';
import { originPlace, Reports } from './reports.ts';
import type { Scheduler } from './scheduler.ts';
import { StateRepair } from './state-repair.ts';
import { type Applied, StoreDriver } from './store-driver.ts';
import { heldRows, Transfer } from './transfer.ts';

export interface InstanceOptions {
  readonly origin: string;
  readonly member: number;
  readonly interest: Interest;
  readonly membership: Membership;
  /** Absent: nobody is evicted, and no records of members are kept as facts. */
  readonly leaseMs: number | undefined;
  readonly originOf: (member: number) => string;
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** Of its own, so that a run without subscribers is the same. */
  readonly feedRandom: Random;
  readonly network: Network;
  readonly plane: Plane;
  readonly durability: 'fsync' | 'wal';
  readonly logCommitsMax: number;
  readonly sliceBytes: number;
  readonly epochTimes: EpochTimes;
  readonly quarantineAheadMs: number;
  readonly mutation: Mutation;
  readonly onApplied: (instance: Instance, commits: readonly Commit[]) => void;
  readonly onDurable: (instance: Instance, commits: readonly Commit[]) => void;
  /** It folds sources of its own. */
  readonly onFolding: (instance: Instance, namespace: string, head: Head) => void;
  /** It learned that it was evicted and may come back: it has to start again. */
  readonly onEvicted: (instance: Instance) => void;
  /** What became of a record that was offered again. */
  readonly onOffered: (record: LogRecord) => void;
  readonly onProblem: (problem: string) => void;
  /** Facts that this instance had lost came back from a peer. */
  readonly onRepaired: (instance: Instance, keys: readonly string[]) => void;
  /** How often everything stored is looked at; 0: never. */
  readonly scrubMs: number;
}

const askTimeoutMs = 3_000;
const housekeepingMs = 3_000;
const bookmarkMs = 5_000;
export const tombstoneGraceMs = 2_000;
const queueBytesMax = 1 << 20;
/**
 * True time at the beginning: so early that epochs, which are 48 bits long, can tell of much shorter steps than those of
 * nodes.
 */
const bootMs = 20_000_000_000;
const strategyOf = (namespace: string): Strategy => strategies[namespace]!;

/**
 * One simulated instance: the replica, the exchange and the deliveries that nodes run, with a disk, a clock, links and a
 * message plane that the simulation owns. What `ipe` does with sockets and promises is done here with scheduled calls.
 */
export class Instance implements Receiver {
  readonly origin: string;
  readonly member: number;
  readonly disk: Disk;
  /** How far this instance's wall clock is off. */
  clockOffsetMs = 0;
  isUp = false;
  replica!: Replica;
  exchange!: Exchange;
  holdings!: Holdings;
  repair!: StateRepair;
  feeds!: Feeds;
  readonly #options: InstanceOptions;
  /** Which start this is: calls of an earlier one do nothing. */
  #life = 0;
  #fetches!: Fetches;
  #antiEntropy!: AntiEntropy;
  #questions!: Questions;
  #publisher!: Publisher;
  #reception!: Reception<Batch>;
  #store!: StoreDriver;
  #transfer!: Transfer;
  /** When states last came into a namespace: until a later report is covered, they may run ahead of the vector. */
  #partial = new Map<string, number>();
  #reports!: Reports;
  #facts: MemberFacts | undefined;

  constructor(options: InstanceOptions, disk = new Disk()) {
    this.#options = options;
    this.origin = options.origin;
    this.member = options.member;
    this.disk = disk;
  }

  get membership(): Membership {
    return this.#options.membership;
  }

  get wallMs(): number {
    return bootMs + this.#options.scheduler.nowMs + this.clockOffsetMs;
  }

  /** Whether states ran ahead of the vector, so that transactions may be seen in part at the moment. */
  isPartial(namespace: string): boolean {
    return this.#partial.has(namespace);
  }

  start(): void {
    const { random, interest, origin, epochTimes, mutation, plane, network } = this.#options;
    const life = ++this.#life;
    const isAlive = () => life === this.#life;
    const later = (delayMs: number, run: () => void) => this.later(delayMs, run);
    this.isUp = true;
    this.#partial = new Map([...this.disk.notes.ahead].map((namespace) => [namespace, this.wallMs]));
    const sources = new Sources();
    this.#reports = new Reports(sources);
    this.replica = new Replica(
      {
        origin,
        strategyOf,
        historyOf: () => 2,
        batchWritesMax: 50,
        flushIntervalMs: 5,
        tombstoneGraceMs,
        startedMs: mutation.startedMs(this.wallMs),
        epochTimes,
        quarantineAheadMs: this.#options.quarantineAheadMs,
        cacheBytesMax: 2_000,
        queueBytesMax,
        isStable: (namespace, dot) => mutation.isStable(() => this.exchange.known.isStable(namespace, dot)),
        purgedMs: (namespace) => this.exchange.known.purgedMs(namespace),
      },
      sources,
      readMetadata(mutation.metadata(this.disk.rows('metadata')), sources),
      mutation.epochs(origin, random.next),
    );
    this.exchange = new Exchange({
      intervalMs: 1_000,
      pullsMax: 4,
      leases: new Leases(this.wallMs),
      self: { origin, isClosed: (source, nowMs) => this.replica.isClosed(source, nowMs) },
    });
    this.holdings = new Holdings({
      origin,
      interest,
      strategyOf,
      purgedMsOf: (namespace) => this.replica.purgedMsOf(namespace),
      isHoldingBack: (namespace) => this.replica.heldBack(namespace).length > 0,
      aheadOf: (namespace) => this.replica.aheadOf(namespace),
      isSettled: this.disk.notes.isSettled,
      whole: this.disk.notes.whole,
      goneBack: this.disk.notes.goneBack,
      recovered: this.replica.report(),
    });
    this.#fetches = new Fetches({
      sources,
      strategyOf,
      holds: (namespace, source, seq) => this.holdings.holds(namespace, source, seq),
      isWhole: (namespace) => this.holdings.isWhole(namespace),
      stepTimeoutMs: 2 * askTimeoutMs,
    });
    this.#reception = new Reception({
      origin,
      isOfInterest: (namespace) => this.holdings.isOfInterest(namespace),
      standingOf: (member) => this.membership.of(member),
      parkedMax: 20,
    });
    this.#store = new StoreDriver({
      disk: this.disk,
      replica: this.replica,
      random,
      durability: this.#options.durability,
      isEager: mutation.isEager,
      wallMs: () => this.wallMs,
      nowMs: () => this.#options.scheduler.nowMs,
      later,
      onApplied: (applied) => this.#applied(applied),
      onDamaged: (key) => this.repair.met(key),
      onDurable: (commit) => this.#durable(commit),
      onDue: (runs) => this.#release(runs),
      onOffered: (record) => this.#options.onOffered(record),
      onGap: (gap) => {
        if (mutation.passesGap(this, gap)) return;
        this.#antiEntropy.exchange({ type: 'left-out', namespace: gap.namespace, origin: gap.source.origin });
        this.#antiEntropy.exchange({ type: 'hurry' });
      },
      onRefused: (record, failure) => {
        this.#antiEntropy.fetch({ type: 'refused', namespace: record.namespace, source: record.source });
        if (failure.reason !== 'corrupt') this.#options.onProblem(`a record was refused: ${failure.message}`);
      },
    });
    this.#transfer = new Transfer({
      disk: this.disk,
      replica: this.replica,
      holdings: this.holdings,
      sliceBytes: this.#options.sliceBytes,
      relayed: (row) => mutation.relayed(this, row),
      onDamaged: (name) => this.repair.recordMet(name),
    });
    const { membership, originOf, leaseMs, scrubMs } = this.#options;
    const peers = { self: this, origin, network, random, membership, originOf, timeoutMs: askTimeoutMs };
    this.#questions = new Questions({ ...peers, isAlive, later });
    this.#antiEntropy = new AntiEntropy({
      exchange: this.exchange,
      fetches: this.#fetches,
      holdings: this.holdings,
      reports: this.#reports,
      store: this.#store,
      transfer: this.#transfer,
      hasLeases: leaseMs !== undefined,
      wallMs: () => this.wallMs,
      ask: (peer, question, done) => this.#questions.ask(peer, question, done),
      take: (from, records) => this.step({ type: 'records', from, records: mutation.received(this, records) }),
      onJoining: (namespace) => {
        this.#ranAhead(namespace);
        mutation.joining(this, namespace);
      },
      onFolding: (namespace, head) => {
        if (head.source.origin === origin) this.#options.onFolding(this, namespace, head);
      },
      onWentBack: () => this.#remember(),
      onProblem: this.#options.onProblem,
      onUnreadable: (why) => {
        // A row that rotted may be sent before anybody has looked at it.
        if (scrubMs === 0) this.#options.onProblem(`what a peer sent could not be read: ${why}`);
      },
      isDeaf: mutation.isDeaf,
    });
    this.#publisher = new Publisher({
      from: this,
      plane,
      slice: (question) => this.#transfer.slice(question),
      stableHeadOf: (namespace, source) => this.exchange.known.stableHeads(namespace).get(source) ?? 0,
      isAlive,
      later,
    });
    this.repair = new StateRepair({
      disk: this.disk,
      replica: this.replica,
      holdings: this.holdings,
      graceMs: tombstoneGraceMs,
      wallMs: () => this.wallMs,
      store: (event, reply) => this.#store.ask(event, reply),
      ask: (peer, question, done) => this.#questions.ask(peer, question, done),
      later,
      isGullible: mutation.isGullible,
      onRepaired: (keys) => this.#options.onRepaired(this, keys),
    });
    this.feeds = new Feeds({
      disk: this.disk,
      replica: this.replica,
      random: this.#options.feedRandom,
      wallMs: () => this.wallMs,
      later,
      read: (key) => this.cell(key),
      onDamaged: (key) => this.repair.met(key),
      onRecordDamaged: (name) => this.repair.recordMet(name),
      resumed: mutation.resumed,
    });
    this.#startMembers();
    this.#antiEntropy.exchange({ type: 'plane', isDelivering: plane !== noPlane });
    for (const namespace of this.holdings.names()) this.#antiEntropy.moved(namespace);
    this.#repeat(200, () => {
      this.#antiEntropy.exchange({ type: 'tick' });
      this.#antiEntropy.fetch({ type: 'tick' });
    });
    this.#repeat(1_000, () => this.#tick());
    this.#repeat(housekeepingMs, () => {
      for (const event of housekeep(this.disk, this.replica, this.wallMs, this.#options.logCommitsMax))
        this.step(event);
      mutation.housekeep(this);
    });
    this.#repeat(2_000, () => this.repair.mend());
    this.#repeat(bookmarkMs, () => this.feeds.bookmarkAll());
    if (this.#options.scrubMs > 0) this.#repeat(this.#options.scrubMs, () => this.repair.scrub());
    network.turned(this);
    plane.subscribe(this, this.disk.notes.cursor);
  }

  /** kill -9 with the power: what was not synced is gone from some batch on. */
  crash(): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.#life++;
    this.feeds.close();
    this.disk.crash(this.#options.random.int(0, this.disk.unsyncedCount));
    this.#options.network.turned(this);
  }

  #startMembers(): void {
    const { membership, leaseMs } = this.#options;
    const facts = leaseMs === undefined ? undefined : new MemberFacts(this, membership);
    this.#facts = facts;
    membership.onChange = (member) => {
      if (!this.isUp) return;
      if (member.state === 'evicted') this.repair.linked(member.origin, false);
      this.#membersChanged();
      facts?.check(member.origin);
      if (membership.mayReturn) this.#options.onEvicted(this);
    };
    this.#membersChanged();
    facts?.start();
    if (leaseMs === undefined) return;
    this.#repeat(1_000, () => {
      const verdict = this.exchange.leases.judge(leaseMs, this.wallMs);
      const { exchange } = this;
      membership.keep({
        verdict,
        heldOf: (origin) => exchange.known.heldOf(origin),
        mayHoldAlone: (origin) => exchange.known.mayHoldAlone(origin),
      });
    });
  }

  /** As the holder of the cluster key: whether a member may come back, what counts of it being settled. */
  admits(origin: string): boolean {
    const { membership } = this.#options;
    const member = membership.of(origin);
    if (!this.isUp || member === undefined || this.#facts === undefined) return false;
    if (member.state === 'active') return true;
    return this.#facts.isCutFinal(member);
  }

  #membersChanged(): void {
    const { membership, network } = this.#options;
    this.#antiEntropy.exchange({ type: 'members', origins: membership.others(), cuts: membership.cuts() });
    for (const peer of network.others(this)) if (peer.isUp && network.isOpen(this, peer)) this.linked(peer, true);
    for (const batch of this.#reception.unpark()) this.deliver(batch, 0);
  }

  linked(peer: { readonly member: number }, isUp: boolean): void {
    if (!this.isUp) return;
    const { network, originOf, membership } = this.#options;
    if (!membership.isActive(originOf(peer.member))) return;
    // A clone of the member may still be there.
    if (!isUp && network.others(this).some((other) => other.member === peer.member && other !== peer && other.isUp))
      return;
    this.#antiEntropy.exchange({ type: isUp ? 'linked' : 'unlinked', peer: originOf(peer.member) });
    this.repair.linked(originOf(peer.member), isUp);
  }

  /** Hands writes in as a node's engine does: none to a namespace that this instance cannot speak for. */
  submit(request: WriteRequest, reply: (outcome: WriteOutcome) => void): void {
    if (this.holdings.lackOf(request.writes[0]!.namespace) !== undefined) return;
    this.#options.mutation.parts(request).forEach((part, i) => {
      const hand = () => this.#store.ask((id) => ({ type: 'submit', id, request: part }), reply);
      if (i === 0) hand();
      else this.later(i * 30, hand);
    });
  }

  /** Whether a record is held back here: counted, and not applied yet. */
  isHeldBack(namespace: string, sourceId: string, seq: number): boolean {
    const source = this.replica.sources.parse(sourceId);
    return source !== undefined && this.replica.isHeldBack(namespace, source, seq);
  }

  /** Hands in what the clock has reached of what is held back. */
  #release(runs: readonly HeldRun[]): void {
    const { sources } = this.replica;
    const records = heldRows(this.disk, runs).map((row) => decodeRecord(row, sources));
    this.#store.ask(
      (id) => ({ type: 'release', id, records, isForced: false }),
      () => {},
    );
  }

  step(event: ReplicaEvent): void {
    this.#store.step(event);
  }

  /** Hands in an event that is answered by one reply. */
  ask(event: (id: number) => ReplicaEvent, reply: (outcome: WriteOutcome) => void): void {
    this.#store.ask(event, reply);
  }

  /** What a reader sees: undefined where the namespace may not be read; `damaged` where the row cannot. */
  read(key: string): Cell | 'damaged' | undefined {
    const namespace = key.slice(0, key.indexOf('.'));
    const { mutation } = this.#options;
    const lack = this.holdings.lackOf(namespace);
    if (lack === 'not-held' || (lack === 'loading' && !mutation.readsWhileLoading)) return undefined;
    return this.cell(key);
  }

  /** What is held of a key, loading or not. */
  cell(key: string): Cell | 'damaged' {
    const strategy = strategyOf(key.slice(0, key.indexOf('.')));
    const cell = this.replica.peek(key) ?? this.replica.uncommitted().get(key);
    if (cell !== undefined) return cell;
    const row = this.disk.get('live', liveKey(key));
    if (row === undefined) return new Cell(undefined, 0, strategy);
    try {
      return decodeCell(row, this.replica.sources, strategy);
    } catch {
      return 'damaged';
    }
  }

  deliver(batch: Batch, cursor: number): void {
    this.disk.notes.cursor = cursor;
    const claim = this.#reception.judge(batch);
    if (claim === 'park') this.#reception.park(batch);
    if (claim !== 'open') return;
    const { mutation } = this.#options;
    const decoded = batch.records.map((bytes) => decodeRecord(bytes, this.replica.sources));
    const records = this.#fetches.unawaited(this.#reception.accepted(batch.origin, decoded));
    this.step({ type: 'records', from: batch.origin, records: mutation.received(this, records) });
  }

  answer(from: Endpoint, asked: unknown): unknown {
    return this.#questions.answer(from, asked, (question) => {
      switch (question.type) {
        case 'report':
          this.#antiEntropy.reported(question.report, false);
          return this.#antiEntropy.reportTo(question.report.slice(...originPlace), true);
        case 'log':
          return this.#transfer.slice(question);
        case 'snapshot':
          return this.#transfer.page(question.namespace, question.after);
        default:
          return this.repair.answer(question);
      }
    });
  }

  /** The vector moved otherwise than by commits; for mutations too. */
  advanced(namespace: string, heads: Parameters<Holdings['advanced']>[1]): void {
    this.#antiEntropy.advanced(namespace, heads);
  }

  #tick(): void {
    this.step({ type: 'tick' });
    this.repair.tick();
    this.#store.syncWritten();
    const { holdings, exchange } = this;
    for (const namespace of holdings.goneBack()) {
      if (!exchange.isRemnant(namespace)) continue;
      holdings.becameWhole(namespace);
      this.#antiEntropy.moved(namespace);
    }
    if (!holdings.isSettled && exchange.known.hasHeardAll((name) => holdings.isWhole(name))) {
      holdings.settle();
      // Where it holds nothing, no vector moves with it.
      this.#reports.moved();
      for (const name of holdings.names()) this.#antiEntropy.moved(name);
    }
    this.#remember();
    for (const [namespace, joinedMs] of this.#partial) {
      if (this.wallMs - exchange.known.stalenessMs(namespace, this.wallMs) > joinedMs) this.#partial.delete(namespace);
    }
    this.disk.notes.ahead = new Set(this.#partial.keys());
  }

  #remember(): void {
    const { disk, holdings } = this;
    disk.notes.isSettled = holdings.isSettled;
    disk.notes.whole = holdings.whole();
    disk.notes.goneBack = holdings.goneBack();
  }

  /** A crash does not take back that states came in: what is durable of them stays ahead of the vector. */
  #ranAhead(namespace: string): void {
    this.#partial.set(namespace, this.wallMs);
    this.disk.notes.ahead = new Set(this.#partial.keys());
  }

  #applied(applied: Applied): void {
    const { commits, joined } = applied;
    this.repair.applied(applied);
    for (const namespace of joined) this.#ranAhead(namespace);
    // What was held back may be applied now.
    if (joined.length > 0) this.#reports.moved();
    this.holdings.applied(commits);
    this.#options.onApplied(this, commits);
    this.feeds.applied(applied);
    const isTold = joined.includes('_sys') || commits.some(({ record }) => record.namespace === '_sys');
    if (isTold) this.#facts?.learn();
  }

  #durable(commit: number): void {
    const done = this.holdings.durable(commit);
    const own = done.filter(({ record }) => record.source.origin === this.origin);
    this.disk.notes.mark = commit;
    this.#options.onDurable(this, done);
    if (own.length > 0) this.#publisher.add(own.map(({ record }) => record));
    for (const namespace of new Set(done.map(({ record }) => record.namespace))) this.#antiEntropy.moved(namespace);
  }

  /** A call in this life: a crash takes it along. */
  later(delayMs: number, run: () => void): void {
    const life = this.#life;
    this.#options.scheduler.after(delayMs, () => {
      if (this.#life === life && this.isUp) run();
    });
  }

  #repeat(intervalMs: number, run: () => void): void {
    this.later(intervalMs, () => {
      run();
      this.#repeat(intervalMs, run);
    });
  }
}
