import { cacheJson } from '../control/wire.ts';
import { describeNamespace } from '../data/index.ts';
import type { EvaluationService } from '../evaluation/index.ts';
import { aloneHandlers } from './alone.ts';
import { isClustered, openClusterPart } from './cluster-part.ts';
import { conflictHandlers } from './conflicts.ts';
import { openControlPart } from './control-part.ts';
import { openDataPart } from './data-part.ts';
import { openDecisionLogPart } from './decision-log-part.ts';
import { openEvaluationPart } from './evaluation-part.ts';
import { factTokenStore } from './fact-tokens.ts';
import { openPolicySync, type PolicySyncPart, refuseLoneFollower } from './policy-sync-part.ts';
import { prepareReturn } from './return.ts';
import type { OpenParts } from './start.ts';
import { storedBytes } from './stored-bytes.ts';

/** The parts of a whole node: facts, policies, decisions over both. */
export const openParts: OpenParts = async (context) => {
  const clustered = await isClustered(context);
  refuseLoneFollower(context, clustered);
  const returning = clustered ? await prepareReturn(context) : undefined;
  const data = await openDataPart(context, clustered);
  const cluster = clustered ? await openClusterPart(context, data.engine, data.scrubber, returning) : undefined;
  if (cluster !== undefined) {
    const { replication } = cluster;
    data.waitFor({
      get peerCount() {
        return replication.peerCount;
      },
      peers: (count, token, signal) => replication.peersHold(count, token, signal),
    });
  }
  const members = cluster?.handlers ?? aloneHandlers(context.identity);
  const conflicts = conflictHandlers(data.engine, cluster?.replication.quarantine);
  const controlExtra = { ...context.controlExtra, ...data.controlHandlers, ...conflicts, ...members };
  const decisions = await openDecisionLogPart(context);
  let policySync: PolicySyncPart | undefined;
  let evaluation: EvaluationService | undefined;
  const control = await openControlPart({ ...context, controlExtra }, decisions.cited, async () => ({
    ...context.describe(),
    alarms: cluster?.alarms() ?? [],
    cluster: cluster?.describe() ?? null,
    policy_sync: policySync?.describe() ?? null,
    planned_policies: evaluation && cacheJson(evaluation.counters()),
    disk: {
      policies_bytes: await storedBytes(context.layout.policies),
      data_bytes: await storedBytes(context.layout.data),
    },
    data: {
      namespaces: data.engine.namespaces().map(describeNamespace),
      refuses_writes: data.engine.fence?.message ?? null,
      scrub: data.scrubber.report(),
    },
  }));
  evaluation = await openEvaluationPart(context, control.store, data.facts, decisions, () => []);
  policySync = cluster && (await openPolicySync(context, cluster, control));
  await cluster?.connect();
  if (policySync === undefined) await control.mirrors.start();
  await control.start();
  // Facts in memory are gone after a restart, and tokens must not be.
  const isKept = context.config.predicate_service.data_plane.backend !== 'memory';
  return {
    services: { control: policySync?.service ?? control.service, data: data.service, evaluation },
    ...(isKept ? { tokens: factTokenStore(data.engine) } : {}),
  };
};
