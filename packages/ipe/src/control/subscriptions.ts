import { IpeError } from '@ipe/core';
import type { PolicyStore, UpdateEvent } from '@ipe/core/tree';
import type { Handlers, Session } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { isAtOrBelow } from '../gitops/mirrors.ts';

interface Subscription {
  readonly session: Session;
  readonly prefix: string;
  /** Newest state by path, waiting to be sent: a slow reader gets fewer notifications, never an unbounded backlog. */
  readonly waiting: Map<string, PolicyUpdated>;
  sending: boolean;
}

/** What a subscriber is told: `version` is null where the policy was removed. */
export interface PolicyUpdated {
  readonly path: string;
  readonly change: 'added' | 'changed' | 'removed';
  readonly version: string | null;
  readonly root: string;
  readonly commit: string;
}

/** Subscriptions of one session, at most. */
const subscriptionsMax = 100;

/**
 * `subscribe` and `unsubscribe` of the control plane: `policy-updated` after each change of `main` at or below a prefix.
 * Changes of one policy that a slow reader has not been sent yet are folded into the newest.
 */
export function policySubscriptions(store: PolicyStore, newId: () => string) {
  const subscriptions = new Map<string, Subscription>();
  let stop: (() => void) | undefined;

  const onUpdate = (event: UpdateEvent): void => {
    if (event.ref !== 'main') return;
    for (const subscription of subscriptions.values()) {
      for (const { path, change, version } of event.changed)
        if (isAtOrBelow(path, subscription.prefix)) {
          // Taken out first, so that the order of sending is the order of the newest changes.
          subscription.waiting.delete(path);
          subscription.waiting.set(path, {
            path,
            change,
            version: change === 'removed' ? null : version,
            root: event.root,
            commit: event.commit,
          });
        }
      if (subscription.waiting.size > 0 && !subscription.sending) void send(subscription);
    }
  };

  const send = async (subscription: Subscription): Promise<void> => {
    subscription.sending = true;
    try {
      while (subscription.waiting.size > 0 && !subscription.session.signal.aborted)
        for (const [path, update] of subscription.waiting) {
          subscription.waiting.delete(path);
          await subscription.session.notify('policy-updated', update);
        }
    } catch {
      // The connection is gone; its session's signal ends the subscription.
      subscription.waiting.clear();
    } finally {
      subscription.sending = false;
    }
  };

  const remove = (id: string): void => {
    subscriptions.delete(id);
    if (subscriptions.size > 0) return;
    stop?.();
    stop = undefined;
  };

  const handlers = {
    subscribe: async (params, context) => {
      const fields = readParams(params, ['prefix']);
      const prefix = fields.optionalString('prefix', { maxBytes: 4608 }) ?? '';
      const { session } = context;
      if (session === undefined)
        throw new IpeError('invalid_request', '`subscribe` needs an event stream; use `POST /stream`');
      // A prefix that is nowhere yet may come; a malformed one never will.
      await store.current().lookup(prefix);
      let count = 0;
      for (const subscription of subscriptions.values()) if (subscription.session === session) count++;
      if (count >= subscriptionsMax)
        throw new IpeError(
          'too_large',
          `a session may hold ${subscriptionsMax} subscriptions; end one with \`unsubscribe\``,
        );
      const id = newId();
      subscriptions.set(id, { session, prefix, waiting: new Map(), sending: false });
      session.signal.addEventListener('abort', () => remove(id), { once: true });
      stop ??= store.watch(onUpdate);
      if (session.signal.aborted) remove(id);
      const { root, commit } = store.current();
      return { subscription: id, root, commit };
    },

    unsubscribe: (params, context) => {
      const fields = readParams(params, ['subscription']);
      const id = fields.string('subscription', { maxBytes: 64, empty: false });
      if (subscriptions.get(id)?.session !== context.session || context.session === undefined)
        throw new IpeError('not_found', `no subscription \`${id}\` in this session`, { details: { subscription: id } });
      remove(id);
      return {};
    },
  } satisfies Handlers;

  return {
    handlers,
    /** Subscriptions open now. */
    size: () => subscriptions.size,
    close: () => {
      for (const id of [...subscriptions.keys()]) remove(id);
    },
  };
}
