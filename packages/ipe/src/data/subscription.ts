import {
  type Cell,
  type Commit,
  dotsTag,
  noTag,
  type Replica,
  type Source,
  type SupersededWrite,
  type Token,
} from '@ipe/core/replica';
import type { Session } from '../api/method.ts';
import type { ChangeLog } from './change-log.ts';
import { changedSince } from './changed-since.ts';
import type { Damage } from './damage.ts';
import type { Engine } from './engine.ts';
import { describe, type Entry, type Winner, winnerOf } from './entry.ts';
import type { KeyPattern } from './pattern.ts';
import { scan } from './scan.ts';

/** By source: all records up to one. */
type Vector = ReadonlyMap<Source, number>;

/** A notification of a subscription (API.md). */
export interface DataEvent {
  readonly type: 'update' | 'delete' | 'superseded' | 'resync' | 'bookmark' | 'damaged';
  readonly subscription: string;
  readonly key?: string;
  readonly value?: unknown;
  readonly value_base64?: string;
  readonly siblings?: Entry['siblings'];
  readonly version?: number;
  readonly etag?: string;
  /** Unix seconds of the write. */
  readonly timestamp?: number;
  readonly expires_at?: number;
  /** Of `superseded`: what stands instead; `version`, `etag` and `timestamp` are those of the write that lost. */
  readonly winner?: Winner;
  /** Where to go on from: everything up to this event was sent. Also a freshness token. */
  readonly token: string;
}

export type SubscriptionStart =
  | { readonly after: number }
  | { readonly beyond: ReadonlyMap<Source, number>; readonly from: string }
  | 'existing'
  | 'resync';

export interface SubscriptionOptions {
  readonly id: string;
  readonly engine: Engine;
  readonly log: ChangeLog;
  readonly pattern: KeyPattern;
  readonly session: Session;
  /**
   * Where to start: after a commit, with what changed outside of a vector that another instance gave out in `from`, with
   * what is there, or with what is there because `from` could not be honoured.
   */
  readonly start: SubscriptionStart;
  readonly onEnd: () => void;
}

/**
 * One follower of a pattern. It has a place in the change log and walks it at its client's pace: from memory while it
 * keeps up, from disk when it does not, and by a snapshot when even the log no longer goes back to its place. Nothing
 * waits for it and nothing is queued for it.
 */
export class Subscription {
  readonly pattern: KeyPattern;
  readonly signal: AbortSignal;
  readonly #options: SubscriptionOptions;
  /** Every matching event up to this commit was sent. */
  #position: number;
  /** Whether it has caught up; the hub wakes it then. */
  #isIdle = false;
  #isEnded = false;
  /** States came in that no commit tells of. */
  #mustResync = false;
  /** Whether anything was told since the last bookmark. */
  #hasTold = false;

  constructor(options: SubscriptionOptions) {
    this.pattern = options.pattern;
    this.signal = options.session.signal;
    this.#options = options;
    const { start } = options;
    this.#position = typeof start === 'object' && 'after' in start ? start.after : options.log.head;
    this.signal.addEventListener('abort', () => this.end(), { once: true });
  }

