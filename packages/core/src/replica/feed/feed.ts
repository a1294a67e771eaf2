import type { Cell } from '../cell.ts';
import type { Commit } from '../events.ts';
import type { Heads } from '../exchange/vectors.ts';
import type { Replica } from '../replica.ts';
import { noTag } from '../token.ts';
import { eventsOf, type FeedEvent } from './events.ts';
import { ToldAhead } from './told-ahead.ts';

/** Where a follower begins: see `FeedOptions`. */
export type FeedStart = { readonly after: number } | { readonly beyond: Heads } | 'existing' | 'resync';

/** Some commits of a namespace from the log, others passed over. `upTo`: how far it was read. */
export interface LogPart {
  readonly commits: readonly Commit[];
  readonly upTo: number;
}

/** A cell that a scan met; at its end, keys of rows that are damaged. */
export type FeedScanned =
  | { readonly key: string; readonly cell: Cell }
  | { readonly damaged: readonly (string | undefined)[] };

/** What a feed asks of the outside, one at a time: carried out and answered by `take` before the feed goes on. */
export type FeedStep =
  | { readonly type: 'tell'; readonly event: FeedEvent }
  /** Some commits after one; undefined where the log does not go back that far. */
  | { readonly type: 'read-log'; readonly after: number; readonly take: (found: LogPart | undefined) => void }
  /** What tells a commit from others of its number; undefined where it is not known any more. */
  | { readonly type: 'tag'; readonly commit: number; readonly take: (tag: string | undefined) => void }
  /**
   * The next that matches of all there is. `isFirst` begins a scan as of the very tick in which it is asked for, and
   * gives up one under way.
   */
  | { readonly type: 'scan'; readonly isFirst: boolean; readonly take: (found: FeedScanned) => void }
  /** Keys that records outside of a vector wrote, with what they hold; undefined where the log does not tell. */
  | {
      readonly type: 'changed-since';
      readonly vector: Heads;
      readonly take: (changed: ReadonlyMap<string, Cell> | undefined) => void;
    };

export type FeedSteps = Generator<FeedStep, void, void>;

export interface FeedOptions {
  readonly namespace: string;
  readonly matches: (key: string) => boolean;
  readonly replica: Pick<Replica, 'tokenOf' | 'bookmark' | 'visibleHeads' | 'aheadOf' | 'joinedTag' | 'hasDamage'>;
  /** The newest commits. */
  readonly recent: { readonly head: number; after(commit: number): readonly Commit[] | undefined };
  /** The readers' clock. */
  readonly readMs: () => number;
  /** Whether followers may go on at other instances: bookmarks carry a vector then. */
  readonly isClustered: () => boolean;
  /**
   * Where to start: after a commit, with what changed outside of a vector that another instance gave out, with what is
   * there, or with what is there because the tokens that the follower came with could not be honoured.
   */
  readonly start: FeedStart;
}

/** Where a follower stands that was told everything there was. */
interface Place {
  readonly commit: number;
  /** Of the states that came in behind the commit. */
  readonly joined: string | undefined;
  /** What everything amounts to, for other instances; nothing where there are none. */
  readonly vector: Heads | undefined;
}

/**
 * What one follower of a namespace is told, as a deterministic state machine. It has a place among the commits and walks
 * them at its follower's pace: from memory while it keeps up, from the log when it does not, and by a snapshot when even
 * the log no longer goes back to its place. Nothing waits for it and nothing is queued for it.
 *
 * Each method that returns steps is carried out to its end, one step at a time; of `start` and `run` only one at once.
 */
export class Feed {
  readonly #options: FeedOptions;
  /** Every matching event up to this commit was told. */
  #position: number;
  /** Whether it has caught up. */
  #isIdle = false;
  #isEnded = false;
  /** States came in that no commit tells of. */
  #mustResync = false;
  /** Whether anything was told since the last bookmark. */
  #hasTold = false;
  readonly #ahead = new ToldAhead();

  constructor(options: FeedOptions) {
    this.#options = options;
    const { start, recent } = options;
    this.#position = typeof start === 'object' && 'after' in start ? start.after : recent.head;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  end(): void {
    this.#isEnded = true;
  }

