import { IpeError } from '@ipe/core';
import type { MessagePlane, PlaneSubscription } from '@ipe/core/plane';
import {
  type Accepted,
  type Failure,
  Holdings,
  type Interest,
  isCutFinal,
  Leases,
  type LeaseVerdict,
  type MemberFact,
  type MemberState,
  type Source,
  skewMaxMs,
} from '@ipe/core/replica';
import type { Identity } from '../cluster/identity.ts';
import { KeyExchange } from '../cluster/key-exchange.ts';
import type { KeyRing } from '../cluster/key-ring.ts';
import type { MemberDirectory } from '../cluster/members.ts';
import type { Peers } from '../cluster/peers.ts';
import type { Engine } from '../data/engine.ts';
import type { Scrubber } from '../data/scrub.ts';
import { closeTimeoutMs, settledWithin } from '../planes/closing.ts';
import { AntiEntropy } from './anti-entropy.ts';
import { Backlog } from './backlog.ts';
import type { EnvelopeOptions } from './envelope.ts';
import { Inbox } from './inbox.ts';
import type { ReadableLog } from './log-reader.ts';
import { MemoryKeeper, memoryOf, type ReplicationMemory } from './memory-keeper.ts';
import { Outbox } from './outbox.ts';
import { QuarantineKeeper } from './quarantine.ts';
import { StateRepair, type StateRepairOptions, type StateRepairStatus } from './state-repair.ts';

export interface ReplicationOptions {
  readonly engine: Engine;
  readonly identity: Identity;
  readonly directory: MemberDirectory;
  readonly peers: Peers;
  /** The fast path; absent: anti-entropy alone. The replication starts and closes it. */
  readonly plane?: MessagePlane;
  /** Namespaces to take part in. */
  readonly interest: Interest;
  /** Seals batches; absent: they are signed and readable. */
  readonly ring?: KeyRing;
  /** Walks the facts: counts the digests that peers compare, and finds what is damaged. Absent: neither is done. */
  readonly scrubber?: Scrubber;
  /** Keys the digests, the same for all members. Absent: they are not compared. */
  readonly digestSecret?: Uint8Array;
  readonly comparison?: StateRepairOptions['comparison'];
  readonly memory: {
    load(): Promise<ReplicationMemory>;
    save(memory: ReplicationMemory): Promise<void>;
  };
  /** Refuses new writes while this instance's clock is off; otherwise that is only told. */
  readonly isStrict?: boolean;
  readonly now: () => number;
  readonly intervalMs?: number;
  readonly log: Record<'error' | 'warn' | 'info', (details: object, message: string) => void>;
}

export interface ReplicationStatus {
  readonly plane: ReturnType<MessagePlane['status']> | undefined;
  readonly isSettled: boolean;
  readonly loading: readonly string[];
  readonly lag: ReturnType<AntiEntropy['exchange']['known']['lag']>;
  readonly published: number;
  readonly received: number;
  readonly pulledRecords: number;
  readonly joinedStates: number;
  /** Comparing and repairing states; absent where digests are not kept. */
  readonly repair?: StateRepairStatus;
  readonly rejected: Inbox['rejected'];
  readonly parked: number;
  /** Records whose time lies so far ahead that they are held back. */
  readonly heldBack: number;
  /** How far this instance's clock is ahead of its peers', in milliseconds; null where none was measured. */
  readonly clockAheadMs: number | null;
  /** Namespaces that are not exchanged with some peer, since both settle conflicts differently. */
  readonly mismatched: readonly string[];
}

const memoryIntervalMs = 1_000;
/** What the message plane may deliver ahead of the disk, and how long it is held back for it at most. */
const undurableBytesMax = 8 * 1024 * 1024;
const undurableWaitMsMax = 1_000;
/** How long an acknowledgement waits for peers, and how soon they are asked again meanwhile. */
const ackTimeoutMs = 5_000;

/**
 * Makes one instance's facts everybody's, and everybody's its own: publishes what is durable here, takes what others
 * publish, and finds by anti-entropy whatever got lost on the way. Owns no facts.
 */
