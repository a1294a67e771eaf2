import { covers } from '../exchange/vectors.ts';
import type { Cuts } from './cuts.ts';
import type { DigestAnswer, DigestQuestion, LocalDigests, RootAnswer } from './questions.ts';
import { branchCount, digestWords, leavesPerBranch } from './tree.ts';

export interface ComparisonOptions {
  /** How often a peer's roots are compared. */
  readonly intervalMs: number;
  /** How soon again where the vectors differed meanwhile. */
  readonly retryMs: number;
  /** Time between the two comparisons that must agree on a leaf. */
  readonly confirmMs: number;
  /** A namespace whose vectors were never found equal for so long is compared although they differ. */
  readonly movingMs: number;
  /** Branches looked into at once. */
  readonly branchesMax: number;
}

export const comparisonDefaults: ComparisonOptions = {
  intervalMs: 10_000,
  retryMs: 1_000,
  confirmMs: 500,
  movingMs: 600_000,
  branchesMax: 64,
};

export type ComparisonEvent =
  | { readonly type: 'linked'; readonly peer: string }
  | { readonly type: 'unlinked'; readonly peer: string }
  | { readonly type: 'answered'; readonly id: number; readonly answer: DigestAnswer }
  /** A question that was not answered, or a fetch that did not end. */
  | { readonly type: 'failed'; readonly id: number }
  /** How many facts a fetch brought that were lost here. They are durable here. */
  | { readonly type: 'fetched'; readonly id: number; readonly repaired: number }
  /** Linked peers are compared with now. */
  | { readonly type: 'hurry' }
  /** Time has passed: about each 250 ms. */
  | { readonly type: 'tick' };

export type ComparisonEffect =
  /** Put a question to a peer; its answer is `answered` or `failed`. */
  | { readonly type: 'ask'; readonly id: number; readonly peer: string; readonly question: DigestQuestion }
  /** Fetch the states of all keys in these leaves, join in what `isLost` here, then say `fetched` or `failed`. */
  | {
      readonly type: 'fetch';
      readonly id: number;
      readonly peer: string;
      readonly namespace: string;
      readonly cuts: Cuts;
      readonly leaves: readonly number[];
    }
  /** Fetching brings nothing and the digests differ still: the own one may be wrong and is to be counted anew. */
  | { readonly type: 'recount'; readonly namespace: string };

/** What is known of a namespace at one peer. */
export interface ComparisonStatus {
  readonly peer: string;
  readonly namespace: string;
  /** When the digests were last found equal; undefined: not since the start. */
  readonly equalMs: number | undefined;
  /** Leaves that differed at the last look, two comparisons agreeing; 0 once they are equal. */
  readonly differing: number;
  /** Facts that were lost here and came back from there. */
  readonly repaired: number;
}

interface Progress {
  equalMs: number | undefined;
  differing: number;
  repaired: number;
  /** When it was last equal, or looked into. */
  settledMs: number;
  /** Not to be looked into before. */
  notBeforeMs: number;
  fruitless: number;
  /** Where the next look begins, so that branches that cannot be settled do not hide the others. */
  nextBranch: number;
  isMoving: boolean;
}

interface Talk {
  id: number;
  step: 'roots' | 'branches' | 'leaves' | 'wait' | 'confirm' | 'fetch';
  namespace: string;
  branches: readonly number[];
  suspects: ReadonlySet<number>;
  resumeMs: number;
}

interface Peer {
  isLinked: boolean;
  dueMs: number;
  talk: Talk | undefined;
  readonly queue: string[];
  readonly namespaces: Map<string, Progress>;
}

/** Looks that bring nothing until the own digest is doubted. */
const fruitlessMax = 4;

/**
 * Anti-entropy at the level of states (DESIGN §4, L2) as a deterministic state machine: compares digests with each
 * linked peer, goes down the tree where they differ, looks twice, since both sides move meanwhile, and has the states of
 * the leaves that differ both times fetched. Each side fetches what it lacks itself; nobody is told what to take.
 */
export class DigestComparison {
  readonly #options: ComparisonOptions;
  readonly #local: LocalDigests;
  readonly #peers = new Map<string, Peer>();
  #nextId = 1;
  #nowMs = 0;
  #effects: ComparisonEffect[] = [];

  constructor(local: LocalDigests, options: ComparisonOptions = comparisonDefaults) {
    this.#local = local;
    this.#options = options;
  }

