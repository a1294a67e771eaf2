import { IpeError } from '@ipe/core';
import {
  type Cell,
  dotsTag,
  Feed,
  type FeedEvent,
  type FeedStart,
  type FeedStep,
  type FeedSteps,
} from '@ipe/core/replica';
import type { Session } from '../api/method.ts';
import type { ChangeLog } from './change-log.ts';
import { changedSince } from './changed-since.ts';
import type { Damage } from './damage.ts';
import type { Engine } from './engine.ts';
import { describe, type Entry, type Winner, winnerOf } from './entry.ts';
import type { KeyPattern } from './pattern.ts';
import { type Scanned, scan } from './scan.ts';

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

export interface SubscriptionOptions {
  readonly id: string;
  readonly engine: Engine;
  readonly log: ChangeLog;
  readonly pattern: KeyPattern;
  readonly session: Session;
  readonly start: FeedStart;
  readonly onEnd: () => void;
}

/** Carries out what the feed of one follower of a pattern asks for, at its client's pace. */
export class Subscription {
  readonly pattern: KeyPattern;
  readonly signal: AbortSignal;
  readonly #options: SubscriptionOptions;
  readonly #feed: Feed;
  /** The scan under way, and the damaged rows that it met. */
  #scan: { readonly cells: AsyncGenerator<Scanned>; readonly damaged: Damage[] } | undefined;

  constructor(options: SubscriptionOptions) {
    const { pattern, session, engine, log, start } = options;
    this.pattern = pattern;
    this.signal = session.signal;
    this.#options = options;
    this.#feed = new Feed({
      namespace: pattern.namespace,
      matches: (key) => pattern.matches(key),
      replica: engine.replica,
      recent: log.recent,
      readMs: () => engine.readMs(),
      isClustered: () => engine.isClustered,
      start,
    });
    this.signal.addEventListener('abort', () => this.end(), { once: true });
  }

  /** Begins to send. Ends by itself when the session does. */
  start(): void {
    void this.#run(this.#feed.start());
  }

  end(): void {
    if (this.#feed.isEnded) return;
    this.#feed.end();
    this.#options.onEnd();
  }

  /** A commit with a matching change was appended. @param commit its number */
  wake(commit: number): void {
    if (this.#feed.wake(commit)) void this.#run(this.#feed.run());
  }

  /** Keys changed that no commit tells of: sends what there is now. */
  resync(): void {
    if (this.#feed.resync()) void this.#run(this.#feed.run());
  }

  /** Tells an idle follower how far it is, so that it need not read all of that again after a reconnect. */
  async bookmark(): Promise<void> {
    for (const step of this.#feed.bookmark()) await this.#carryOut(step);
  }

  async #run(steps: FeedSteps): Promise<void> {
    try {
      for (const step of steps) await this.#carryOut(step);
    } catch {
      // The connection is gone, or the store is: either way the client resumes from its last token.
      this.end();
    } finally {
      await this.#scan?.cells.return(undefined).catch(() => {});
      this.#scan = undefined;
    }
  }

  /** Begins in the tick in which it is called. */
  #carryOut(step: FeedStep): Promise<void> {
    switch (step.type) {
      case 'tell':
        return this.#tell(step.event);
      case 'read-log':
        return unlessDamaged(this.#options.log.read(step.after, this.pattern.namespace)).then(step.take);
      case 'tag':
        return unlessDamaged(this.#options.log.tagOf(step.commit)).then(step.take);
      case 'changed-since':
        return unlessDamaged(changedSince(this.#options.engine, this.pattern, step.vector)).then(step.take);
      case 'scan':
        return this.#next(step);
    }
  }

  async #next({ isFirst, take }: Extract<FeedStep, { type: 'scan' }>): Promise<void> {
    const { engine } = this.#options;
    if (isFirst || this.#scan === undefined) {
      const damaged: Damage[] = [];
      const cells = scan(engine, this.pattern, { onDamaged: (damage) => damaged.push(damage) });
      this.#scan = { cells, damaged };
    }
    const { cells, damaged } = this.#scan;
    const { value, done } = await cells.next();
    if (!done) {
      take(value);
      return;
    }
    this.#scan = undefined;
    take({ damaged: damaged.map(({ key }) => key) });
  }

  async #tell(event: FeedEvent): Promise<void> {
    const { session, id } = this.#options;
    await session.notify('data-changed', notificationOf(id, event), event.token);
  }
}

/** A damaged row tells as little as one that is gone; other failures end the subscription. */
async function unlessDamaged<Found>(reading: Promise<Found>): Promise<Found | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof IpeError && error.reason === 'corrupt') return undefined;
    throw error;
  }
}

function notificationOf(subscription: string, event: FeedEvent): DataEvent {
  const { token } = event;
  switch (event.type) {
    case 'change':
      return changeOf(subscription, event.key, event.cell, token);
    case 'superseded': {
      const { key, loser, winner } = event;
      return {
        type: 'superseded',
        subscription,
        key,
        version: loser.version,
        etag: dotsTag([loser]),
        timestamp: loser.ms / 1000,
        winner: winnerOf(key, winner),
        token,
      };
    }
    case 'damaged':
      return { type: 'damaged', subscription, ...(event.key !== undefined && { key: event.key }), token };
    default:
      return { type: event.type, subscription, token };
  }
}

function changeOf(subscription: string, key: string, cell: Cell, token: string): DataEvent {
  const view = cell.view!;
  const { created_at: _, updated_at: timestamp, ...rest } = describe(key, cell, view);
  return { type: view.kind === 'absent' ? 'delete' : 'update', subscription, ...rest, timestamp, token };
}
