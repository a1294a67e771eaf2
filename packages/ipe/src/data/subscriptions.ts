import { IpeError } from '@ipe/core';
import { type Change, type FeedStart, type GivenToken, startOf } from '@ipe/core/replica';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { requireAccess } from '../security/access.ts';
import { ChangeLog } from './change-log.ts';
import type { Applied, Engine } from './engine.ts';
import { Followers } from './followers.ts';
import type { Freshness } from './freshness.ts';
import { readPattern } from './pattern.ts';
import { requireHeld } from './reads.ts';
import { Subscription, type SubscriptionOptions } from './subscription.ts';

/** Subscriptions of one connection. */
export const subscriptionsPerSessionMax = 1_000;
/** Tokens that one `from` may hold. */
const fromTokensMax = 4;
/** How often a subscription that has nothing to tell says how far it is. */
const bookmarkIntervalMs = 5_000;

/** The methods `subscribe` and `unsubscribe`, and the wake-up of followers after each commit. */
export class Subscriptions {
  readonly #engine: Engine;
  readonly #freshness: Freshness;
  readonly #log: ChangeLog;
  readonly #byId = new Map<string, Subscription>();
  readonly #followers = new Followers<Subscription>();
  readonly #perSession = new Map<AbortSignal, number>();
  #count = 0;
  readonly #stop: () => void;
  readonly #timer: NodeJS.Timeout;

  constructor(engine: Engine, freshness: Freshness) {
    this.#engine = engine;
    this.#freshness = freshness;
    this.#log = new ChangeLog(engine);
    this.#stop = engine.onApplied((applied) => this.#publish(applied));
    this.#timer = setInterval(() => void this.bookmarkAll(), bookmarkIntervalMs).unref();
  }

  get size(): number {
    return this.#byId.size;
  }

  handlers(): Handlers {
    return {
      subscribe: async (params, { caller, session }) => {
        const fields = readParams(params, ['pattern', 'include_existing', 'from']);
        const pattern = readPattern(fields.string('pattern'));
        requireAccess(caller, pattern.namespace, 'read');
        requireHeld(this.#engine, pattern.namespace);
        if (session === undefined)
          throw new IpeError('invalid_request', 'subscriptions need an event-stream session or `GET /events`');
        const open = this.#perSession.get(session.signal) ?? 0;
        if (open >= subscriptionsPerSessionMax)
          throw new IpeError('too_large', `a connection may hold ${subscriptionsPerSessionMax} subscriptions`, {
            details: { max_subscriptions: subscriptionsPerSessionMax },
          });
        const includeExisting = fields.boolean('include_existing');
        const from = fields.optionalString('from');
        const start =
          from !== undefined
            ? await this.#startOf(from, pattern.namespace, session.signal)
            : includeExisting
              ? ('existing' as const)
              : { after: this.#log.head };
        session.signal.throwIfAborted();
        const id = `sub-${++this.#count}`;
        this.#add({ id, engine: this.#engine, log: this.#log, pattern, session, start, onEnd: () => this.#remove(id) });
        return { subscription: id };
      },

      unsubscribe: (params, { session }) => {
        const fields = readParams(params, ['subscription']);
        const id = fields.string('subscription');
        const subscription = this.#byId.get(id);
        if (subscription === undefined || session === undefined || subscription.signal !== session.signal)
          throw new IpeError('not_found', `this connection has no subscription \`${id.slice(0, 64)}\``, {
            details: { subscription: id.slice(0, 64) },
          });
        subscription.end();
        return {};
      },
    };
  }

  /** Sends bookmarks to followers that have nothing else to tell. */
  async bookmarkAll(): Promise<void> {
    for (const subscription of [...this.#byId.values()]) await subscription.bookmark().catch(() => subscription.end());
  }

  close(): void {
    this.#stop();
    clearInterval(this.#timer);
    for (const subscription of [...this.#byId.values()]) subscription.end();
  }

  /** @param from one token, or several joined by `,`: the first that this instance can go on from counts */
  async #startOf(from: string, namespace: string, signal: AbortSignal): Promise<FeedStart> {
    const { replica } = this.#engine;
    const texts = from.split(',').map((text) => text.trim());
    const tokens = texts.slice(0, fromTokensMax).flatMap((text) => replica.parseToken(text) ?? []);
    if (tokens.length < texts.length)
      throw new IpeError('invalid_params', '`from` is not a token: use one that a notification or a write gave', {
        details: { field: 'from' },
      });
    // What it was told elsewhere may still be on its way here: a moment's waiting saves it a snapshot.
    if (tokens[0]!.instance !== replica.origin) await this.#freshness.reached(from, signal).catch(() => {});
    const given: GivenToken[] = [];
    for (const token of tokens) given.push({ token, tag: await this.#log.tagOf(token.commit) });
    return startOf(given, namespace, replica, this.#log.head);
  }

  #add(options: SubscriptionOptions): void {
    const { pattern, session } = options;
    const subscription = new Subscription(options);
    this.#byId.set(options.id, subscription);
    this.#perSession.set(session.signal, (this.#perSession.get(session.signal) ?? 0) + 1);
    this.#followers.add(pattern, subscription);
    subscription.start();
  }

  #remove(id: string): void {
    const subscription = this.#byId.get(id);
    if (subscription === undefined) return;
    this.#byId.delete(id);
    const left = (this.#perSession.get(subscription.signal) ?? 1) - 1;
    if (left === 0) this.#perSession.delete(subscription.signal);
    else this.#perSession.set(subscription.signal, left);
    this.#followers.delete(subscription.pattern, subscription);
  }

  #publish({ commits, joined }: Applied): void {
    this.#log.recent.append(commits, this.#byId.size > 0);
    for (const namespace of joined) for (const subscription of this.#followers.of(namespace)) subscription.resync();
    for (const { number, record, changes } of commits) {
      const followers = this.#followers.matching(record.namespace, changedKeys(changes));
      for (const subscription of followers) subscription.wake(number);
    }
  }
}

function* changedKeys(changes: readonly Change[]): Generator<string, void, void> {
  for (const { key, effect } of changes) if (effect !== 'none') yield key;
}
