import { IpeError } from '@ipe/core';
import type { ChangedPolicy, PolicyStore, UpdateEvent } from '@ipe/core/tree';
import type { Handlers, Session } from '../api/method.ts';
import { readParams } from '../api/params.ts';

/** What makes the watches of one plane its own. */
export interface PolicyWatchOptions<Update> {
  readonly policies: Pick<PolicyStore, 'current' | 'watch'>;
  readonly newId: () => string;
  /** Reads `subscribe`'s parameters: the paths to watch, each with all below it. */
  readonly pathsOf: (params: unknown) => readonly string[];
  /** What a subscriber is told of a change. */
  readonly updateOf: (changed: ChangedPolicy, event: UpdateEvent) => Update;
}

interface PolicyWatch<Update> {
  readonly session: Session;
  readonly paths: readonly string[];
  /** Newest state by path, waiting to be sent: a slow reader gets fewer notifications, never an unbounded backlog. */
  readonly waiting: Map<string, Update>;
  isSending: boolean;
}

const watchesPerSessionMax = 100;

/** Bytes of a path: 64 segments of 64 characters, with points between, have room. */
export const watchedPathBytesMax = 4_608;

/**
 * `subscribe` and `unsubscribe` of a plane that tells of policies: `policy-updated` after each change of `main` at or
 * below one of the paths. Changes of one policy that a slow reader has not been sent yet are folded into the newest.
 */
export function policyWatches<Update>({ policies, newId, pathsOf, updateOf }: PolicyWatchOptions<Update>) {
  const watches = new Map<string, PolicyWatch<Update>>();
  let stop: (() => void) | undefined;

  const send = async (watch: PolicyWatch<Update>): Promise<void> => {
    watch.isSending = true;
    try {
      while (watch.waiting.size > 0 && !watch.session.signal.aborted)
        for (const [path, update] of watch.waiting) {
          watch.waiting.delete(path);
          await watch.session.notify('policy-updated', update as object);
        }
    } catch {
      // The connection is gone; its session's signal ends the watch.
      watch.waiting.clear();
    } finally {
      watch.isSending = false;
    }
  };

  const onUpdate = (event: UpdateEvent): void => {
    if (event.ref !== 'main') return;
    for (const watch of watches.values()) {
      for (const changed of event.changed)
        if (watch.paths.some((under) => isAtOrBelow(changed.path, under))) {
          // Taken out first, so that the order of sending is the order of the newest changes.
          watch.waiting.delete(changed.path);
          watch.waiting.set(changed.path, updateOf(changed, event));
        }
      if (watch.waiting.size > 0 && !watch.isSending) void send(watch);
    }
  };

  const remove = (id: string): void => {
    watches.delete(id);
    if (watches.size > 0) return;
    stop?.();
    stop = undefined;
  };

  const handlers = {
    subscribe: async (params, { session }) => {
      const paths = pathsOf(params);
      if (session === undefined)
        throw new IpeError('invalid_request', '`subscribe` needs an event stream; use `POST /stream`');
      // A path that is nowhere yet may come; a malformed one never will.
      for (const path of paths) await policies.current().lookup(path);
      if ([...watches.values()].filter((watch) => watch.session === session).length >= watchesPerSessionMax)
        throw new IpeError(
          'too_large',
          `a session may hold ${watchesPerSessionMax} subscriptions; end one with \`unsubscribe\``,
        );
      const id = newId();
      watches.set(id, { session, paths, waiting: new Map(), isSending: false });
      session.signal.addEventListener('abort', () => remove(id), { once: true });
      stop ??= policies.watch(onUpdate);
      if (session.signal.aborted) remove(id);
      const { root, commit } = policies.current();
      return { subscription: id, root, commit };
    },

    unsubscribe: (params, { session }) => {
      const id = readParams(params, ['subscription']).string('subscription', { maxBytes: 64, empty: false });
      if (session === undefined || watches.get(id)?.session !== session)
        throw new IpeError('not_found', `no subscription \`${id}\` in this session`, { details: { subscription: id } });
      remove(id);
      return {};
    },
  } satisfies Handlers;

  return {
    handlers,
    /** Watches open now. */
    size: () => watches.size,
    close: () => {
      for (const id of [...watches.keys()]) remove(id);
    },
  };
}

/** Whether a path is another or lies below it; `""` is the root. */
function isAtOrBelow(path: string, under: string): boolean {
  return under === '' || path === under || path.startsWith(`${under}.`);
}
