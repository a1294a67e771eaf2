import type { CallOptions } from './options.ts';
import type { ControlCalls, PolicyChange } from './protocol/index.ts';
import type { Caller, Rpc } from './rpc.ts';
import { type Watch, type WatchOptions, watch } from './subscription.ts';

/** A policy that changed: subscribers of the control and evaluation planes receive these. */
export interface PolicyEvent {
  readonly path: string;
  readonly version: string | null;
  readonly root: string;
}

/** The control plane: policies and the node itself, for administrators and GitOps. */
export class ControlPlane {
  readonly #caller: Caller;
  readonly #rest: Pick<Rpc, 'rest'>;
  readonly #subscriptions: Pick<Watch<PolicyEvent>, 'open'>;

  constructor(caller: Caller, rest: Pick<Rpc, 'rest'>, subscriptions: Pick<Watch<PolicyEvent>, 'open'>) {
    this.#caller = caller;
    this.#rest = rest;
    this.#subscriptions = subscriptions;
  }

  /** Calls any control-plane method by its wire name. */
  call<M extends keyof ControlCalls>(
    method: M,
    params: ControlCalls[M]['params'],
    options?: CallOptions,
  ): Promise<ControlCalls[M]['result']> {
    return this.#caller.call('control', method, params, options) as Promise<ControlCalls[M]['result']>;
  }

  /**
   * Applies any number of changes as one root commit: all compile and every test passes, or nothing changes.
   *
   * @throws IpeClientError `policy_invalid` with every problem in `details`; `conflict` with the current root.
   */
  apply(
    changes: readonly PolicyChange[],
    options: Omit<ControlCalls['apply']['params'], 'changes'> & CallOptions = {},
  ): Promise<ControlCalls['apply']['result']> {
    const { signal, timeoutMs, ...params } = options;
    return this.call(
      'apply',
      { changes, ...params },
      {
        ...(signal === undefined ? {} : { signal }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      },
    );
  }

  /** The state of the node and its planes. */
  status(options?: CallOptions): Promise<ControlCalls['status']['result']> {
    return this.call('status', {}, options);
  }

  /** The node's metrics in the Prometheus text format. */
  async metrics(options?: CallOptions): Promise<string> {
    return (await this.#rest.rest({ method: 'GET', path: '/metrics' }, options)).body.toString('utf8');
  }

  /** Follows changes of policies whose path is `prefix` or lies below it; `""` is all of them. */
  watch(prefix: string, options: WatchOptions = {}): AsyncGenerator<PolicyEvent, void, void> {
    return watch(policyWatch(this.#subscriptions, 'control', { prefix }), options);
  }
}

/** How both planes follow policies: a reconnect asks anew, since policies have no resume token. */
export function policyWatch(
  subscriptions: Pick<Watch<PolicyEvent>, 'open'>,
  plane: 'control' | 'evaluation',
  params: unknown,
): Watch<PolicyEvent> {
  return {
    open: subscriptions.open,
    subscribe: (session, _token, signal) => session.call(plane, 'subscribe', params, { signal, timeoutMs: 0 }),
    event: (notification) =>
      notification.event === 'policy-updated' ? (notification.params as PolicyEvent) : undefined,
    token: () => undefined,
  };
}
