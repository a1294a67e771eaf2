import {
  ByteWriter,
  Cell,
  decodeCell,
  encodeCell,
  type FeedEvent,
  headById,
  join,
  type KeyState,
  moveHead,
  type Source,
  Sources,
  type Strategy,
} from '../../replica/index.ts';
import { namespaceOf, shown } from './checks.ts';
import type { Follower } from './feeds.ts';
import type { Instance } from './instance.ts';
import type { Reach } from './oracle.ts';
import { type Action, type Plan, strategies } from './plan.ts';
import { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

export type FollowAction = Extract<Action, { readonly do: 'follow' }>;

const share = 0.6;
const followersMax = 3;
const followSeed = 0xf0110;

/**
 * Adds to a share of the plans subscribers that move between instances and stay away at times. From a generator of its
 * own, so that the rest of a plan stays as it was drawn. None where an instance may take back what it told: under `wal`
 * a power cut takes the last second, and a disk that lied or went back takes more; of two on copies of a directory each
 * gives out places in a log that is not the other's.
 */
export function drawFollowers(plan: Plan, endMs: number): Plan {
  const { seed, members, durability, actions } = plan;
  const random = new Random(seed ^ followSeed);
  const isTakenBack = durability !== 'fsync' || actions.some(({ do: what }) => /^(lie|restore|clone)$/.test(what));
  const whole = [...members.keys()].filter((at) => members[at]!.interest === 'all');
  const written = [...new Set(actions.flatMap((each) => (each.do === 'write' ? [each.writes[0]!.namespace] : [])))];
  if (!random.chance(share) || isTakenBack || written.length === 0) return plan;
  const follows: FollowAction[] = [];
  for (let follower = random.int(1, followersMax); follower > 0; follower--) {
    const namespace = random.pick(written);
    const home = random.pick(whole);
    const roams = random.chance(0.6);
    for (let atMs = random.int(0, 5_000); atMs < endMs; atMs += random.int(500, 12_000)) {
      const at = roams ? random.pick(whole) : home;
      const forMs = random.chance(0.5) ? random.int(0, 300) : random.int(300, 6_000);
      follows.push({ do: 'follow', follower, namespace, at, atMs, forMs });
    }
  }
  const all = [...actions, ...follows].sort((a, b) => a.atMs - b.atMs);
  return { ...plan, actions: all, calmMs: Math.max(plan.calmMs, ...follows.map(({ atMs, forMs }) => atMs + forMs)) };
}

export interface FollowersOptions {
  readonly scheduler: Scheduler;
  readonly instanceOf: (at: number) => Instance;
  readonly keysOf: (namespace: string) => readonly string[];
  /** What a key holds where everything within reach is applied, deletions that are forgotten since included. */
  readonly expected: (key: string, reach: Reach) => KeyState | undefined;
  /** Whether a fact vanished from a disk without a trace and is not found again yet. */
  readonly isLost: (key: string) => boolean;
  /** Whether it vanished from the disk of this instance, and is not there again. */
  readonly isLostAt: (key: string, at: number) => boolean;
  /** Whether an instance's disk ever did. */
  readonly wasLostAt: (key: string, at: number) => boolean;
  readonly problem: (problem: string) => void;
}

const retryMs = 300;

/** Subscribers that build a copy of a namespace from what they are told, wherever they are connected. */
export class Followers {
  readonly #options: FollowersOptions;
  readonly #byNumber = new Map<number, Copy>();

  constructor(options: FollowersOptions) {
    this.#options = options;
  }

  follow({ follower, namespace, at, forMs }: FollowAction): void {
    let copy = this.#byNumber.get(follower);
    if (copy === undefined) this.#byNumber.set(follower, (copy = new Copy(namespace, this.#options)));
    copy.goTo(at, forMs);
  }

  /** Nobody stays with an instance that is gone for good. @param isGone whether it is, @param to who stays */
  calm(isGone: (at: number) => boolean, to: number): void {
    for (const copy of this.#byNumber.values()) if (isGone(copy.at)) copy.goTo(to, 0);
  }

  /** Whether each is connected and has been told all there is. */
  get areSettled(): boolean {
    return [...this.#byNumber.values()].every((copy) => copy.isSettled);
  }

  /** In the end, what each was told last of each key is what readers see. */
  check(): void {
    for (const copy of this.#byNumber.values()) copy.check();
  }
}

/** One of them. Goes on as the SDK does: from what it was told last, and the last bookmark for where that is unknown. */
class Copy implements Follower {
  readonly namespace: string;
  at = 0;
  readonly #options: FollowersOptions;
  /** What it was told last, by key. */
  readonly #cells = new Map<string, Cell>();
  /** How far bookmarks have said that it was told everything, by source: what it was not told of is as of then. */
  readonly #reach = new Map<Source, number>();
  readonly #sources = new Sources();
  /** The readers' clock of the instance that gave it a snapshot, as that began. */
  #snapshotMs = 0;
  /** Keys that it was told of in this session. */
  readonly #told = new Set<string>();
  /** What it was told cannot be read. */
  readonly #damaged = new Set<string>();
  /**
   * Facts that the instance had lost when it said that all of it was told. Where they are found again, they are told; who
   * is elsewhere by then, with a bookmark that covers them, is not (docs/replication.md, limits).
   */
  readonly #unseen = new Set<string>();
  #token: string | undefined;
  #bookmark: string | undefined;
  #instance: Instance | undefined;
  /** Counts connections: what an earlier one waits for is of no interest any more. */
  #connections = 0;

  constructor(namespace: string, options: FollowersOptions) {
    this.namespace = namespace;
    this.#options = options;
  }

  goTo(at: number, afterMs: number): void {
    this.#instance?.feeds.leave(this);
    this.#instance = undefined;
    this.at = at;
    this.#connectLater(afterMs);
  }

  get isSettled(): boolean {
    return this.#instance?.feeds.isIdle(this) === true;
  }

  ended(): void {
    this.#instance = undefined;
    this.#connectLater(retryMs);
  }

  tell(event: FeedEvent): void {
    const { token } = event;
    switch (event.type) {
      case 'change':
        this.#change(event.key, event.cell);
        break;
      case 'resync':
        this.#beginSnapshot();
        this.#cells.clear();
        this.#reach.clear();
        this.#told.clear();
        this.#damaged.clear();
        this.#unseen.clear();
        break;
      case 'bookmark':
        this.#bookmark = token;
        break;
      case 'damaged':
        if (event.key !== undefined) this.#damaged.add(event.key);
        break;
      case 'superseded':
    }
    this.#token = this.#bookmark === undefined || this.#bookmark === token ? token : `${token},${this.#bookmark}`;
    if (event.type === 'bookmark') this.#marked(token);
  }

  check(): void {
    if (!this.isSettled) {
      this.#options.problem('a subscriber was not told everything in time');
      return;
    }
    this.#compare('a subscriber was not told what readers see', () => false);
  }

  #connectLater(afterMs: number): void {
    const connection = ++this.#connections;
    this.#options.scheduler.after(afterMs, () => {
      if (connection === this.#connections) this.#connect();
    });
  }

  #connect(): void {
    const instance = this.#options.instanceOf(this.at);
    if (!instance.isUp || instance.holdings.lackOf(this.namespace) !== undefined) {
      this.#connectLater(retryMs);
      return;
    }
    this.#instance = instance;
    this.#told.clear();
    if (this.#token === undefined) this.#beginSnapshot();
    instance.feeds.follow(this, this.#token);
  }

  #beginSnapshot(): void {
    const { replica, wallMs } = this.#instance!;
    this.#snapshotMs = replica.readMs(wallMs);
  }

  #change(key: string, cell: Cell): void {
    const { problem } = this.#options;
    const { replica, wallMs } = this.#instance!;
    const { state, view } = cell;
    if (state === undefined || view === undefined) {
      problem('a subscriber was told of a change to nothing');
      return;
    }
    const before = this.#cells.get(key);
    // Of a fact that its disk lost, what comes late may be all there is until it is found again, and the log tells so later.
    const isLost = this.#options.isLost(key) || this.#options.wasLostAt(key, this.at);
    // An older deletion that is offered again once what it was told has expired and is forgotten takes nothing back.
    const nowMs = replica.readMs(wallMs);
    const isOver = before?.seenAt(nowMs) === undefined && cell.seenAt(nowMs) === undefined;
    if (!isLost && !isOver && this.#told.has(key) && before?.state?.kind === state.kind) {
      const known = shownOf(before);
      const together = new Cell(join(before.state, state), 0, replica.strategyOf(namespaceOf(key)));
      if (shownOf(cell) !== known && shownOf(together) === known)
        problem(`events of a key in \`${this.namespace}\` went back: ${shownOf(cell)} after ${known}`);
    }
    this.#told.add(key);
    this.#damaged.delete(key);
    this.#unseen.delete(key);
    this.#cells.set(key, cell);
  }

  /**
   * A bookmark says that all of it was told: where nothing came behind it, the copy is what readers see, or later where
   * another instance, which was ahead, told it.
   */
  #marked(token: string): void {
    for (const key of this.#options.keysOf(this.namespace))
      if (this.#options.isLostAt(key, this.at)) this.#unseen.add(key);
    const { replica, feeds } = this.#instance!;
    const { commit, tag, isPartial, vector = new Map() } = replica.parseToken(token)!;
    for (const [{ origin, epoch }, seq] of vector) moveHead(this.#reach, this.#sources.of(origin, epoch), seq);
    // States that came in are told by a resync, which is yet to begin; and what is in an uncertain batch nobody knows.
    const joined = replica.joinedTag(this.namespace, commit);
    if (commit !== feeds.head || (isPartial ? tag : undefined) !== joined || replica.fence !== undefined) return;
    this.#compare('a bookmark passed over what readers see', isLater);
  }

  #compare(problem: string, isExcused: (have: Cell, seen: Cell, strategy: Strategy) => boolean): void {
    const instance = this.#instance!;
    const nowMs = instance.replica.readMs(instance.wallMs);
    for (const key of new Set([...this.#cells.keys(), ...this.#options.keysOf(this.namespace)])) {
      const cell = instance.read(key);
      if (cell === undefined || cell === 'damaged' || this.#damaged.has(key) || this.#options.isLost(key)) continue;
      if (this.#unseen.has(key)) continue;
      const want = shown(cell.seenAt(nowMs));
      const told = this.#cells.get(key);
      const have = shown(told?.seenAt(nowMs));
      if (want !== have && !isExcused(told ?? this.#untold(key, nowMs), cell, strategies[this.namespace]!))
        this.#options.problem(`${problem}: ${have}, not ${want}, in \`${this.namespace}\``);
    }
  }

  /**
   * Why it was told nothing of a key that its bookmarks cover: a snapshot names no key that holds nothing any more, and
   * other instances than the one that gave it may not have heard yet what ended there, and where clocks are behind its
   * own, what had expired there still shows.
   */
  #untold(key: string, nowMs: number): Cell {
    const strategy = strategies[this.namespace]!;
    const state = this.#options.expected(key, (_, sourceId) => headById(this.#reach, sourceId));
    const cell = new Cell(state, 0, strategy);
    return cell.seenAt(Math.max(nowMs, this.#snapshotMs)) === undefined ? cell : new Cell(undefined, 0, strategy);
  }
}

/** Whether a state includes another; of different instances. */
function isLater(have: Cell, seen: Cell, strategy: Strategy): boolean {
  if (have.state === undefined || have.state.kind !== seen.state?.kind) return seen.state === undefined;
  const sources = new Sources();
  const [ours, theirs] = [have, seen].map((cell) => decodeCell(encodeCell(cell, new ByteWriter()), sources, strategy));
  return shownOf(new Cell(join(ours!.state, theirs!.state!), 0, strategy)) === shownOf(have);
}

/** Expiry aside. */
const shownOf = (cell: Cell) => shown(cell.seenAt(0));