  step(event: ComparisonEvent, nowMs: number): readonly ComparisonEffect[] {
    this.#nowMs = nowMs;
    switch (event.type) {
      case 'linked':
        this.#peer(event.peer).isLinked = true;
        break;
      case 'unlinked': {
        const peer = this.#peer(event.peer);
        peer.isLinked = false;
        this.#hangUp(peer);
        break;
      }
      case 'answered':
        this.#talking(event.id, (origin, peer, talk) => this.#answered(origin, peer, talk, event.answer));
        break;
      case 'failed':
        this.#talking(event.id, (_, peer) => this.#hangUp(peer));
        break;
      case 'fetched':
        this.#talking(event.id, (_, peer, talk) => this.#fetched(peer, talk, event.repaired));
        break;
      case 'hurry':
        for (const peer of this.#peers.values()) {
          peer.dueMs = nowMs;
          for (const progress of peer.namespaces.values()) progress.notBeforeMs = nowMs;
        }
        break;
      case 'tick':
        break;
    }
    for (const [origin, peer] of this.#peers) if (peer.isLinked) this.#proceed(origin, peer);
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  status(): ComparisonStatus[] {
    const rows: ComparisonStatus[] = [];
    for (const [peer, { namespaces }] of this.#peers)
      for (const [namespace, { equalMs, differing, repaired }] of namespaces)
        rows.push({ peer, namespace, equalMs, differing, repaired });
    return rows;
  }

  #peer(origin: string): Peer {
    let peer = this.#peers.get(origin);
    if (peer === undefined) {
      peer = { isLinked: false, dueMs: this.#nowMs, talk: undefined, queue: [], namespaces: new Map() };
      this.#peers.set(origin, peer);
    }
    return peer;
  }

  #progress(peer: Peer, namespace: string): Progress {
    let progress = peer.namespaces.get(namespace);
    if (progress === undefined) {
      progress = {
        equalMs: undefined,
        differing: 0,
        repaired: 0,
        settledMs: this.#nowMs,
        notBeforeMs: this.#nowMs,
        fruitless: 0,
        nextBranch: 0,
        isMoving: false,
      };
      peer.namespaces.set(namespace, progress);
    }
    return progress;
  }

  #talking(id: number, run: (origin: string, peer: Peer, talk: Talk) => void): void {
    for (const [origin, peer] of this.#peers)
      if (peer.talk?.id === id) {
        run(origin, peer, peer.talk);
        return;
      }
  }

  #hangUp(peer: Peer): void {
    peer.talk = undefined;
    peer.queue.length = 0;
    peer.dueMs = this.#nowMs + this.#options.intervalMs;
  }

  #proceed(origin: string, peer: Peer): void {
    const { talk } = peer;
    if (talk !== undefined) {
      if (talk.step === 'wait' && this.#nowMs >= talk.resumeMs) this.#askLeaves(origin, peer, talk, 'confirm');
      return;
    }
    const namespace = peer.queue.shift();
    if (namespace !== undefined) {
      const cuts = this.#local.cuts();
      this.#ask(origin, peer, 'branches', namespace, { kind: 'branches', cuts, namespace });
    } else if (this.#nowMs >= peer.dueMs) {
      const { digests } = this.#local;
      const namespaces = this.#local
        .names()
        .filter((name) => digests.isCounted(name) && this.#local.isWhole(name))
        .sort();
      peer.dueMs = this.#nowMs + this.#options.intervalMs;
      if (namespaces.length > 0)
        this.#ask(origin, peer, 'roots', '', { kind: 'roots', cuts: this.#local.cuts(), namespaces });
    }
  }

  #ask(origin: string, peer: Peer, step: Talk['step'], namespace: string, question: DigestQuestion): void {
    const id = this.#nextId++;
    peer.talk = { id, step, namespace, branches: [], suspects: new Set(), resumeMs: 0 };
    this.#effects.push({ type: 'ask', id, peer: origin, question });
  }

  #askLeaves(origin: string, peer: Peer, talk: Talk, step: 'leaves' | 'confirm'): void {
    const { namespace, branches, suspects } = talk;
    this.#ask(origin, peer, step, namespace, { kind: 'leaves', cuts: this.#local.cuts(), namespace, branches });
    Object.assign(peer.talk!, { branches, suspects });
  }

