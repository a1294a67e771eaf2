import type { PolicyStore } from '@ipe/core/tree';
import type { Handlers, PlaneService } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import type { MirrorRegistry } from '../gitops/mirrors.ts';
import type { SyncEngine, SyncRequest } from '../gitops/sync.ts';
import type { DependentTests } from '../policies/dependent-tests.ts';
import type { PolicyCompiler } from '../policies/types.ts';
import { backupMethods } from './backup-methods.ts';
import { gitMethods } from './git-methods.ts';
import { readMethods } from './read-methods.ts';
import { policySubscriptions } from './subscriptions.ts';
import type { Transfers } from './transfers.ts';
import type { Upkeep } from './upkeep.ts';
import { type CitedRootsSince, upkeepMethods } from './upkeep-methods.ts';
import { cacheJson } from './wire.ts';
import { writeMethods } from './write-methods.ts';
import { createPolicyWriter, type PolicyWriter } from './writer.ts';

export interface ControlServiceOptions {
  readonly store: PolicyStore;
  readonly compiler: PolicyCompiler;
  readonly dependents: DependentTests;
  /** Mirrors of Git repositories; absent: the node has none and `sync-from-git` is not offered. */
  readonly gitops?: {
    readonly registry: MirrorRegistry;
    readonly sync: SyncEngine;
    readonly baseDir: string;
    readonly configured?: (mirror: string) => Partial<SyncRequest> | undefined;
    /** What the mirrors still lack before the node's policies are complete. */
    readonly missing?: () => readonly string[];
  };
  /** Background jobs, `gc`, `scrub` and `verify` among them; absent: those methods are not offered. */
  readonly upkeep?: Upkeep;
  /** Files on their way; absent: `backup` and `restore-backup` are not offered. */
  readonly transfers?: Transfers;
  /** Roots of decisions logged since then: not collected. */
  readonly citedRoots?: CitedRootsSince;
  /** Unix milliseconds. */
  readonly clock: () => number;
  readonly newId: () => string;
  /** Version of the program, and the instance's name. */
  readonly version: string;
  readonly instance: string;
  /** What the rest of the node adds to `status` (`data`, `planes`, ...). */
  readonly describe?: () => Promise<Readonly<Record<string, unknown>>> | Readonly<Record<string, unknown>>;
  /** Methods made elsewhere (tokens, members); a name given here too wins over none of this plane's own. */
  readonly extra?: Handlers;
}

export interface ControlService extends PlaneService {
  /** For parts of the node that write policies themselves, such as the first start with examples. */
  readonly writer: PolicyWriter;
  /** Ends subscriptions. The store, compiler and mirrors belong to the caller. */
  close(): void;
}

/**
 * The control plane: every method of API.md that reads or writes policies, over one policy store.
 *
 * Owns nothing but its subscriptions; the store, the compiler and the mirrors are handed in.
 */
export function createControlService(options: ControlServiceOptions): ControlService {
  const { store, compiler, dependents, gitops, upkeep, transfers, citedRoots, clock } = options;
  const startedAtMs = clock();
  const registry = gitops?.registry;
  const shared = { store, ...(registry !== undefined && { registry }) };
  const writer = createPolicyWriter({ ...shared, compiler, dependents, clock });
  const subscriptions = policySubscriptions(store, options.newId);

  const status: Handlers = {
    status: async (params) => {
      readParams(params, []);
      const now = store.status();
      return {
        instance: options.instance,
        version: options.version,
        root: now.root,
        commit: now.commit,
        uptime: (clock() - startedAtMs) / 1000,
        policies: now.policies,
        directories: now.directories,
        refs: now.refs,
        tree: {
          cache: cacheJson(now.cache),
          leases: now.leases,
          queued: now.queued,
          index_rebuilt: now.indexRebuilt,
          damaged: now.damaged,
          refuses_writes: now.refusesWrites,
        },
        mirrors:
          gitops &&
          (await Promise.all(
            gitops.registry.list().map(async (mirror) => ({
              repository: mirror.repository,
              prefix: mirror.prefix,
              commit: mirror.commit,
              pinned: mirror.pin !== null,
              drift: (await gitops.sync.drift(mirror)).length,
              error: mirror.error?.message ?? null,
            })),
          )),
        upkeep: upkeep?.status(),
        subscriptions: subscriptions.size(),
        ...(await options.describe?.()),
      };
    },
  };

  return {
    plane: 'control',
    handlers: {
      ...options.extra,
      ...readMethods(shared),
      ...writeMethods({ ...shared, writer, clock }),
      ...(gitops !== undefined && gitMethods({ store, ...gitops })),
      ...(upkeep !== undefined &&
        upkeepMethods({ ...shared, upkeep, clock, ...(citedRoots !== undefined && { citedRoots }) })),
      ...(transfers !== undefined && backupMethods({ store, transfers, clock })),
      ...subscriptions.handlers,
      ...status,
    },
    missing: () => gitops?.missing?.() ?? [],
    writer,
    close: subscriptions.close,
  };
}
