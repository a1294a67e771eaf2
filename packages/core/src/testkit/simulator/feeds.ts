import {
  type Cell,
  commitKey,
  decodeCell,
  decodeCommit,
  decodeRecord,
  Feed,
  type FeedEvent,
  type FeedStart,
  type FeedStep,
  type FeedSteps,
  type Heads,
  type LogPart,
  type LogRecord,
  liveKey,
  logKey,
  mergedKeys,
  RecentCommits,
  type Replica,
  rangesBeyond,
  reviveCommit,
  type Source,
  startOf,
  WrittenKeys,
} from '../../replica/index.ts';
import type { Disk } from './disk.ts';
import type { Random } from './random.ts';
import { isRecord, type RecordName } from './state-repair.ts';
import type { Applied } from './store-driver.ts';

export interface FeedsOptions {
  readonly disk: Disk;
  readonly replica: Replica;
  readonly random: Random;
  readonly wallMs: () => number;
  readonly later: (delayMs: number, run: () => void) => void;
  /** What readers see of a key. */
  readonly read: (key: string) => Cell | 'damaged';
  readonly onDamaged: (key: string) => void;
  readonly onRecordDamaged: (name: RecordName) => void;
  /** Where a follower goes on that came with tokens; for mutations. */
  readonly resumed: (start: FeedStart, head: number) => FeedStart;
}

/** Whoever follows a namespace. */
export interface Follower {
  readonly namespace: string;
  tell(event: FeedEvent): void;
  /** The session is over: to go on, it comes with the tokens that it was told last. */
  ended(): void;
}

interface Session {
  readonly feed: Feed;
  /** Steps that are being carried out. */
  stepsCount: number;
  /** What the scan under way is still to give. */
  cells: { readonly key: string; readonly cell: Cell }[];
  damaged: string[];
}

/** So few that a follower that is slow reads the log. */
const recentBounds = { bytesMax: 1 << 20, commitsMax: 8 };
const readMax = 5;
const slowMaxMs = 400;

/** The subscriptions of one life of a simulated instance: feeds that nodes run, each at its follower's pace. */
export class Feeds {
  readonly #options: FeedsOptions;
  readonly #recent: RecentCommits;
  readonly #sessions = new Map<Follower, Session>();

  constructor(options: FeedsOptions) {
    this.#options = options;
    this.#recent = new RecentCommits(options.replica, recentBounds);
  }

  /** Number of the newest commit. */
  get head(): number {
    return this.#recent.head;
  }

  isIdle(follower: Follower): boolean {
    return this.#sessions.get(follower)?.stepsCount === 0;
  }

  /** @param from the tokens that the follower goes on from, joined by `,` */
  follow(follower: Follower, from: string | undefined): void {
    const { replica, wallMs } = this.#options;
    const feed = new Feed({
      namespace: follower.namespace,
      matches: () => true,
      replica,
      recent: this.#recent,
      readMs: () => replica.readMs(wallMs()),
      isClustered: () => true,
      start: from === undefined ? 'existing' : this.#startOf(from, follower.namespace),
    });
    const session = { feed, stepsCount: 0, cells: [], damaged: [] };
    this.#sessions.set(follower, session);
    this.#run(follower, session, feed.start());
  }

  leave(follower: Follower): void {
    this.#sessions.get(follower)?.feed.end();
    this.#sessions.delete(follower);
  }

