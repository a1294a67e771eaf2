import { type Ahead, hasJoined, notJoined } from '../ahead.ts';
import type { Dot, Source } from '../dot.ts';
import { foldable, headById, headOf, isFolded, reaches } from '../fold.ts';
import type { Head } from '../state.ts';
import { Awaited } from './awaited.ts';
import { type Accepted, acceptedUpTo, type Cut } from './cut.ts';
import { Leases } from './leases.ts';
import { Promises } from './promises.ts';
import { Remnants } from './remnants.ts';
import { type Interest, isOfInterest, type NamespaceVector, type VectorReport } from './report.ts';
import { Skew } from './skew.ts';
import { covers, coversDot, distance, type Heads, missingFrom } from './vectors.ts';

/** What the outside tells the exchange. Peers go by the origin of their instance. */
export type ExchangeEvent =
  /** The durable members of the cluster, this instance left out. Only they can hold back a purge. */
  | {
      readonly type: 'members';
      readonly origins: readonly string[];
      /** By origin, what counts of those that were evicted once. */
      readonly cuts?: ReadonlyMap<string, Cut>;
    }
  | { readonly type: 'linked'; readonly peer: string }
  | { readonly type: 'unlinked'; readonly peer: string }
  /** The namespace's durable heads here, whole, after each change. */
  | { readonly type: 'heads'; readonly namespace: string; readonly vector: NamespaceVector }
  /** A peer's report: the answer to `ask`, or what came with its own asking. */
  | { readonly type: 'reported'; readonly report: VectorReport; readonly isAnswer: boolean }
  /** A peer could not be asked; its link's end is told apart. */
  | { readonly type: 'ask-failed'; readonly peer: string }
  /** How a pull or a bootstrap ended. What it brought is durable here, and `heads` has said so. */
  | { readonly type: 'pulled'; readonly pull: number; readonly outcome: PullOutcome }
  /** Something waits for news, or a gap was met: linked peers are asked now, whatever the interval. */
  | { readonly type: 'hurry' }
  /** A message plane was found, or lost: while it delivers, what it may still bring is not pulled at once. */
  | { readonly type: 'plane'; readonly isDelivering: boolean }
  /** Records of this origin do not come over the plane: a gap was met, or they were announced. They are pulled at once. */
  | { readonly type: 'left-out'; readonly namespace: string; readonly origin: string }
  /** Time has passed: about each 250 ms. */
  | { readonly type: 'tick' };

/** `trimmed`: the peer's log no longer reaches back that far. */
export type PullOutcome = 'done' | 'trimmed' | 'failed';

/** What the exchange asks of the outside. */
export type ExchangeEffect =
  /** Send the own report to a peer and hand in its answer as `reported`. */
  | { readonly type: 'ask'; readonly peer: string }
  /** Fetch records `after < seq <= upTo` of a source, apply them, wait until they are durable, then say `pulled`. */
  | {
      readonly type: 'pull';
      readonly pull: number;
      readonly peer: string;
      readonly namespace: string;
      readonly source: Source;
      readonly after: number;
      readonly upTo: number;
    }
  /** Fetch the whole namespace as states and join them in, then say `pulled`. */
  | {
      readonly type: 'bootstrap';
      readonly pull: number;
      readonly peer: string;
      readonly namespace: string;
      /** What the peer's states show beyond its vector: to be said with `advance`. */
      readonly ahead?: Ahead | undefined;
    }
  /** Move the own vector to this folded entry, durably, then say `heads`: nothing is to be fetched for it. */
  | { readonly type: 'fold'; readonly namespace: string; readonly head: Head }
  /** The namespace is held whole from now on: it may be read and decided upon. */
  | { readonly type: 'whole'; readonly namespace: string }
  /**
   * A peer was told that more of the namespace is held here than is: this store is an old copy. Others may have forgotten
   * deletions meanwhile of which it does not know, so the namespace must not count as whole.
   */
  | { readonly type: 'gone-back'; readonly peer: string; readonly namespace: string }
  /** Two instances settle this namespace's conflicts differently: it is not exchanged with that peer. */
  | {
      readonly type: 'mismatch';
      readonly peer: string;
      readonly namespace: string;
      readonly ours: string;
      readonly theirs: string;
    };