  #answered(origin: string, peer: Peer, talk: Talk, answer: DigestAnswer): void {
    if (answer.kind === 'roots') {
      if (talk.step !== 'roots') {
        this.#hangUp(peer);
        return;
      }
      peer.talk = undefined;
      for (const [name, theirs] of answer.namespaces) this.#compareRoots(peer, name, theirs, answer.cuts);
      return;
    }
    const expected = answer.kind === 'branches' ? branchCount : talk.branches.length * leavesPerBranch;
    const isExpected = answer.kind === 'branches' ? talk.step === 'branches' : /leaves|confirm/.test(talk.step);
    const view = this.#local.digests.view(talk.namespace, answer.cuts);
    if (!isExpected || view === undefined || answer.words.length !== expected * digestWords) {
      this.#hangUp(peer);
      return;
    }
    if (answer.kind === 'branches') {
      this.#lookInto(origin, peer, talk, differences(view.branches(), answer.words));
      return;
    }
    const found = differences(view.leaves(talk.branches), answer.words).map(
      (at) => talk.branches[at >>> 8]! * leavesPerBranch + (at & 255),
    );
    if (talk.step === 'leaves') {
      if (found.length === 0) {
        this.#settled(peer, talk.namespace);
        return;
      }
      Object.assign(talk, { step: 'wait', suspects: new Set(found), resumeMs: this.#nowMs + this.#options.confirmMs });
      return;
    }
    const leaves = found.filter((leaf) => talk.suspects.has(leaf));
    const progress = this.#progress(peer, talk.namespace);
    progress.differing = leaves.length;
    if (leaves.length === 0) {
      this.#settled(peer, talk.namespace);
      return;
    }
    talk.step = 'fetch';
    const { id, namespace } = talk;
    this.#effects.push({ type: 'fetch', id, peer: origin, namespace, cuts: answer.cuts, leaves });
  }

  #compareRoots(peer: Peer, name: string, { strategy, heads, root }: RootAnswer, cuts: Cuts): void {
    const view = this.#local.digests.view(name, cuts);
    // Instances that settle conflicts differently do not exchange the namespace at all.
    if (view === undefined || strategy !== this.#local.strategyOf(name)) return;
    const progress = this.#progress(peer, name);
    const own = this.#local.headsOf(name);
    progress.isMoving = !covers(own, heads) || !covers(heads, own);
    if (differences(view.root, root).length === 0) {
      Object.assign(progress, { equalMs: this.#nowMs, settledMs: this.#nowMs, differing: 0, fruitless: 0 });
      return;
    }
    if (progress.isMoving && this.#nowMs - progress.settledMs < this.#options.movingMs) {
      peer.dueMs = Math.min(peer.dueMs, this.#nowMs + this.#options.retryMs);
      return;
    }
    if (this.#nowMs >= progress.notBeforeMs) peer.queue.push(name);
  }

  #lookInto(origin: string, peer: Peer, talk: Talk, differing: readonly number[]): void {
    if (differing.length === 0) {
      this.#settled(peer, talk.namespace);
      return;
    }
    const progress = this.#progress(peer, talk.namespace);
    const first = differing.findIndex((branch) => branch >= progress.nextBranch);
    const rotated = first < 0 ? differing : [...differing.slice(first), ...differing.slice(0, first)];
    const branches = rotated.slice(0, this.#options.branchesMax);
    progress.nextBranch = (branches.at(-1)! + 1) % branchCount;
    this.#askLeaves(origin, peer, { ...talk, branches }, 'leaves');
  }

  /** What differed a moment ago does not any more: it was on its way. */
  #settled(peer: Peer, namespace: string): void {
    peer.talk = undefined;
    this.#progress(peer, namespace).settledMs = this.#nowMs;
  }

  #fetched(peer: Peer, talk: Talk, repaired: number): void {
    const { intervalMs } = this.#options;
    const progress = this.#progress(peer, talk.namespace);
    peer.talk = undefined;
    progress.settledMs = this.#nowMs;
    progress.repaired += repaired;
    if (repaired > 0) {
      // There may be more behind the bound on branches.
      progress.fruitless = 0;
      peer.dueMs = this.#nowMs;
      return;
    }
    // The other side lacks something, and fetches it itself; if that does not help, something is wrong with a digest.
    progress.fruitless++;
    progress.notBeforeMs = this.#nowMs + intervalMs * 2 ** Math.min(progress.fruitless, 6);
    if (progress.fruitless % fruitlessMax === 0 && !progress.isMoving)
      this.#effects.push({ type: 'recount', namespace: talk.namespace });
  }
}

/** Places of the digests that differ. */
function differences(ours: Int32Array, theirs: Int32Array): number[] {
  const places: number[] = [];
  for (let at = 0; at < ours.length; at += digestWords) {
    for (let word = 0; word < digestWords; word++) {
      if (ours[at + word] === theirs[at + word]) continue;
      places.push(at / digestWords);
      break;
    }
  }
  return places;
}
