import type { CallOptions } from './options.ts';
import { type PolicyEvent, PolicyPlane } from './policy-plane.ts';
import type {
  AccessRequest,
  BatchDecision,
  Decision,
  EvaluateParams,
  EvaluationCalls,
  Json,
} from './protocol/index.ts';
import type { Caller, Rpc } from './rpc.ts';
import { parseJson } from './rpc.ts';
import type { Watch, WatchOptions } from './subscription.ts';

/** The evaluation plane: decisions, for applications. */
export class EvaluationPlane extends PolicyPlane<EvaluationCalls> {
  constructor(caller: Caller, rest: Pick<Rpc, 'rest'>, subscriptions: Pick<Watch<PolicyEvent>, 'open'>) {
    super('evaluation', caller, rest, subscriptions);
  }

  /**
   * Asks one policy, or a directory of them, for a decision with its reasons and its receipt.
   *
   * @example
   * const { decision, reasons } = await client.evaluation.evaluate('prod.deployment', {
   *   subject: { type: 'user', id: 'alice' },
   *   action: { name: 'deploy' },
   *   resource: { type: 'deployment', id: 'd1', properties: { environment: 'production' } },
   * });
   */
  evaluate(path: string, request: Omit<EvaluateParams, 'path'>, options?: CallOptions): Promise<Decision> {
    return this.call('evaluate', { path, ...request }, options);
  }

  /** Asks many questions of one snapshot; answers carry the `id` of their question. */
  evaluateAll(
    evaluations: readonly (EvaluateParams & { readonly id: Json })[],
    options?: CallOptions,
  ): Promise<readonly BatchDecision[]> {
    return this.call('evaluate-batch', { evaluations }, options).then(({ results }) => results);
  }

  /** AuthZEN 1.0: may this happen? True only for allow. Which policies are asked is the node's configuration. */
  async isAllowed(request: AccessRequest, options?: CallOptions): Promise<boolean> {
    const answer = await this.rest.rest(
      {
        method: 'POST',
        path: '/access/v1/evaluation',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(request),
      },
      options,
    );
    return (parseJson(answer.body) as { decision?: unknown }).decision === true;
  }

  /** Follows changes of the policies at or below the given paths. */
  watch(paths: readonly string[], options: WatchOptions = {}): AsyncGenerator<PolicyEvent, void, void> {
    return this.follow({ paths }, options);
  }
}