export class Replication {
  /** Records whose time lies far ahead. */
  readonly quarantine: QuarantineKeeper;
  readonly #options: ReplicationOptions;
  readonly #holdings: Holdings;
  readonly #antiEntropy: AntiEntropy;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox | undefined;
  readonly #backlog: Backlog;
  readonly #closing = new AbortController();
  readonly #mismatched = new Set<string>();
  readonly #keyExchange: KeyExchange | undefined;
  #repair: StateRepair | undefined;
  readonly #stops: (() => void)[] = [];
  #subscription: PlaneSubscription | undefined;
  #cursor: string | undefined;
  readonly #memory: MemoryKeeper;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: ReplicationOptions, memory: ReplicationMemory) {
    this.#options = options;
    const { engine, directory, identity, interest, peers, plane, now, log } = options;
    this.#cursor = memory.planeCursor;
    this.#memory = new MemoryKeeper(
      (changed) => options.memory.save(changed),
      () => performance.now(),
    );
    this.quarantine = new QuarantineKeeper({ engine, now, log });
    const alone = directory.list().every(({ body }) => body.origin === identity.origin);
    this.#holdings = new Holdings({
      origin: identity.origin,
      interest,
      strategyOf: (namespace) => engine.replica.strategyOf(namespace),
      purgedMsOf: (namespace) => engine.replica.purgedMsOf(namespace),
      isHoldingBack: (namespace) => engine.replica.heldBack(namespace).length > 0,
      aheadOf: (namespace) => engine.replica.aheadOf(namespace),
      isSettled: alone || (memory.settledInterest !== undefined && isWithin(interest, memory.settledInterest)),
      whole: memory.whole,
      goneBack: memory.goneBack,
      recovered: engine.namespaces(),
    });
    const ownLog: ReadableLog = {
      kv: engine.kv,
      sources: engine.replica.sources,
      onDamaged: (name, why) => options.scrubber?.recordMet(name, why),
    };
    const isWanted = (namespace: string) => this.#holdings.isOfInterest(namespace);
    this.#antiEntropy = new AntiEntropy({
      engine,
      holdings: this.#holdings,
      peers,
      originOf: (fingerprint) => directory.active(fingerprint)?.origin,
      fingerprintOf: (origin) => directory.byOrigin(origin)?.fingerprint,
      now,
      ...(options.intervalMs !== undefined && { intervalMs: options.intervalMs }),
      leases: new Leases(now(), memory.heardMs),
      isPlaneConnected: () => plane?.status().connected === true,
      ownLog,
      quarantine: this.quarantine,
      onWhole: (namespace) => {
        this.#holdings.becameWhole(namespace);
        this.#antiEntropy.moved(namespace);
      },
      onAdvanced: (namespace) => this.#antiEntropy.moved(namespace),
      onGoneBack: ({ peer, namespace }) => {
        if (!this.#holdings.isWhole(namespace)) return;
        this.#holdings.wentBack(namespace);
        const message =
          'this data directory is an old copy: a peer knows that more was held here; the namespace is loaded again';
        log.error({ peer, namespace }, message);
        this.#antiEntropy.moved(namespace);
        void this.#tryToRemember();
      },
      onMismatch: ({ peer, namespace, ours, theirs }) => {
        this.#mismatched.add(namespace);
        log.warn({ peer, namespace, ours, theirs }, 'a namespace is not exchanged: its conflict strategies differ');
      },
      onError: (error, what) => log.warn({ err: error }, what),
    });
    this.#backlog = new Backlog({
      bytesMax: undurableBytesMax,
      waitMsMax: undurableWaitMsMax,
      isDurable: ({ namespace, source, seq }) => this.#holdings.holds(namespace, source, seq),
    });
    this.#inbox = new Inbox({
      origin: identity.origin,
      sources: engine.replica.sources,
      memberOf: (origin) => directory.byOrigin(origin),
      ring: options.ring,
      onUnknownKey: () => this.#keyExchange?.want(),
      isOfInterest: isWanted,
      take: (from, records, bytes) => {
        engine.takeRecords(from, this.#antiEntropy.fetches.unawaited(records));
        this.#backlog.taken(bytes, records.at(-1)!);
      },
      onAnnounced: (namespace, origin) => this.#antiEntropy.leftOut(namespace, origin),
      onRejected: (why, details) => log.warn(details, why),
    });
    this.#keyExchange =
      options.ring &&
      new KeyExchange({
        ring: options.ring,
        peers,
        directory,
        onError: (error, what) => log.warn({ err: error }, what),
      });
    this.#outbox =
      plane &&
      new Outbox({
        plane,
        ownLog,
        envelope: () => this.#envelope(),
        heldByAll: (namespace, source) => this.#known.stableHeads(namespace).get(source) ?? 0,
        onError: (error, what) => log.warn({ err: error }, what),
      });
  }

  static async start(options: ReplicationOptions): Promise<Replication> {
    const { engine, log } = options;
    const stored = await options.memory.load();
    const memory = memoryOf(engine.replica.logId, stored);
    if (memory !== stored)
      log.warn({}, 'the data directory is not the one it was: its facts are loaded from the members');
    const replication = new Replication(options, memory);
    await replication.#start();
    return replication;
  }

  get #known() {
    return this.#antiEntropy.exchange.known;
  }

  /** Whether every member is known to hold a write; what the engine asks before it purges a tombstone. */
  isStable(namespace: string, dot: Parameters<AntiEntropy['exchange']['known']['isStable']>[1]): boolean {
    return this.#known.isStable(namespace, dot);
  }

  /** Time since this instance last confirmed that it held all its peers held, in milliseconds; finite. */
  stalenessMs(namespace: string): number {
    const nowMs = this.#options.now();
    return Math.min(this.#known.stalenessMs(namespace, nowMs), nowMs);
  }

  /** Why a namespace cannot be read here, where it cannot: not held, or still loading. */
  notHeld(namespace: string): string | undefined {
    switch (this.#holdings.lackOf(namespace)) {
      case 'not-held':
        return `this instance does not hold namespace \`${namespace}\`: it is not among \`subscribe_topics\``;
      case 'loading':
        return `namespace \`${namespace}\` is still being loaded from the other members`;
      default:
        return undefined;
    }
  }

  /** What of a member's records this instance, or another that has reported, holds: what its eviction must accept. */
  heldOf(origin: string): Accepted {
    return this.#known.heldOf(origin);
  }

  /** Whether a member may be the only one that holds some of what counts of another that was evicted before it. */
  mayHoldAlone(origin: string): boolean {
    return this.#known.mayHoldAlone(origin);
  }

  /** How far this instance's clock is ahead of the median of its peers', in milliseconds; undefined without peers. */
  clockAheadMs(): number | undefined {
    return this.#antiEntropy.exchange.skew.aheadMs(this.#options.now());
  }

  /**
   * Why new writes of clients to a namespace are refused here, where they are: it must be held whole, and under
   * `clock_skew = "strict"` the clock must be right.
   */
  refusesWrites(namespace: string): Failure | undefined {
    return this.#refusesUnseen(namespace) ?? this.#refusesByClock();
  }

  /** A write that has not seen what others deleted and forgot would bring it back, or part the members for good. */
  #refusesUnseen(namespace: string): Failure | undefined {
    const why = this.notHeld(namespace);
    if (why === undefined) return undefined;
    const advice =
      this.#holdings.lackOf(namespace) === 'loading'
        ? 'try again once it is, or write to another instance'
        : 'write to an instance that does';
    return { reason: 'unavailable', message: `${why}; ${advice}`, details: { namespace }, state: 'unchanged' };
  }

  #refusesByClock(): Failure | undefined {
    const aheadMs = this.#options.isStrict === true ? this.clockAheadMs() : undefined;
    if (aheadMs === undefined || Math.abs(aheadMs) <= skewMaxMs) return undefined;
    return {
      reason: 'unavailable',
      message: `the clock of this instance is ${Math.abs(Math.round(aheadMs))} ms ${aheadMs > 0 ? 'ahead of' : 'behind'} its peers', and \`clock_skew\` is \`strict\`; set the clock right`,
      details: { ahead_ms: Math.round(aheadMs), max_ms: skewMaxMs },
      state: 'unchanged',
    };
  }

  /** Latest time of what any member has purged from a namespace, hybrid milliseconds. */
  purgedMs(namespace: string): number {
    return this.#known.purgedMs(namespace);
  }

  /** Whether what counts of an evicted member can grow no more. @param fact what tells of it here */
  isCutFinal(evicted: MemberState, fact: MemberFact | undefined): boolean {
    return isCutFinal(evicted, fact, this.#known);
  }

  /** Whether every other member has been heard since the start, and what they hold of this one's records is here. */
  get hasRegained(): boolean {
    return this.#known.hasRegained(this.#holdings.origin);
  }

  /** Whether all facts of the cluster are held here. */
  get isSettled(): boolean {
    return this.#holdings.isSettled;
  }

  /** Which members' leases have run out. */
  judgeLeases(leaseMs: number): LeaseVerdict {
    return this.#antiEntropy.exchange.leases.judge(leaseMs, this.#options.now());
  }

  /** By origin of a member, how long ago anybody heard it, in milliseconds. */
  heardAges(): ReadonlyMap<string, number> {
    return this.#antiEntropy.exchange.leases.ages(this.#options.now());
  }

  /** Members besides this one. */
  get peerCount(): number {
    return this.#others().length;
  }

  /**
   * Waits until `count` other members hold the record that a token names.
   * @throws IpeError `unavailable`, state `applied`, when they do not within five seconds, or the signal aborts
   */
  async peersHold(count: number, tokenText: string, signal: AbortSignal): Promise<void> {
    const token = this.#options.engine.replica.parseToken(tokenText);
    if (token === undefined) throw new IpeError('internal', 'a write gave no token to wait for');
    const { exchange } = this.#antiEntropy;
    const bound = AbortSignal.any([signal, AbortSignal.timeout(ackTimeoutMs)]);
    for (let delayMs = 2; ; delayMs = Math.min(delayMs * 2, 200)) {
      const held = exchange.known.holders(token.namespace, token.source, token.seq);
      if (held >= count) return;
      if (bound.aborted) {
        throw new IpeError('unavailable', `the write stands, but only ${held} of ${count} peers hold it yet`, {
          state: 'applied',
          details: { held, asked: count, token: tokenText },
        });
      }
      this.#antiEntropy.hurry();
      await new Promise<void>((resolve) => {
        setTimeout(resolve, delayMs);
      });
    }
  }

  status(): ReplicationStatus {
    return {
      plane: this.#options.plane?.status(),
      isSettled: this.#holdings.isSettled,
      loading: this.#holdings.loading(),
      lag: this.#known.lag(),
      published: this.#outbox?.published ?? 0,
      received: this.#inbox.received,
      pulledRecords: this.#antiEntropy.fetches.pulledRecords,
      joinedStates: this.#antiEntropy.fetches.joinedStates,
      ...(this.#repair && { repair: this.#repair.status() }),
      rejected: this.#inbox.rejected,
      parked: this.#inbox.parked,
      heldBack: this.#options.engine.replica.heldBackCount,
      clockAheadMs: rounded(this.clockAheadMs()),
      mismatched: [...this.#mismatched].sort(),
    };
  }

  /** Publishes nothing more, keeps what it knows for the next start, and lets go of plane and links' handlers. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearInterval(this.#timer);
    for (const stop of this.#stops) stop();
    this.#keyExchange?.close();
    // A broker that hangs leaves a publication under way; once the plane is closed it fails.
    await settledWithin(closeTimeoutMs, Promise.all([this.#outbox?.close(), this.#subscription?.close()]));
    await this.#options.plane?.close();
    await this.#repair?.close();
    await this.#antiEntropy.close();
    await this.quarantine.close();
    await this.#remember(true);
  }

  async #start(): Promise<void> {
    const { engine, directory, plane, interest, ring } = this.#options;
    this.#stops.push(
      engine.onApplied(({ commits }) => this.#holdings.applied(commits)),
      engine.onNotice((notice) => {
        if (notice.type === 'durable') this.#durable(notice.commit);
        else if (notice.type === 'gap') this.#antiEntropy.leftOut(notice.namespace, notice.source.origin);
        else if (notice.type === 'refused')
          this.#refused(notice.record.namespace, notice.record.source, notice.failure.message);
      }),
      directory.onChange(() => this.#membersChanged()),
    );
    if (ring) this.#stops.push(ring.onChange(() => this.#inbox.retry()));
    this.#repair = this.#startRepair();
    this.#membersChanged();
    for (const name of this.#holdings.names()) this.#antiEntropy.moved(name);
    if (plane) {
      await plane.start();
      const wanted = interest === 'all' ? interest : [...interest, '_sys'];
      this.#subscription = plane.subscribe(
        wanted,
        async (delivery) => {
          this.#inbox.deliver(delivery);
          if (delivery.cursor !== undefined) this.#cursor = delivery.cursor;
          await this.#backlog.ready(this.#closing.signal);
        },
        this.#cursor,
      );
    }
    this.#timer = setInterval(() => {
      this.#takeRemnants();
      this.#settle();
      void this.#tryToRemember();
    }, memoryIntervalMs).unref();
  }

  #startRepair(): StateRepair | undefined {
    const { engine, scrubber, digestSecret: secret, peers, directory, now, log, comparison } = this.#options;
    if (scrubber === undefined || secret === undefined) return undefined;
    return new StateRepair({
      engine,
      scrubber,
      secret,
      peers,
      originOf: (fingerprint) => directory.active(fingerprint)?.origin,
      durableHeads: (namespace) => this.#holdings.headsOf(namespace),
      isWhole: (namespace) => this.notHeld(namespace) === undefined,
      now,
      log,
      ...(comparison !== undefined && { comparison }),
    });
  }

  #others(): string[] {
    const { directory, identity } = this.#options;
    return directory
      .list()
      .filter(({ body }) => body.state === 'active' && body.origin !== identity.origin)
      .map(({ body }) => body.origin);
  }

  #membersChanged(): void {
    const cuts = this.#options.directory.cuts();
    this.#antiEntropy.step({ type: 'members', origins: this.#others(), cuts });
    for (const link of this.#options.peers.links()) {
      const peer = this.#options.directory.active(link.fingerprint)?.origin;
      if (peer !== undefined) this.#antiEntropy.step({ type: 'linked', peer });
    }
    this.#inbox.retry();
    this.#repair?.relink();
  }

  #durable(commit: number): void {
    const { identity } = this.#options;
    const done = this.#holdings.durable(commit);
    this.#backlog.moved();
    const own = done.map(({ record }) => record).filter(({ source }) => source.origin === identity.origin);
    if (own.length > 0) this.#outbox?.add(own);
    for (const namespace of new Set(done.map(({ record }) => record.namespace))) this.#antiEntropy.moved(namespace);
  }

  #refused(namespace: string, source: Source, message: string): void {
    this.#options.log.warn({ namespace, source: source.id }, `a record of a peer cannot be applied: ${message}`);
    this.#antiEntropy.refused({ namespace, source });
  }

  /** What nobody holds whole any more is whole as it is, once all hold the same: this instance had held all of it. */
  #takeRemnants(): void {
    const { log } = this.#options;
    for (const namespace of this.#holdings.goneBack()) {
      if (!this.#antiEntropy.exchange.isRemnant(namespace)) continue;
      this.#holdings.becameWhole(namespace);
      const message =
        'no member holds this namespace whole any more: what all hold together counts from now on; facts that were deleted since the old copies of data directories were made may be back';
      log.error({ namespace }, message);
      this.#antiEntropy.moved(namespace);
    }
  }

  /** Once a settled peer has been heard and all that it names is whole here, so is this instance. */
  #settle(): void {
    const holdings = this.#holdings;
    if (holdings.isSettled || !this.#known.hasHeardAll((name) => holdings.isWhole(name))) return;
    holdings.settle();
    this.#options.log.info({ namespaces: holdings.names().length }, 'all facts of the cluster are held here');
    for (const name of holdings.names()) this.#antiEntropy.moved(name);
  }

  #envelope(): EnvelopeOptions {
    const { identity, ring } = this.#options;
    return { signing: identity.signing, ...(ring && { sealing: ring.current }) };
  }

  /** Rounded, so that hearing a member does not mean writing a file. */
  #heardToTheMinute(): Record<string, number> {
    const heard = this.#antiEntropy.exchange.leases.heardAt();
    return Object.fromEntries([...heard].map(([origin, ms]) => [origin, Math.floor(ms / 60_000) * 60_000]));
  }

  async #tryToRemember(): Promise<void> {
    await this.#remember().catch((error) => this.#options.log.warn({ err: error }, 'replication cannot be remembered'));
  }

  async #remember(isLast = false): Promise<void> {
    const { logId } = this.#options.engine.replica;
    const memory: ReplicationMemory = {
      ...(logId !== undefined && { logId }),
      ...(this.#holdings.isSettled && { settledInterest: this.#options.interest }),
      whole: this.#holdings.whole(),
      goneBack: this.#holdings.goneBack(),
      ...(this.#cursor !== undefined && { planeCursor: this.#cursor }),
      heardMs: this.#heardToTheMinute(),
    };
    await this.#memory.keep(memory, isLast);
  }
}

const rounded = (value: number | undefined) => (value === undefined ? null : Math.round(value));

function isWithin(wanted: Interest, settled: Interest): boolean {
  return settled === 'all' || (wanted !== 'all' && wanted.every((name) => settled.includes(name)));
}