  /** The instance is gone. */
  close(): void {
    const followers = [...this.#sessions.keys()];
    this.#sessions.clear();
    for (const follower of followers) follower.ended();
  }

  applied({ commits, joined }: Applied): void {
    this.#recent.append(commits, this.#sessions.size > 0);
    for (const [follower, session] of this.#sessions) {
      const { feed } = session;
      if (joined.includes(follower.namespace) && feed.resync()) this.#run(follower, session, feed.run());
      for (const { number, record, changes } of commits) {
        const isMatch = record.namespace === follower.namespace && changes.some(({ effect }) => effect !== 'none');
        if (isMatch && feed.wake(number)) this.#run(follower, session, feed.run());
      }
    }
  }

  bookmarkAll(): void {
    for (const [follower, session] of this.#sessions) this.#run(follower, session, session.feed.bookmark());
  }

  #startOf(from: string, namespace: string): FeedStart {
    const { replica, resumed } = this.#options;
    const given = from.split(',').map((text) => {
      const token = replica.parseToken(text)!;
      return { token, tag: this.#tagOf(token.commit) };
    });
    return resumed(startOf(given, namespace, replica, this.head), this.head);
  }

  #run(follower: Follower, session: Session, steps: FeedSteps): void {
    const next = steps.next();
    if (next.done === true) return;
    const finish = this.#begin(next.value, follower, session);
    session.stepsCount++;
    const { random, later } = this.#options;
    later(random.chance(0.03) ? random.int(0, slowMaxMs) : random.int(0, 3), () => {
      session.stepsCount--;
      if (this.#sessions.get(follower) !== session) return;
      finish();
      this.#run(follower, session, steps);
    });
  }

  /** Begins a step now. @returns what hands in its outcome later */
  #begin(step: FeedStep, follower: Follower, session: Session): () => void {
    const { namespace } = follower;
    switch (step.type) {
      case 'tell':
        return () => follower.tell(step.event);
      case 'read-log': {
        const revive = this.#read(step.after, namespace);
        return () => step.take(revive());
      }
      case 'tag': {
        const tag = this.#tagOf(step.commit);
        return () => step.take(tag);
      }
      case 'changed-since': {
        const written = this.#writtenSince(namespace, step.vector);
        return () => step.take(written && this.#now(written));
      }
      case 'scan': {
        if (step.isFirst) this.#scan(namespace, session);
        const { damaged } = session;
        const found = session.cells.shift() ?? { damaged };
        return () => step.take(found);
      }
    }
  }

  #tagOf(commit: number): string | undefined {
    const { disk, replica } = this.#options;
    const row = disk.get('commits', commitKey(commit));
    return this.#recent.tagOf(commit) ?? (row && replica.commitTag(decodeCommit(row, replica.sources)));
  }

  /** Reads a part of the log now. @returns what makes commits of it: what keys hold is looked up behind that */
  #read(after: number, namespace: string): () => LogPart | undefined {
    const { disk, replica } = this.#options;
    const upTo = Math.min(after + readMax, replica.appliedCommit);
    const found: { readonly number: number; readonly row: Uint8Array; readonly record: LogRecord }[] = [];
    for (let number = after + 1; number <= upTo; number++) {
      const row = disk.get('commits', commitKey(number));
      if (row === undefined) return () => undefined;
      const entry = decodeCommit(row, replica.sources);
      if (entry.namespace !== namespace) continue;
      const record = this.#record(namespace, entry.source, entry.seq);
      if (record === undefined) return () => undefined;
      found.push({ number, row, record });
    }
    return () => {
      const commits = [];
      for (const { number, row, record } of found) {
        const entry = decodeCommit(row, replica.sources);
        const now = this.#cells(mergedKeys(record, entry));
        if (now === undefined) return undefined;
        commits.push(reviveCommit(number, record, entry, replica.strategyOf(namespace), now));
      }
      return { commits, upTo };
    };
  }

  /** Undefined where the log does not tell: trimmed, never logged, or damaged. */
  #record(namespace: string, source: Source, seq: number): LogRecord | undefined {
    const { disk, replica, onRecordDamaged } = this.#options;
    const row = disk.get('log', logKey(namespace, source, seq));
    if (row === undefined) return undefined;
    if (isRecord(row, replica)) return decodeRecord(row, replica.sources);
    onRecordDamaged({ namespace, source: source.id, seq });
    return undefined;
  }

  #writtenSince(namespace: string, vector: Heads): WrittenKeys | undefined {
    const { replica } = this.#options;
    const ranges = rangesBeyond(vector, namespace, replica.headsOf(namespace));
    if (ranges === undefined) return undefined;
    const written = new WrittenKeys(() => true, replica);
    for (const { source, after, upTo } of ranges) {
      for (let seq = after + 1; seq <= upTo; seq++) {
        const record = this.#record(namespace, source, seq);
        if (record === undefined) return undefined;
        written.take(record);
      }
    }
    return written;
  }

  #now(written: WrittenKeys): ReadonlyMap<string, Cell> | undefined {
    const cells = this.#cells([...written.keys()]);
    return cells && new Map([...cells].map(([key, cell]) => [key, written.told(key, cell)]));
  }

  /** Undefined where a row is damaged. */
  #cells(keys: readonly string[]): Map<string, Cell> | undefined {
    const cells = new Map<string, Cell>();
    for (const key of keys) {
      const cell = this.#options.read(key);
      if (cell === 'damaged') {
        this.#options.onDamaged(key);
        return undefined;
      }
      cells.set(key, cell);
    }
    return cells;
  }

  /** As of now: what readers see of keys that are being written, and the rows of all others. */
  #scan(namespace: string, session: Session): void {
    const { disk, replica, onDamaged } = this.#options;
    const uncommitted = replica.uncommitted();
    session.cells = [];
    session.damaged = [];
    for (const [bytes, row] of disk.rows('live', liveKey(`${namespace}.`))) {
      const key = String.fromCharCode(...bytes);
      try {
        const cell = uncommitted.get(key) ?? decodeCell(row, replica.sources, replica.strategyOf(namespace));
        session.cells.push({ key, cell });
      } catch {
        onDamaged(key);
        session.damaged.push(key);
      }
    }
  }
}
