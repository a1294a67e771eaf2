import { join } from 'node:path';
import { IpeError } from '@ipe/core';
import type { Handlers, PlaneService } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { checkPolicies, followWrites, memoryFile, PolicySync, serveWrites } from '../policy-sync/index.ts';
import type { ClusterPart } from './cluster-part.ts';
import type { ControlPart } from './control-part.ts';
import type { PartsContext } from './start.ts';

/** The control plane of a member: guarded while it follows, with the methods of policy sync. */
export interface PolicySyncPart {
  readonly service: PlaneService;
  describe(): Readonly<Record<string, unknown>>;
}

/** @throws IpeError `invalid_params` for a follower that belongs to no cluster */
export function refuseLoneFollower({ config }: PartsContext, clustered: boolean): void {
  if (clustered || config.control_plane.role !== 'follower') return;
  throw new IpeError(
    'invalid_params',
    '`[control_plane] role = "follower"` needs a cluster: set `listen` in [cluster] and start with `--join`',
  );
}

/** Makes a member origin or follower, as its term and its configuration say. */
export async function openPolicySync(
  context: PartsContext,
  cluster: ClusterPart,
  control: ControlPart,
): Promise<PolicySyncPart> {
  const { config, layout, identity, log, metrics, onClose } = context;
  const { peers, membership } = cluster;
  const { store, compiler, mirrors } = control;
  let mirroring: Promise<void> = Promise.resolve();
  let isMirroring = false;
  const setMirrors = (on: boolean): void => {
    if (isMirroring === on) return;
    isMirroring = on;
    const change = () => (on ? mirrors.start() : mirrors.stop());
    mirroring = mirroring.then(change).catch((error) => log.error({ err: error }, 'mirrors did not start or stop'));
  };
  const sync = await PolicySync.start({
    store,
    peers,
    directory: membership.directory,
    identity,
    ...(membership.keys.key !== undefined && { clusterKey: membership.keys.key }),
    ...(config.control_plane.role !== undefined && { configuredRole: config.control_plane.role }),
    memory: memoryFile(join(layout.root, 'policy-sync.json')),
    checkPolicies: (from, to) => checkPolicies(store, compiler, from, to),
    now: () => Date.now(),
    every: (callback, intervalMs) => {
      const timer = setInterval(callback, intervalMs).unref();
      return () => clearInterval(timer);
    },
    onRole: (role) => {
      log[role === 'unsettled' ? 'error' : 'info']({ role }, 'a new term says who is the origin of policies');
      setMirrors(role === 'origin');
    },
    onSynced: (result) => log.info(result, 'policies synced from a peer'),
    onError: (error) => log.warn({ err: error }, 'policies could not be synced from a peer'),
  });
  onClose('policy sync', async () => {
    await sync.close();
    await mirroring;
  });
  metrics.add({
    name: 'ipe_policy_follower_behind',
    help: 'Root records that this follower knows of and has not taken over.',
    read: () => Number(sync.describe()['behind'] ?? 0),
  });
  metrics.add({
    name: 'ipe_policy_origin_unsettled',
    help: '1 where this instance is meant to be origin of policies and no term names it: it takes no policy writes.',
    read: () => (sync.role === 'unsettled' ? 1 : 0),
  });
  if (sync.problem !== undefined) log.error(sync.problem);
  if (sync.role === 'origin') setMirrors(true);
  serveWrites(
    peers,
    membership.directory,
    sync,
    control.service.handlers,
    ({ method, by, follower, outcome, params }) =>
      context.audit({
        event: 'call',
        plane: 'control',
        method,
        by,
        kind: 'admin',
        follower,
        path: pathOf(params),
        outcome,
      }),
  );
  const guarded = followWrites(control.service, sync, config.control_plane.forward_writes);
  return {
    service: { ...guarded, handlers: { ...guarded.handlers, ...syncHandlers(sync) } },
    describe: () => sync.describe(),
  };
}

function syncHandlers(sync: PolicySync): Handlers {
  return {
    'sync-from-peer': (params) => sync.syncNow(readParams(params, ['peer']).optionalString('peer')),
    'member-promote': async (params) => {
      const { id, origin, term } = await sync.promote(readParams(params, ['member']).string('member'));
      return { id, origin, term };
    },
  };
}

function pathOf(params: unknown): string | null {
  const path = (params as { path?: unknown } | null)?.path;
  return typeof path === 'string' ? path.slice(0, 1024) : null;
}
