import type { CallOptions } from './options.ts';
import type { Caller, Rpc } from './rpc.ts';
import { type Watch, type WatchOptions, watch } from './subscription.ts';

/** A policy that changed: subscribers of the control and evaluation planes receive these. */
export interface PolicyEvent {
  readonly path: string;
  readonly version: string | null;
  readonly root: string;
}

/** What the control and the evaluation plane have in common: methods by wire name, REST, and news of policies. */
export abstract class PolicyPlane<Calls extends { readonly [M in keyof Calls]: { params: unknown; result: unknown } }> {
  protected readonly rest: Pick<Rpc, 'rest'>;
  readonly #plane: 'control' | 'evaluation';
  readonly #caller: Caller;
  readonly #subscriptions: Pick<Watch<PolicyEvent>, 'open'>;

  constructor(
    plane: 'control' | 'evaluation',
    caller: Caller,
    rest: Pick<Rpc, 'rest'>,
    subscriptions: Pick<Watch<PolicyEvent>, 'open'>,
  ) {
    this.#plane = plane;
    this.#caller = caller;
    this.rest = rest;
    this.#subscriptions = subscriptions;
  }

  /** Calls any method of the plane by its wire name. */
  call<M extends keyof Calls & string>(
    method: M,
    params: Calls[M]['params'],
    options?: CallOptions,
  ): Promise<Calls[M]['result']> {
    return this.#caller.call(this.#plane, method, params, options) as Promise<Calls[M]['result']>;
  }

  /** Subscribes with these parameters; a reconnect asks anew, since policies have no resume token. */
  protected follow(params: unknown, options: WatchOptions): AsyncGenerator<PolicyEvent, void, void> {
    return watch(
      {
        open: this.#subscriptions.open,
        subscribe: (session, _token, signal) =>
          session.call(this.#plane, 'subscribe', params, { signal, timeoutMs: 0 }),
        event: ({ event, params }) => (event === 'policy-updated' ? (params as PolicyEvent) : undefined),
        token: () => undefined,
      },
      options,
    );
  }
}