  /** Begins to send. Ends by itself when the session does. */
  start(): void {
    const { start } = this.#options;
    void this.#run(async () => {
      if (start === 'existing') await this.#sendExisting(false);
      else if (start === 'resync') await this.#sendExisting(true);
      else if ('beyond' in start) await this.#sendChanged(start.beyond, start.from);
    });
  }

  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#options.onEnd();
  }

  /** A commit with a matching change was appended. @param commit its number */
  wake(commit: number): void {
    if (!this.#isIdle || this.#isEnded) return;
    // What came in between did not match: it is passed over without a look.
    this.#position = Math.max(this.#position, commit - 1);
    void this.#run();
  }

  /** Keys changed that no commit tells of: sends what there is now. */
  resync(): void {
    this.#mustResync = true;
    if (this.#isIdle && !this.#isEnded) void this.#run();
  }

  /** Tells an idle follower how far it is, so that it need not read all of that again after a reconnect. */
  async bookmark(): Promise<void> {
    const { log, engine } = this.#options;
    const isBehind = this.#position < log.head || (engine.isClustered && this.#hasTold);
    if (!this.#isIdle || this.#isEnded || !isBehind) return;
    this.#position = log.head;
    await this.#mark(log.head, this.#vector(), () => this.#isIdle);
  }

  /** Sends the place after a commit. @param isStillSo looked at after waiting */
  async #mark(commit: number, vector: Vector | undefined, isStillSo: () => boolean = () => true): Promise<void> {
    const { log, engine, session, id, pattern } = this.#options;
    const tag = await log.tagOf(commit);
    if (tag === undefined || this.#isEnded || !isStillSo()) return;
    const token = engine.replica.bookmark(pattern.namespace, commit, tag, vector);
    this.#hasTold = false;
    await session.notify('data-changed', { type: 'bookmark', subscription: id, token } satisfies DataEvent, token);
  }

  /** What everything up to the newest commit amounts to, for other instances; nothing where there are none. */
  #vector(): Vector | undefined {
    const { engine, pattern } = this.#options;
    return engine.isClustered ? engine.replica.visibleHeads(pattern.namespace) : undefined;
  }

  async #run(begin?: () => Promise<void>): Promise<void> {
    this.#isIdle = false;
    try {
      await begin?.();
      while (!this.#isEnded && (this.#mustResync || this.#position < this.#options.log.head)) {
        if (this.#mustResync) await this.#sendExisting(true);
        else await this.#sendNext();
      }
      this.#isIdle = true;
    } catch {
      // The connection is gone, or the store is: either way the client resumes from its last token.
      this.end();
    }
  }

  async #sendNext(): Promise<void> {
    const { log, pattern } = this.#options;
    const recent = log.recent(this.#position);
    if (recent !== undefined) {
      for (const commit of recent) await this.#sendCommit(commit);
      return;
    }
    const older = await log.read(this.#position, pattern.namespace);
    if (older === undefined) return await this.#sendExisting(true);
    for (const commit of older.commits) await this.#sendCommit(commit);
    this.#position = Math.max(this.#position, older.upTo);
  }

  async #sendCommit({ number, record, changes }: Commit): Promise<void> {
    if (this.#isEnded) return;
    if (record.namespace === this.pattern.namespace) {
      const matching = changes.filter(({ key, effect }) => effect !== 'none' && this.pattern.matches(key));
      for (const [i, { key, cell, superseded }] of matching.entries()) {
        const tokenOf = (isPartial: boolean) => this.#options.engine.replica.tokenOf(record, number, isPartial);
        const isLast = i === matching.length - 1;
        // First what was lost, then what stands: the last word on a key is what it holds.
        if (superseded !== undefined) await this.#sendSuperseded(key, superseded, cell, tokenOf(true));
        if (this.#isEnded) return;
        await this.#send(key, cell, tokenOf(!isLast));
        if (this.#isEnded) return;
      }
    }
    this.#position = number;
  }

  /** Everything that matches now, as updates, then what happened meanwhile. */
  async #sendExisting(isResync: boolean): Promise<void> {
    const { engine, log, session, id, pattern } = this.#options;
    this.#mustResync = false;
    const noPlace = engine.replica.bookmark(pattern.namespace, 0, noTag);
    if (isResync)
      await session.notify(
        'data-changed',
        { type: 'resync', subscription: id, token: noPlace } satisfies DataEvent,
        noPlace,
      );
    const nowMs = engine.readMs();
    // In the tick in which the scan takes its snapshot: what follows is everything after it and nothing before.
    const start = log.head;
    const vector = this.#vector();
    const damaged: Damage[] = [];
    for await (const { key, cell } of scan(engine, pattern, { onDamaged: (damage) => damaged.push(damage) })) {
      if (this.#isEnded) return;
      if (cell.seenAt(nowMs) !== undefined) await this.#send(key, cell, noPlace);
    }
    for (const { key } of damaged) {
      const event: DataEvent = { type: 'damaged', subscription: id, ...(key !== undefined && { key }), token: noPlace };
      await session.notify('data-changed', event, noPlace);
    }
    this.#position = start;
    if (isResync || vector !== undefined) await this.#mark(start, vector);
  }

  /** What a follower that comes from another instance has not seen, then what happened meanwhile. */
  async #sendChanged(beyond: Vector, from: string): Promise<void> {
    const { engine, log, pattern } = this.#options;
    const start = log.head;
    const vector = this.#vector();
    const changed = await changedSince(engine, pattern, beyond);
    if (changed === undefined) return await this.#sendExisting(true);
    for (const [key, cell] of changed) {
      if (this.#isEnded) return;
      // Until all of it is told, the place to go on from is the one it came with.
      await this.#send(key, cell, from);
    }
    this.#position = start;
    await this.#mark(start, vector);
  }

  async #sendSuperseded(key: string, loser: SupersededWrite, winner: Cell, token: string): Promise<void> {
    const event: DataEvent = {
      type: 'superseded',
      subscription: this.#options.id,
      key,
      version: loser.version,
      etag: dotsTag([loser]),
      timestamp: loser.ms / 1000,
      winner: winnerOf(key, winner),
      token,
    };
    await this.#options.session.notify('data-changed', event, token);
  }

  async #send(key: string, cell: Cell, token: string): Promise<void> {
    this.#hasTold = true;
    await this.#options.session.notify('data-changed', eventOf(this.#options.id, key, cell, token), token);
  }
}

function eventOf(subscription: string, key: string, cell: Cell, token: string): DataEvent {
  const view = cell.view!;
  const { created_at: _, updated_at: timestamp, ...rest } = describe(key, cell, view);
  return { type: view.kind === 'absent' ? 'delete' : 'update', subscription, ...rest, timestamp, token };
}

/** Where a subscription goes on from a token of this instance; undefined when it cannot and needs a resync. */
export async function placeOf(
  token: Token,
  namespace: string,
  replica: Replica,
  log: ChangeLog,
): Promise<number | undefined> {
  const { commit, instance, tag, isPartial, seq } = token;
  if (instance !== replica.origin || commit === 0 || commit > log.head || commit < replica.trimmedCommit)
    return undefined;
  // A bookmark (seq 0) of that very commit was given after the states that came in with it were told.
  const joined = replica.joinedCommit(namespace);
  if (commit < joined || (commit === joined && joined > 0 && seq > 0)) return undefined;
  // The number may have been given to another commit since, if a crash took the end of the log.
  if ((await log.tagOf(commit)) !== tag) return undefined;
  return isPartial ? commit - 1 : commit;
}