  /** A commit with a matching change was appended. @returns whether `run` is due */
  wake(commit: number): boolean {
    if (!this.#isIdle || this.#isEnded) return false;
    // What came in between did not match: it is passed over without a look.
    this.#position = Math.max(this.#position, commit - 1);
    return true;
  }

  /** Keys changed that no commit tells of: what there is now is to be told. @returns whether `run` is due */
  resync(): boolean {
    this.#mustResync = true;
    return this.#isIdle && !this.#isEnded;
  }

  *start(): FeedSteps {
    const { start } = this.#options;
    this.#isIdle = false;
    if (start === 'existing') yield* this.#tellExisting(false);
    else if (start === 'resync') yield* this.#tellExisting(true);
    else if ('beyond' in start) yield* this.#tellChanged(start.beyond);
    yield* this.run();
  }

  *run(): FeedSteps {
    this.#isIdle = false;
    while (!this.#isEnded && (this.#mustResync || this.#position < this.#options.recent.head)) {
      if (this.#mustResync) yield* this.#tellExisting(true);
      else yield* this.#tellNext();
    }
    this.#ahead.clear();
    this.#isIdle = true;
  }

  /** Tells an idle follower how far it is, so that it need not read all of that again after a reconnect. */
  *bookmark(): FeedSteps {
    const { recent, isClustered } = this.#options;
    const isBehind = this.#position < recent.head || (isClustered() && this.#hasTold);
    if (!this.#isIdle || this.#isEnded || !isBehind) return;
    this.#position = recent.head;
    yield* this.#mark(this.#place(), () => this.#isIdle);
  }

  /** Tells the place after a commit. @param isStillSo looked at after waiting */
  *#mark({ commit, joined, vector }: Place, isStillSo: () => boolean = () => true): FeedSteps {
    const { replica, namespace } = this.#options;
    const found: { tag?: string | undefined } = {};
    yield { type: 'tag', commit, take: (tag) => void (found.tag = tag) };
    if (found.tag === undefined || this.#isEnded || !isStillSo()) return;
    this.#hasTold = false;
    yield tell({ type: 'bookmark', token: replica.bookmark(namespace, commit, found.tag, vector, joined) });
  }

  /** The place after everything that there is in this tick. */
  #place(): Place {
    const { isClustered, replica, namespace, recent } = this.#options;
    const commit = recent.head;
    // What was written to a damaged row was not told: whoever goes on elsewhere must not count as having heard it. And what
    // states show beyond the vector was told: elsewhere it need not be, and what is told there may take it back.
    const isExact = isClustered() && !replica.hasDamage(namespace) && !this.#isAhead;
    const vector = isExact ? replica.visibleHeads(namespace) : undefined;
    return { commit, vector, joined: replica.joinedTag(namespace, commit) };
  }

  /** Whether states that came in show what the vector does not cover yet, or never will. */
  get #isAhead(): boolean {
    const { replica, namespace } = this.#options;
    return replica.aheadOf(namespace) !== undefined;
  }

  *#tellNext(): FeedSteps {
    const commits = this.#options.recent.after(this.#position);
    if (commits !== undefined) {
      for (const commit of commits) yield* this.#tellCommit(commit);
      return;
    }
    const older: { part?: LogPart | undefined } = {};
    const { head } = this.#options.recent;
    yield { type: 'read-log', after: this.#position, take: (part) => void (older.part = part) };
    if (older.part === undefined) {
      yield* this.#tellExisting(true);
      return;
    }
    for (const commit of older.part.commits) yield* this.#tellCommit(commit, head);
    this.#position = Math.max(this.#position, older.part.upTo);
  }

  /** @param mergedUpTo of a commit from the log: the last one that what merges gave, as it is told, includes for certain */
  *#tellCommit(commit: Commit, mergedUpTo?: number): FeedSteps {
    const { namespace, matches, replica } = this.#options;
    if (this.#isEnded) return;
    if (commit.record.namespace === namespace)
      for (const event of eventsOf(commit, matches, replica)) {
        if (event.type === 'change') {
          const { key, cell } = event;
          // It was told already, as part of what came behind it.
          if (this.#ahead.includes(key, cell, commit.number)) continue;
          this.#hasTold = true;
          const isMerged = commit.changes.some((change) => change.key === key && change.effect === 'merged');
          if (mergedUpTo !== undefined && isMerged) this.#ahead.add(key, cell, mergedUpTo);
        }
        yield tell(event);
        if (this.#isEnded) return;
      }
    this.#position = commit.number;
  }

  /** Everything that matches now, as changes, then what happened meanwhile. */
  *#tellExisting(isResync: boolean): FeedSteps {
    const { readMs } = this.#options;
    this.#mustResync = false;
    this.#ahead.clear();
    const token = this.#nowhere;
    if (isResync) yield tell({ type: 'resync', token });
    const nowMs = readMs();
    // In the tick in which the scan begins: what follows is everything after it and nothing before.
    const place = this.#place();
    for (
      let isFirst = true, damaged: readonly (string | undefined)[] | undefined;
      damaged === undefined;
      isFirst = false
    ) {
      const next: { found?: FeedScanned } = {};
      yield { type: 'scan', isFirst, take: (found) => void (next.found = found) };
      if (this.#isEnded || next.found === undefined) return;
      if ('damaged' in next.found) {
        ({ damaged } = next.found);
        for (const key of damaged) yield tell({ type: 'damaged', key, token });
      } else if (next.found.cell.seenAt(nowMs) !== undefined)
        yield this.#change(next.found.key, next.found.cell, token);
    }
    this.#position = place.commit;
    if (isResync || place.vector !== undefined) yield* this.#mark(place);
  }

  /** What a follower that comes from another instance has not seen, then what happened meanwhile. */
  *#tellChanged(beyond: Heads): FeedSteps {
    // What states show beyond the vector no record here tells of, and as one that comes later it changes nothing any more.
    if (this.#isAhead) {
      yield* this.#tellExisting(true);
      return;
    }
    const place = this.#place();
    const found: { changed?: ReadonlyMap<string, Cell> | undefined } = {};
    yield { type: 'changed-since', vector: beyond, take: (changed) => void (found.changed = changed) };
    if (found.changed === undefined) {
      yield* this.#tellExisting(true);
      return;
    }
    const token = this.#nowhere;
    for (const [key, cell] of found.changed) {
      if (this.#isEnded) return;
      yield this.#change(key, cell, token);
      this.#ahead.add(key, cell, place.commit);
    }
    this.#position = place.commit;
    yield* this.#mark(place);
  }

  /**
   * A token to come back with before all of it is told. The place that the follower came with is no place any more: what
   * it holds of some keys is what this instance holds, which the one that gave that place out may never hear of.
   */
  get #nowhere(): string {
    const { replica, namespace } = this.#options;
    return replica.bookmark(namespace, 0, noTag);
  }

  #change(key: string, cell: Cell, token: string): FeedStep {
    this.#hasTold = true;
    return tell({ type: 'change', key, cell, token });
  }
}

const tell = (event: FeedEvent): FeedStep => ({ type: 'tell', event });