export interface ExchangeOptions {
  /** How often a linked peer is asked. Default of DESIGN §4: 1,000 ms. */
  readonly intervalMs: number;
  /** Pulls under way at once, over all peers. */
  readonly pullsMax: number;
  /** This instance, and which of its sources are over for certain: absent, it folds nothing of its own. */
  readonly self?: { readonly origin: string; readonly isClosed: (source: Source, nowMs: number) => boolean };
  /** How long a record that a peer reports may be missing before it is pulled, while a plane delivers. Default: 500 ms. */
  readonly planeGraceMs?: number;
  /** When members were last heard; default: their leases begin with the start. */
  readonly leases?: Leases;
}

interface Peer {
  isLinked: boolean;
  isAsking: boolean;
  /** When to ask next. */
  dueMs: number;
  /** When the question was put that the last answer answers: the report is at least that fresh. */
  askedMs: number;
  reportMs: number;
  /** Numbers of the question that was put last, and of that which the last answer answers. */
  question: number;
  answered: number;
  /** Whether a report of its came in since the start, whoever asked. */
  hasReported: boolean;
  readonly namespaces: Map<string, NamespaceVector>;
  /** Namespaces of which nothing could be fetched since the last report. */
  readonly failed: Set<string>;
  /** Members that it takes nothing more of, as it reported last. */
  evicted: ReadonlySet<string>;
  interest: Interest;
  isSettled: boolean;
  /** By namespace: the last time when all that the peer had reported was held here. */
  readonly confirmedMs: Map<string, number>;
}

interface Pull {
  readonly peer: string;
  readonly namespace: string;
  /** Undefined for a bootstrap, which covers all of the namespace's sources. */
  readonly source: Source | undefined;
}

/** Time after which a fold is asked for again of which nothing came, as while the disk is full. */
const foldRetryMs = 10_000;

/**
 * Anti-entropy at the level of the log (DESIGN §4, L1) as a deterministic state machine: compares vectors with every
 * peer, each interval and on connect, decides what to pull from whom, when a namespace is whole, which writes are known
 * everywhere, and how stale this instance may be. It never sees a record: that is the replica's matter.
 */
