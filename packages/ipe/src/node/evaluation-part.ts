import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { PolicyStore } from '@ipe/core/tree';
import { verifySignature } from '../cluster/identity.ts';
import type { Config } from '../config/index.ts';
import {
  createEvaluationService,
  type EvaluationConfig,
  type EvaluationService,
  type FactsSource,
} from '../evaluation/index.ts';
import { nodePrimitives } from '../repository/index.ts';
import { isClustered } from './cluster-part.ts';
import type { DecisionLogPart } from './decision-log-part.ts';
import type { PartsContext } from './start.ts';

/** The evaluation plane over the node's policies and facts. */
export async function openEvaluationPart(
  context: PartsContext,
  policies: PolicyStore,
  facts: FactsSource,
  decisions: DecisionLogPart,
  missing: () => readonly string[],
): Promise<EvaluationService> {
  const { config, identity, version, log, metrics } = context;
  const counts = { allow: 0, deny: 0, not_applicable: 0 };
  const service = createEvaluationService({
    policies,
    facts,
    primitives: nodePrimitives,
    clock: () => Date.now(),
    monotonic: () => performance.now(),
    newId: () => randomUUID(),
    config: evaluationConfigOf(config),
    version,
    instance: identity.id,
    signer: decisions.signer,
    verifier: (key, bytes, signature) =>
      key === identity.signing.publicKey ? verifySignature(key, bytes, signature) : undefined,
    // Whatever may come from another instance is not taken at its word.
    verifyPrograms: config.control_plane.role !== 'origin' && (await isClustered(context)),
    onDecision: (decision) => {
      counts[decision.outcome.decision]++;
      decisions.log.record(decision);
    },
    reportInternal: (id, error) => log.error({ id, err: error }, 'internal error'),
    missing,
  });
  context.onClose('evaluation plane', () => service.close());
  metrics.add({
    name: 'ipe_decisions_total',
    help: 'Decisions by outcome.',
    read: () => Object.entries(counts).map(([decision, value]) => ({ labels: { decision }, value })),
  });
  metrics.add({
    name: 'ipe_planned_policies_bytes',
    help: 'Memory of planned policies, as estimated.',
    read: () => service.counters().bytes,
  });
  return service;
}

/** `[evaluation_plane]` as the plane takes it. */
function evaluationConfigOf({ evaluation_plane: plane, limits }: Config): EvaluationConfig {
  const search = Object.entries(plane.search).map(([type, { namespace, id_field, actions }]) => [
    type,
    {
      namespace,
      ...(id_field === undefined ? {} : { idField: id_field }),
      ...(actions === undefined ? {} : { actions }),
    },
  ]);
  return {
    authzenPath: plane.authzen_path,
    maxCost: plane.max_cost,
    policyCacheBytes: plane.policy_cache_bytes,
    policyCacheAgeMs: plane.policy_cache_age,
    freshWaitMs: plane.fresh_wait,
    receipt: plane.receipt,
    search: Object.fromEntries(search),
    batchMax: limits.max_batch,
    ...(plane.public_url === undefined ? {} : { publicUrl: plane.public_url }),
  };
}
