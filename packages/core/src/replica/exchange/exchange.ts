import type { Ahead } from '../ahead.ts';
import type { Source } from '../dot.ts';
import { foldable, headOf, isFolded, reaches } from '../fold.ts';
import type { Head } from '../state.ts';
import { Awaited } from './awaited.ts';
import type { Cut } from './cut.ts';
import { Known, type Word } from './known.ts';
import { Leases } from './leases.ts';
import { Promises } from './promises.ts';
import { Remnants } from './remnants.ts';
import { isOfInterest, type NamespaceVector, type VectorReport } from './report.ts';
import { Skew } from './skew.ts';
import { type Heads, missingFrom } from './vectors.ts';

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
  readonly word: Word;
  isLinked: boolean;
  isAsking: boolean;
  /** When to ask next. */
  dueMs: number;
  /** When the question was put that the last answer answers: the report is at least that fresh. */
  askedMs: number;
  /** Numbers of the question that was put last, and of that which the last answer answers. */
  question: number;
  answered: number;
  /** Namespaces of which nothing could be fetched since the last report. */
  readonly failed: Set<string>;
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
 * Anti-entropy at the level of the log (DESIGN §4, L1) as a deterministic state machine: asks every peer for its vectors,
 * each interval and on connect, and decides what to pull from whom, when a namespace is whole, and what may be folded.
 * What members have said, and what follows from it (which writes are known everywhere, how stale this instance may be),
 * is `known`. It never sees a record: that is the replica's matter.
 */
export class Exchange {
  readonly known = new Known();
  readonly leases: Leases;
  readonly skew = new Skew();
  readonly #options: ExchangeOptions;
  readonly #peers = new Map<string, Peer>();
  readonly #pulls = new Map<number, Pull>();
  /** Namespace and peer whose log is too short for us: a bootstrap is due. */
  readonly #tooShort = new Set<string>();
  readonly #mismatches = new Set<string>();
  readonly #remnants = new Remnants();
  readonly #promises = new Promises();
  readonly #awaited: Awaited;
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
    const { known } = this;
    switch (event.type) {
      case 'members':
        known.joined(event.origins, event.cuts);
        this.leases.members(known.members, nowMs);
        for (const origin of known.members) this.#peer(origin, nowMs);
        for (const origin of this.#peers.keys())
          if (!known.words.has(origin)) {
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
        known.moved(event.namespace, event.vector);
        this.#promises.moved(event.namespace, event.vector);
        this.#folding.clear();
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
   * Whether no member holds a namespace whole and each holds just what is held here, as all have said when asked twice:
   * nobody can bring more of it. To be asked again and again while it is being loaded.
   */
  isRemnant(namespace: string): boolean {
    const own = this.known.own.get(namespace);
    if (own === undefined) return false;
    const taking = this.known.members
      .map((origin) => this.#peers.get(origin))
      .filter((peer) => peer?.word.hasReported !== true || isOfInterest(peer.word.interest, namespace));
    const told = taking.map((peer) => {
      const vector = peer?.word.namespaces.get(namespace);
      return vector && { vector, question: peer!.answered };
    });
    return this.#remnants.isAll(namespace, own, told, this.#questions);
  }

  /** What a peer has gone back behind: an answer to it is to say so (`VectorReport.promised`). */
  promisedBy(origin: string): Map<string, Heads> {
    return this.#promises.brokenBy(origin, this.known.own);
  }

  /** What a report to a peer is to say of the start (`VectorReport.started`). */
  startedFor(origin: string): Map<string, Heads> {
    return this.#promises.startedFor(origin);
  }

  #peer(origin: string, nowMs: number): Peer {
    let peer = this.#peers.get(origin);
    if (!peer) {
      peer = {
        word: this.known.meet(origin),
        isLinked: false,
        isAsking: false,
        dueMs: nowMs,
        askedMs: Number.NEGATIVE_INFINITY,
        question: 0,
        answered: 0,
        failed: new Set(),
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
      peer.answered = peer.question;
    }
    this.leases.heard(report.origin, nowMs);
    for (const [origin, ageMs] of report.heardMs ?? []) this.leases.heard(origin, nowMs, ageMs);
    peer.failed.clear();
    this.known.reported(report, isAnswer ? peer.askedMs : undefined);
    for (const namespace of this.#promises.reported(report, isAnswer, this.known.own))
      this.#effects.push({ type: 'gone-back', peer: report.origin, namespace });
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
      for (const [namespace, { heads, isWhole }] of this.known.own) {
        // What is still to come here may be of an earlier start, which the entry would stand for.
        if (!isWhole) continue;
        const isHeldByAll = (source: Source, seq: number) =>
          this.known.members.every((origin) => this.known.holdsExactly(origin, namespace, source, seq));
        const head = foldable(heads, self.origin, isClosed, isHeldByAll);
        if (head !== undefined) this.#foldTo(namespace, head, nowMs);
      }
    }
    if (event.type !== 'reported') return;
    for (const [namespace, theirs] of event.report.namespaces) {
      const own = this.known.own.get(namespace);
      if (own === undefined || own.strategy !== theirs.strategy) continue;
      for (const [source, seq] of theirs.heads)
        if (isFolded(seq) && headOf(own.heads, source) < seq && reaches(own.heads, source, seq))
          this.#foldTo(namespace, { source, seq }, nowMs);
    }
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
      this.#settleUnnamed(peer.word);
      for (const [namespace, theirs] of peer.word.namespaces) {
        if (peer.failed.has(namespace)) continue;
        const own = this.known.own.get(namespace);
        // No interest: records of other namespaces are none of ours.
        if (!own || !this.#agrees(origin, namespace, own, theirs)) continue;
        this.#planNamespace(origin, namespace, own, theirs, nowMs);
      }
    }
  }

  /** What a settled peer takes part in and does not name is empty there: then what is here is whole. */
  #settleUnnamed(word: Word): void {
    if (!word.isSettled) return;
    for (const [namespace, own] of this.known.own) {
      if (own.isWhole || word.namespaces.has(namespace) || !isOfInterest(word.interest, namespace)) continue;
      this.#whole(namespace, own);
    }
  }

  #whole(namespace: string, own: NamespaceVector): void {
    this.known.own.set(namespace, { ...own, isWhole: true });
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
      const upTo = isFolded(each.upTo)
        ? each.upTo
        : Math.min(each.upTo, this.known.acceptedUpTo(namespace, each.source));
      return upTo > each.after ? [{ ...each, upTo }] : [];
    });
    if (missing.length === 0 && !this.known.lacksStrays(namespace, own, theirs)) {
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