export class Exchange {
  readonly leases: Leases;
  readonly skew = new Skew();
  readonly #options: ExchangeOptions;
  readonly #own = new Map<string, NamespaceVector>();
  readonly #peers = new Map<string, Peer>();
  readonly #pulls = new Map<number, Pull>();
  /** Namespace and peer whose log is too short for us: a bootstrap is due. */
  readonly #tooShort = new Set<string>();
  readonly #mismatches = new Set<string>();
  readonly #remnants = new Remnants();
  readonly #promises = new Promises();
  readonly #awaited: Awaited;
  #members: readonly string[] = [];
  #cuts: ReadonlyMap<string, Cut> = new Map();
  #evicted: readonly string[] = [];
  /** Folds that were asked for, and when: not asked again until the own vector moves, or for a while where one failed. */
  readonly #folding = new Map<string, number>();
  #nextPull = 1;
  /** Questions put so far. */
  #questions = 0;
  #effects: ExchangeEffect[] = [];

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.leases = options.leases ?? new Leases(0);
    this.#awaited = new Awaited(options.planeGraceMs ?? 500);
  }

  step(event: ExchangeEvent, nowMs: number): readonly ExchangeEffect[] {
    switch (event.type) {
      case 'members':
        this.#members = [...event.origins].sort();
        this.#cuts = event.cuts ?? this.#cuts;
        this.#evicted = [...this.#cuts].flatMap(([origin, { isClosed }]) => (isClosed ? [origin] : []));
        this.leases.members(this.#members, nowMs);
        for (const origin of this.#members) this.#peer(origin, nowMs);
        for (const origin of this.#peers.keys())
          if (!this.#members.includes(origin)) {
            this.#peers.delete(origin);
            this.skew.forget(origin);
            this.#promises.forget(origin);
          }
        break;
      case 'linked': {
        const peer = this.#peer(event.peer, nowMs);
        peer.isLinked = true;
        peer.dueMs = nowMs;
        break;
      }
      case 'unlinked': {
        const peer = this.#peers.get(event.peer);
        if (peer) peer.isLinked = peer.isAsking = false;
        break;
      }
      case 'heads':
        this.#own.set(event.namespace, event.vector);
        this.#promises.moved(event.namespace, event.vector);
        this.#folding.clear();
        for (const peer of this.#peers.values()) this.#confirm(peer, event.namespace);
        break;
      case 'reported':
        this.#reported(event.report, event.isAnswer, nowMs);
        break;
      case 'ask-failed': {
        const peer = this.#peers.get(event.peer);
        if (peer) peer.isAsking = false;
        break;
      }
      case 'pulled':
        this.#pulled(event.pull, event.outcome);
        break;
      case 'plane':
        this.#awaited.isDelivering = event.isDelivering;
        break;
      case 'left-out':
        this.#awaited.leftOut(event.namespace, event.origin);
        break;
      case 'hurry':
        for (const peer of this.#peers.values()) peer.dueMs = nowMs;
        break;
      case 'tick':
        break;
    }
    this.#ask(nowMs);
    this.#fold(event, nowMs);
    this.#plan(nowMs);
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /**
   * Whether every member is known to hold a write: only then may its tombstone go. Members may under-report, never
   * over-report, and one that was never heard holds everything back.
   */
  isStable(namespace: string, dot: Dot): boolean {
    const own = this.#own.get(namespace);
    return this.#members.every((origin) => {
      const peer = this.#peers.get(origin);
      const vector = peer?.namespaces.get(namespace);
      // What the member had written before it saw the tombstone must be here as well: coming later, it would find
      // nothing that beats it. What it writes afterwards comes after the tombstone. What it still takes of an evicted
      // member, which need not have seen the tombstone, does not: until it knows, that member is waited for through it.
      if (vector !== undefined)
        return (
          this.#evicted.every((evicted) => peer!.evicted.has(evicted)) &&
          vector.isWhole &&
          // It may hold back this very tombstone, and write anew meanwhile what that will delete.
          vector.isHoldingBack !== true &&
          (coversDot(vector.heads, dot) || this.#hasTaken(namespace, vector, dot)) &&
          covers(own?.heads ?? emptyHeads, vector.heads)
        );
      // A member that takes no part in the namespace will never bring anything of it back.
      return peer?.isSettled === true && !isOfInterest(peer.interest, namespace);
    });
  }

  /** Whether this instance holds a namespace whole, as far as it was told or has found out. */
  isWholeHere(namespace: string): boolean {
    return this.#own.get(namespace)?.isWhole === true;
  }

  /**
   * Whether some settled peer has been heard, and everything that settled peers name satisfies the test. Where none is
   * settled, since several went back to old copies one after the other, all members have to be heard.
   */
  hasHeardAll(isWhole: (namespace: string) => boolean): boolean {
    const peers = [...this.#peers.values()];
    const settled = peers.filter(({ isSettled }) => isSettled);
    const telling = settled.length === 0 && this.#haveAllReported() ? peers : settled;
    return (
      telling.length > 0 &&
      telling.every(({ namespaces }) => [...namespaces.keys()].every((name) => !this.#own.has(name) || isWhole(name)))
    );
  }

  /**
   * Whether no member holds a namespace whole and each holds just what is held here, as all have said when asked twice:
   * nobody can bring more of it. To be asked again and again while it is being loaded.
   */
  isRemnant(namespace: string): boolean {
    const own = this.#own.get(namespace);
    if (own === undefined) return false;
    const taking = this.#members
      .map((origin) => this.#peers.get(origin))
      .filter((peer) => peer?.hasReported !== true || isOfInterest(peer.interest, namespace));
    const told = taking.map((peer) => {
      const vector = peer?.namespaces.get(namespace);
      return vector && { vector, question: peer!.answered };
    });
    return this.#remnants.isAll(namespace, own, told, this.#questions);
  }

  /** What a peer has gone back behind: an answer to it is to say so (`VectorReport.promised`). */
  promisedBy(origin: string): Map<string, Heads> {
    return this.#promises.brokenBy(origin, this.#own);
  }

  /** What a report to a peer is to say of the start (`VectorReport.started`). */
  startedFor(origin: string): Map<string, Heads> {
    return this.#promises.startedFor(origin);
  }

  /** Members that are evicted, as far as is known here: what a report tells others. */
  get evicted(): readonly string[] {
    return this.#evicted;
  }

  /** Whether every member has said that it takes nothing more of an evicted one. */
  isEvictedForAll(evicted: string): boolean {
    return this.#members.every((origin) => this.#peers.get(origin)?.evicted.has(evicted) === true);
  }

  /** How many members are known to hold a record, this instance left out. */
  holders(namespace: string, source: Source, seq: number): number {
    let count = 0;
    for (const origin of this.#members) {
      if (headOf(this.#peers.get(origin)?.namespaces.get(namespace)?.heads ?? emptyHeads, source) >= seq) count++;
    }
    return count;
  }

  /** Whether every member is known to hold a record. */
  isHeldByAll(namespace: string, source: Source, seq: number): boolean {
    return this.holders(namespace, source, seq) === this.#members.length;
  }

  /**
   * What of an origin's records is held here or at any other member, as far as those have reported: the least that its
   * eviction must accept. What only the origin itself has said to hold is not part of it.
   */
  heldOf(origin: string): Accepted {
    const held: Record<string, Record<string, number>> = {};
    const see = (namespace: string, heads: Heads) => {
      for (const [source, seq] of heads) {
        if (source.origin !== origin || seq === 0) continue;
        const seqs = (held[namespace] ??= {});
        seqs[source.id] = Math.max(seq, seqs[source.id] ?? 0);
      }
    };
    for (const [namespace, { heads }] of this.#own) see(namespace, heads);
    for (const [peer, { namespaces }] of this.#peers)
      if (peer !== origin) for (const [namespace, { heads }] of namespaces) see(namespace, heads);
    return held;
  }

  /**
   * Whether a member may be the only one that holds some of what counts of another, evicted before it: then its own
   * eviction, after which it returns with nothing but what it wrote itself, would lose that. One that has not reported
   * since the start may hold whatever nobody else has said to hold.
   */
  mayHoldAlone(origin: string): boolean {
    const member = this.#peers.get(origin);
    for (const { accepted } of this.#cuts.values()) {
      for (const [namespace, seqs] of Object.entries(accepted)) {
        const others = [...this.#peers].flatMap(([peer, { namespaces }]) =>
          peer === origin ? [] : [namespaces.get(namespace)?.heads ?? emptyHeads],
        );
        const own = this.#own.get(namespace)?.heads ?? emptyHeads;
        const told = member?.namespaces.get(namespace)?.heads ?? emptyHeads;
        for (const [id, last] of Object.entries(seqs)) {
          const theirs = member?.hasReported === true ? Math.min(last, headById(told, id)) : last;
          if ([own, ...others].every((heads) => headById(heads, id) < theirs)) return true;
        }
      }
    }
    return false;
  }

  /**
   * Whether a record of a member that was evicted will never come: it does not count, or whoever had it is no member any
   * more. States may show it all the same.
   */
  isStray(namespace: string, source: Source, seq: number): boolean {
    const counted = this.acceptedUpTo(namespace, source);
    if (counted === Number.POSITIVE_INFINITY) return false;
    const own = headOf(this.#own.get(namespace)?.heads ?? emptyHeads, source);
    return seq > counted || (seq > own && this.holders(namespace, source, seq) === 0);
  }

  /**
   * Whether a peer's states show strays that have not been joined in here. They are joined in then: all that stay are to
   * show the same, and nobody can take out of a state again what has come into it.
   */
  #lacksStrays(namespace: string, own: NamespaceVector, { ahead }: NamespaceVector, by?: string): boolean {
    return notJoined(own, ahead).some(
      ({ source, seq }) => (by === undefined || source.origin === by) && this.isStray(namespace, source, seq),
    );
  }

  /** Whether a stray that states show here is shown by another's states as well. */
  #hasTaken(namespace: string, theirs: NamespaceVector, { source, seq }: Dot): boolean {
    const ahead = this.#own.get(namespace)?.ahead;
    if (ahead === undefined || (ahead.heads.get(source) ?? 0) < seq) return false;
    return this.isStray(namespace, source, seq) && hasJoined(theirs.ahead, ahead);
  }

  /** Whether every member has reported here since the start. */
  #haveAllReported(): boolean {
    return this.#members.every((origin) => this.#peers.get(origin)?.hasReported === true);
  }

  /**
   * Whether this instance, which was evicted and came back, holds again what counts of what it wrote before: every member
   * has reported since the start, and what they hold of its records is here. A settled one of them may not have had all
   * of it yet. Before, what is offered again of an addition would count once more what is still to come.
   */
  hasRegained(origin: string): boolean {
    if (!this.#haveAllReported()) return false;
    for (const { namespaces } of this.#peers.values()) {
      for (const [namespace, theirs] of namespaces) {
        const own = this.#own.get(namespace);
        if (own === undefined) continue;
        for (const [source, seq] of theirs.heads) {
          const upTo = isFolded(seq) ? seq : Math.min(seq, this.acceptedUpTo(namespace, source));
          if (source.origin === origin && !reaches(own.heads, source, upTo)) return false;
        }
        if (this.#lacksStrays(namespace, own, theirs, origin)) return false;
      }
    }
    return true;
  }

  /** Latest time of what any member has said to have purged from a namespace. */
  purgedMs(namespace: string): number {
    return Math.max(
      this.#own.get(namespace)?.purgedMs ?? 0,
      ...[...this.#peers.values()].map(({ namespaces }) => namespaces.get(namespace)?.purgedMs ?? 0),
    );
  }

  /** The last record of a source that is accepted in a namespace, whoever offers it. */
  acceptedUpTo(namespace: string, source: Source): number {
    return acceptedUpTo(this.#cuts.get(source.origin), namespace, source);
  }

  /** By source, the record up to which all members hold everything: below it the log may be trimmed. */
  stableHeads(namespace: string): Map<Source, number> {
    const stable = new Map(this.#own.get(namespace)?.heads ?? []);
    for (const origin of this.#members) {
      const peer = this.#peers.get(origin);
      if (peer?.isSettled === true && !isOfInterest(peer.interest, namespace)) continue;
      const theirs = peer?.namespaces.get(namespace)?.heads;
      for (const [source, seq] of stable) stable.set(source, Math.min(seq, headOf(theirs ?? emptyHeads, source)));
    }
    return stable;
  }

  /**
   * Time since this instance last confirmed that it held all that each of its peers held. 0 without other members;
   * infinite while one of them was never heard.
   */
  stalenessMs(namespace: string, nowMs: number): number {
    let staleness = 0;
    for (const origin of this.#members) {
      const peer = this.#peers.get(origin);
      if (peer?.isSettled === true && !isOfInterest(peer.interest, namespace)) continue;
      const confirmed = peer?.confirmedMs.get(namespace);
      staleness = Math.max(staleness, confirmed === undefined ? Number.POSITIVE_INFINITY : nowMs - confirmed);
    }
    return Math.max(0, staleness);
  }

  /** What each peer has that is not here yet, by peer and namespace: records behind. For `status` and metrics. */
  lag(): { readonly peer: string; readonly namespace: string; readonly behind: number; readonly ahead: number }[] {
    const rows = [];
    for (const [peer, { namespaces }] of this.#peers) {
      for (const [namespace, theirs] of namespaces) {
        const mine = this.#own.get(namespace)?.heads ?? emptyHeads;
        rows.push({
          peer,
          namespace,
          behind: distance(mine, theirs.heads),
          ahead: distance(theirs.heads, mine),
        });
      }
    }
    return rows;
  }

  #peer(origin: string, nowMs: number): Peer {
    let peer = this.#peers.get(origin);
    if (!peer) {
      peer = {
        isLinked: false,
        isAsking: false,
        dueMs: nowMs,
        askedMs: Number.NEGATIVE_INFINITY,
        reportMs: Number.NEGATIVE_INFINITY,
        question: 0,
        answered: 0,
        hasReported: false,
        namespaces: new Map(),
        failed: new Set(),
        evicted: new Set(),
        interest: [],
        isSettled: false,
        confirmedMs: new Map(),
      };
      this.#peers.set(origin, peer);
    }
    return peer;
  }

  #reported(report: VectorReport, isAnswer: boolean, nowMs: number): void {
    const peer = this.#peers.get(report.origin);
    // An evicted member, or one that is not known yet: its word must neither hold anything back nor let anything go.
    if (!peer) return;
    if (isAnswer) {
      if (report.clockMs !== undefined) this.skew.measured(report.origin, report.clockMs, peer.askedMs, nowMs);
      peer.isAsking = false;
      peer.reportMs = peer.askedMs;
      peer.answered = peer.question;
    }
    peer.hasReported = true;
    this.leases.heard(report.origin, nowMs);
    for (const [origin, ageMs] of report.heardMs ?? []) this.leases.heard(origin, nowMs, ageMs);
    peer.failed.clear();
    peer.evicted = new Set(report.evicted);
    peer.interest = report.interest;
    peer.isSettled = report.isSettled;
    // A peer that was emptied and joins again no longer names what it had. Its earlier word would be pulled for ever, and
    // would let go what it is still to hear of.
    for (const namespace of peer.namespaces.keys())
      if (!report.namespaces.has(namespace)) peer.namespaces.delete(namespace);
    for (const [namespace, vector] of report.namespaces) {
      peer.namespaces.set(namespace, vector);
      this.#confirm(peer, namespace);
    }
    for (const namespace of this.#promises.reported(report, isAnswer, this.#own))
      this.#effects.push({ type: 'gone-back', peer: report.origin, namespace });
    // A peer that does not name a namespace has nothing of it, which is as good as being covered.
    for (const namespace of this.#own.keys()) {
      if (!report.namespaces.has(namespace)) peer.confirmedMs.set(namespace, peer.reportMs);
    }
  }

  /** Notes that all the peer has said to hold is held here as well; the moment it said so counts for `stalenessMs`. */
  #confirm(peer: Peer, namespace: string): void {
    const own = this.#own.get(namespace);
    const theirs = peer.namespaces.get(namespace);
    if (own && theirs && covers(own.heads, theirs.heads)) peer.confirmedMs.set(namespace, peer.reportMs);
  }

  #pulled(id: number, outcome: PullOutcome): void {
    const pull = this.#pulls.get(id);
    if (!pull) return;
    this.#pulls.delete(id);
    const pair = `${pull.namespace}/${pull.peer}`;
    if (outcome === 'trimmed') this.#tooShort.add(pair);
    if (outcome === 'done' && pull.source === undefined) this.#tooShort.delete(pair);
    if (outcome === 'done' && pull.source !== undefined) this.#awaited.pulled(pull.namespace, pull.source.origin);
    // A failed pull is tried again once the peer has been asked again: its link may be the reason. What it has reported
    // stands: forgetting that would make what is missing here look as if it did not exist.
    if (outcome === 'failed') this.#peers.get(pull.peer)?.failed.add(pull.namespace);
  }

  #ask(nowMs: number): void {
    for (const [origin, peer] of this.#peers) {
      // Further off than an interval: the clock has stepped back.
      const isDue = peer.dueMs <= nowMs || peer.dueMs > nowMs + this.#options.intervalMs;
      if (!peer.isLinked || peer.isAsking || !isDue) continue;
      peer.isAsking = true;
      peer.askedMs = nowMs;
      peer.question = ++this.#questions;
      peer.dueMs = nowMs + this.#options.intervalMs;
      this.#effects.push({ type: 'ask', peer: origin });
    }
  }

  /** Folds own closed epochs that all members hold, and what a peer has folded and is held here too. */
  #fold(event: ExchangeEvent, nowMs: number): void {
    const { self } = this.#options;
    if (event.type === 'tick' && self !== undefined) {
      const isClosed = (source: Source) => self.isClosed(source, nowMs);
      for (const [namespace, { heads, isWhole }] of this.#own) {
        // What is still to come here may be of an earlier start, which the entry would stand for.
        if (!isWhole) continue;
        const isHeldByAll = (source: Source, seq: number) =>
          this.#members.every((origin) => this.#holdsExactly(origin, namespace, source, seq));
        const head = foldable(heads, self.origin, isClosed, isHeldByAll);
        if (head !== undefined) this.#foldTo(namespace, head, nowMs);
      }
    }
    if (event.type !== 'reported') return;
    for (const [namespace, theirs] of event.report.namespaces) {
      const own = this.#own.get(namespace);
      if (own === undefined || own.strategy !== theirs.strategy) continue;
      for (const [source, seq] of theirs.heads)
        if (isFolded(seq) && headOf(own.heads, source) < seq && reaches(own.heads, source, seq))
          this.#foldTo(namespace, { source, seq }, nowMs);
    }
  }

  /** Whether a member takes no part in a namespace, or holds a source's records up to this one, and none beyond. */
  #holdsExactly(origin: string, namespace: string, source: Source, seq: number): boolean {
    const peer = this.#peers.get(origin);
    if (peer?.isSettled !== true) return false;
    const vector = peer.namespaces.get(namespace);
    return vector === undefined ? !isOfInterest(peer.interest, namespace) : vector.heads.get(source) === seq;
  }

  #foldTo(namespace: string, head: Head, nowMs: number): void {
    const name = `${namespace}/${head.source.id}/${head.seq}`;
    const askedMs = this.#folding.get(name);
    if (askedMs !== undefined && Math.abs(nowMs - askedMs) < foldRetryMs) return;
    this.#folding.set(name, nowMs);
    this.#effects.push({ type: 'fold', namespace, head });
  }

  /** Starts pulls for what linked peers have beyond us: each source of a namespace from one peer at a time. */
  #plan(nowMs: number): void {
    for (const [origin, peer] of this.#peers) {
      if (!peer.isLinked) continue;
      this.#settleUnnamed(peer);
      for (const [namespace, theirs] of peer.namespaces) {
        if (peer.failed.has(namespace)) continue;
        const own = this.#own.get(namespace);
        // No interest: records of other namespaces are none of ours.
        if (!own || !this.#agrees(origin, namespace, own, theirs)) continue;
        this.#planNamespace(origin, namespace, own, theirs, nowMs);
      }
    }
  }

  /** What a settled peer takes part in and does not name is empty there: then what is here is whole. */
  #settleUnnamed(peer: Peer): void {
    if (!peer.isSettled) return;
    for (const [namespace, own] of this.#own) {
      if (own.isWhole || peer.namespaces.has(namespace) || !isOfInterest(peer.interest, namespace)) continue;
      this.#whole(namespace, own);
    }
  }

  #whole(namespace: string, own: NamespaceVector): void {
    this.#own.set(namespace, { ...own, isWhole: true });
    this.#effects.push({ type: 'whole', namespace });
  }

  #planNamespace(
    origin: string,
    namespace: string,
    own: NamespaceVector,
    theirs: NamespaceVector,
    nowMs: number,
  ): void {
    const missing = missingFrom(own.heads, theirs.heads).flatMap((each) => {
      const upTo = isFolded(each.upTo) ? each.upTo : Math.min(each.upTo, this.acceptedUpTo(namespace, each.source));
      return upTo > each.after ? [{ ...each, upTo }] : [];
    });
    if (missing.length === 0 && !this.#lacksStrays(namespace, own, theirs)) {
      // Covered by one member that is whole itself: nothing that existed when it was asked is missing here.
      if (!own.isWhole && theirs.isWhole) this.#whole(namespace, own);
      return;
    }
    const isBusy = (source: Source | undefined) =>
      [...this.#pulls.values()].some(
        (pull) =>
          pull.namespace === namespace && (pull.source === undefined || source === undefined || pull.source === source),
      );
    // Which records were folded nobody knows any more: they come as states, as strays do.
    const isTooShort = this.#tooShort.has(`${namespace}/${origin}`) || missing.some(({ upTo }) => isFolded(upTo));
    if (isTooShort || missing.length === 0) {
      if (!isBusy(undefined)) {
        const pull = this.#start({ peer: origin, namespace, source: undefined });
        const { ahead } = theirs;
        if (pull !== undefined) this.#effects.push({ type: 'bootstrap', pull, peer: origin, namespace, ahead });
      }
      return;
    }
    for (const each of missing) {
      const { source, after } = each;
      if (isBusy(source)) continue;
      // One that is still loading waits for nothing: a plane does not bring what was written long ago.
      const upTo = own.isWhole ? this.#awaited.due(namespace, each, nowMs) : each.upTo;
      if (upTo <= after) continue;
      const pull = this.#start({ peer: origin, namespace, source });
      if (pull === undefined) return;
      this.#effects.push({ type: 'pull', pull, peer: origin, namespace, source, after, upTo });
    }
  }

  #start(pull: Pull): number | undefined {
    if (this.#pulls.size >= this.#options.pullsMax) return undefined;
    const id = this.#nextPull++;
    this.#pulls.set(id, pull);
    return id;
  }

  #agrees(peer: string, namespace: string, own: NamespaceVector, theirs: NamespaceVector): boolean {
    if (own.strategy === theirs.strategy) return true;
    const pair = `${namespace}/${peer}/${own.strategy}/${theirs.strategy}`;
    if (!this.#mismatches.has(pair)) {
      this.#mismatches.add(pair);
      this.#effects.push({ type: 'mismatch', peer, namespace, ours: own.strategy, theirs: theirs.strategy });
    }
    return false;
  }
}

const emptyHeads: Heads = new Map();
