import { IpeError } from '@ipe/core';
import type { PolicyStore, UpdateEvent } from '@ipe/core/tree';
import type { Handlers, Session } from '../api/method.ts';
import { readParams } from '../api/params.ts';

interface Watch {
  readonly session: Session;
  readonly paths: readonly string[];
  /** Newest state by path, waiting to be sent: a slow reader gets fewer notifications, never an unbounded backlog. */
  readonly waiting: Map<string, { readonly path: string; readonly version: string | null; readonly root: string }>;
  sending: boolean;
}

const watchesPerSessionMax = 100;
const pathsMax = 1_000;

/**
 * `subscribe` and `unsubscribe` of the evaluation plane: `policy-updated` when a policy at or below one of the paths
 * changes, so that applications can drop decisions they keep.
 */
export function policyWatches(policies: Pick<PolicyStore, 'current' | 'watch'>, newId: () => string) {
  const watches = new Map<string, Watch>();
  let stop: (() => void) | undefined;

  const send = async (watch: Watch): Promise<void> => {
    watch.sending = true;
    try {
      for (const [path, update] of watch.waiting) {
        watch.waiting.delete(path);
        await watch.session.notify('policy-updated', update);
      }
    } catch {
      // The connection is gone; its signal removes the watch.
      watch.waiting.clear();
    } finally {
      watch.sending = false;
    }
  };

  const onUpdate = ({ ref, root, changed }: UpdateEvent): void => {
    if (ref !== 'main') return;
    for (const watch of watches.values()) {
      for (const { path, change, version } of changed)
        if (watch.paths.some((under) => under === '' || path === under || path.startsWith(`${under}.`))) {
          watch.waiting.delete(path);
          watch.waiting.set(path, { path, version: change === 'removed' ? null : version, root });
        }
      if (watch.waiting.size > 0 && !watch.sending) void send(watch);
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
      const fields = readParams(params, ['paths']);
      const paths = fields.array('paths', pathsMax, (item, where) => {
        if (typeof item === 'string' && item.length <= 4608) return item;
        throw new IpeError('invalid_params', `\`${where}\` must be a path`, { details: { field: where } });
      });
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
      watches.set(id, { session, paths, waiting: new Map(), sending: false });
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
    close: () => {
      for (const id of [...watches.keys()]) remove(id);
    },
  };
}
