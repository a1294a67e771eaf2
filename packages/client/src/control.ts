import type { CallOptions } from './options.ts';
import { type PolicyEvent, PolicyPlane } from './policy-plane.ts';
import type { ControlCalls, PolicyChange } from './protocol/index.ts';
import type { Caller, Rpc } from './rpc.ts';
import type { Watch, WatchOptions } from './subscription.ts';

/** The control plane: policies and the node itself, for administrators and GitOps. */
export class ControlPlane extends PolicyPlane<ControlCalls> {
  constructor(caller: Caller, rest: Pick<Rpc, 'rest'>, subscriptions: Pick<Watch<PolicyEvent>, 'open'>) {
    super('control', caller, rest, subscriptions);
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
    return (await this.rest.rest({ method: 'GET', path: '/metrics' }, options)).body.toString('utf8');
  }

  /** Follows changes of policies whose path is `prefix` or lies below it; `""` is all of them. */
  watch(prefix: string, options: WatchOptions = {}): AsyncGenerator<PolicyEvent, void, void> {
    return this.follow({ prefix }, options);
  }
}
