import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { IpeError, isIpeError } from '@ipe/core';
import { type Kv, openMemoryKv } from '@ipe/core/store';
import { type PolicyFamily, type PolicyStore, policyFamilies } from '@ipe/core/tree';
import type { PlaneService } from '../api/method.ts';
import type { Config } from '../config/index.ts';
import { backupJob } from '../control/backup-job.ts';
import { createControlService } from '../control/service.ts';
import { openTransfers } from '../control/transfers.ts';
import { createUpkeep, type UpkeepEvent, type UpkeepJob } from '../control/upkeep.ts';
import { storeJobs } from '../control/upkeep-methods.ts';
import type { CitedRoots } from '../evaluation/index.ts';
import { createGit } from '../gitops/git/index.ts';
import { fileState, type MirrorRecord, type MirrorRegistry, openMirrorRegistry } from '../gitops/mirrors.ts';
import {
  type ConfiguredRepository,
  createGitOpsService,
  type GitOpsEvent,
  type GitOpsService,
} from '../gitops/service.ts';
import { createSyncEngine, type SyncEngine } from '../gitops/sync.ts';
import { createAskedPathsIndex } from '../policies/asked-paths.ts';
import { createDependentTests } from '../policies/dependent-tests.ts';
import { createNodeCompiler } from '../policies/node-compiler.ts';
import type { PolicyCompiler } from '../policies/types.ts';
import { openPolicyRepository } from '../repository/index.ts';
import { openMarkedKv } from '../stores/marked.ts';
import { openRocksKv } from '../stores/rocksdb/index.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { PartsContext } from './start.ts';

export interface ControlPart {
  readonly service: PlaneService;
  readonly store: PolicyStore;
  readonly compiler: PolicyCompiler;
  /** Begins and stops to follow the configured repositories: what a follower leaves to its origin. */
  readonly mirrors: Pick<GitOpsService, 'start' | 'stop'>;
  /** Begins the upkeep; called once everything else is up. */
  start(): Promise<void>;
}

/** Opens the policy store and the control plane over it, mirrors of Git repositories included. */
export async function openControlPart(
  context: PartsContext,
  cited: Pick<CitedRoots, 'since'>,
  describe: () => Promise<Readonly<Record<string, unknown>>>,
): Promise<ControlPart> {
  const { config, layout, identity, log, metrics, version, onClose } = context;
  const holder = identity.id;
  const kv =
    config.control_plane.backend === 'memory'
      ? openMemoryKv({ families: policyFamilies })
      : await openPolicyFiles(context, holder);
  onClose('policy store', () => kv.close());
  const store = await openPolicyRepository(kv, {
    cacheBytes: config.evaluation_plane.policy_cache_bytes,
    cacheAgeMs: config.evaluation_plane.policy_cache_age,
  });
  let isClosing = false;
  onClose('policy tree', () => {
    isClosing = true;
    return store.close();
  });
  void store.ready().then(
    () => {
      const { damaged, indexRebuilt } = store.status();
      if (damaged.length > 0) log.error({ damaged }, 'stored policies are damaged and will not be served');
      if (indexRebuilt !== null) log.warn({ why: indexRebuilt }, 'the index of the policy store was built anew');
    },
    (err: unknown) => {
      if (!isClosing) log.error({ err }, 'the index of the policy store cannot be loaded: policies take no changes');
    },
  );

  onClose('recovery of the policy store', recoverByItself(store, log));

  const compiler = createNodeCompiler(version);
  onClose('policy compiler', () => compiler.close());
  const dependents = createDependentTests({
    compiler,
    index: createAskedPathsIndex({
      store,
      state: fileState(join(layout.root, 'asked-paths.json')),
      onError: (error) => log.warn({ err: error }, 'the index of paths that tests ask cannot be saved'),
    }),
    store,
  });
  const registry = await openMirrorRegistry(fileState(join(layout.root, 'mirrors.json')));
  const baseDir = process.cwd();
  const git = createGit({ stateDir: layout.mirrors, environment: process.env });
  const shared = { clock: () => Date.now(), newId: () => randomUUID() };
  const citedRoots = (sinceMs: number) => cited.since(sinceMs);
  const sync = createSyncEngine({
    store,
    compiler,
    dependents,
    registry,
    git,
    mirrorsDir: layout.mirrors,
    baseDir,
    ...shared,
  });
  const timing = { timer: unrefTimer, random: Math.random };
  const gitops = createGitOpsService({
    engine: sync,
    registry,
    repositories: configuredRepositories(config, layout.root),
    baseDir,
    ...timing,
    onEvent: (event) => logSync(log, event),
  });
  onClose('mirrors', () => gitops.stop());
  addMirrorMetrics(metrics, registry, sync);
  const upkeep = createUpkeep({
    jobs: [
      ...storeJobs({
        store,
        registry,
        citedRoots,
        clock: shared.clock,
        retentionMs: config.storage.retention,
        gcEveryMs: config.storage.gc_every,
        scrubEveryMs: config.storage.scrub_every,
        pause: (ms, signal) => pause(ms, undefined, { signal, ref: false }),
      }),
      ...backupJobs(config, layout.root, store, shared.clock),
    ],
    state: fileState(join(layout.root, 'upkeep.json')),
    clock: shared.clock,
    ...timing,
    onEvent: (event) => logUpkeep(log, event),
  });
  onClose('upkeep', () => upkeep.stop());
  const service = createControlService({
    store,
    compiler,
    dependents,
    gitops: { registry, sync, baseDir, configured: gitops.configured, missing: gitops.missing },
    upkeep,
    citedRoots,
    transfers: await openTransfers({ directory: join(layout.root, 'transfers'), ...shared }),
    version,
    instance: identity.id,
    describe,
    extra: context.controlExtra,
    ...shared,
  });
  onClose('policy subscriptions', () => service.close());
  return {
    service: { ...service, routes: gitops.routes },
    store,
    compiler,
    mirrors: gitops,
    async start() {
      await upkeep.start();
      dependents
        .warm()
        .catch((error: unknown) => log.warn({ err: error }, 'the paths that tests ask are not known yet'));
    },
  };
}

/** Looks once a second whether a store that refuses writes takes them again. @returns what ends that */
function recoverByItself(store: PolicyStore, log: Logger): () => Promise<void> {
  let told = false;
  let trying: Promise<void> | undefined;
  const look = async (): Promise<void> => {
    const why = store.status().refusesWrites;
    if (why === null) return;
    if (!told) log.error({ why }, 'the policy store refuses writes');
    told = true;
    try {
      await store.recover();
    } catch {
      // There is still no room; the first error was told.
      return;
    }
    told = false;
    log.info('the policy store takes writes again');
  };
  const timer = setInterval(() => {
    trying ??= look().finally(() => {
      trying = undefined;
    });
  }, 1000);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await trying;
  };
}

/** `[storage.backup]`: none without a directory. */
function backupJobs(config: Config, root: string, store: PolicyStore, clock: () => number): UpkeepJob[] {
  const { directory, full_every, incremental_every, keep } = config.storage.backup;
  if (directory === undefined) return [];
  const schedule = { fullEveryMs: full_every, incrementalEveryMs: incremental_every, keep };
  return [backupJob(store, clock, { directory: resolve(root, directory), ...schedule })];
}

/** The policy store on disk, held to the mark beside it: updates that a damaged log lost are reported, not passed over. */
async function openPolicyFiles({ layout, log }: PartsContext, holder: string): Promise<Kv<PolicyFamily>> {
  return openMarkedKv({
    open: () => openRocksKv({ directory: layout.policies, families: policyFamilies, holder }),
    markPath: join(layout.keys, 'policies.mark'),
    family: 'metadata',
    name: 'policy store',
    onError: (error) => log.error({ err: error }, 'the mark of the policy store cannot be written'),
  });
}

/** What an alert wants to know of each mirror. */
function addMirrorMetrics(metrics: Metrics, registry: MirrorRegistry, sync: SyncEngine): void {
  const labels = ['repository', 'prefix'];
  const of = ({ repository, prefix }: MirrorRecord, value: number) => ({ labels: { repository, prefix }, value });
  metrics.add({
    name: 'ipe_mirror_drift_policies',
    help: 'Policies below a mirror that differ from the commit that was synced last.',
    labels,
    read: () =>
      Promise.all(
        registry.list().map(async (mirror) => {
          const drift = await sync.drift(mirror).catch(() => undefined);
          return of(mirror, drift?.length ?? Number.NaN);
        }),
      ),
  });
  metrics.add({
    name: 'ipe_mirror_failed',
    help: '1 where the last sync of a mirror failed.',
    labels,
    read: () => registry.list().map((mirror) => of(mirror, mirror.error === null ? 0 : 1)),
  });
  metrics.add({
    name: 'ipe_mirror_pinned',
    help: '1 where a mirror is held at a commit by a rollback.',
    labels,
    read: () => registry.list().map((mirror) => of(mirror, mirror.pin === null ? 0 : 1)),
  });
}

/** A timer that does not keep the process alive. */
function unrefTimer(callback: () => void, delayMs: number): () => void {
  const timer = setTimeout(callback, delayMs);
  timer.unref();
  return () => clearTimeout(timer);
}

/** `[control_plane.git_sync]`: the repository it names, and those of its list. */
function configuredRepositories(config: Config, root: string): ConfiguredRepository[] {
  const { git_sync: sync } = config.control_plane;
  const { repositories = [], ...first } = sync;
  return [first, ...repositories].flatMap((each): ConfiguredRepository[] => {
    if (each.repository === undefined) return [];
    const { token_path, ssh_key_path, webhook_secret_path, require_signed } = each;
    const { allowed_signers_path, openpgp_keys_path } = each;
    const access = {
      ...(token_path === undefined ? {} : { tokenFile: resolve(root, token_path) }),
      ...(ssh_key_path === undefined ? {} : { ssh: { keyFile: resolve(root, ssh_key_path) } }),
    };
    const signature = {
      ...(allowed_signers_path === undefined ? {} : { allowedSignersFile: resolve(root, allowed_signers_path) }),
      ...(openpgp_keys_path === undefined ? {} : { openpgpKeysFile: resolve(root, openpgp_keys_path) }),
    };
    return [
      {
        repository: each.repository,
        prefix: each.prefix,
        intervalMs: each.interval,
        access,
        ...(each.branch === undefined ? {} : { branch: each.branch }),
        ...(each.directory === undefined ? {} : { directory: each.directory }),
        ...(require_signed ? { signature } : {}),
        ...(webhook_secret_path === undefined
          ? {}
          : { webhookSecret: () => readSecret(resolve(root, webhook_secret_path)) }),
      },
    ];
  });
}

async function readSecret(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (cause) {
    throw new IpeError('unavailable', `the webhook secret in \`${path}\` cannot be read`, { cause });
  }
}

function logSync(log: Logger, event: GitOpsEvent): void {
  const { repository } = event;
  if (event.kind === 'synced')
    log.info({ repository, status: event.outcome.status, sync: event.outcome.syncId }, 'policies synced');
  else if (event.kind === 'failed') {
    const { error, retryMs } = event;
    const why = isIpeError(error) ? { reason: error.reason, message: error.message } : { err: error };
    log.error({ repository, retryMs, ...why }, 'policies could not be synced');
  } else if (event.kind === 'drift')
    log.warn(
      { repository, paths: event.paths.slice(0, 20), count: event.paths.length },
      'policies drifted from their repository',
    );
  else log.info({ repository, seen: event.seenCommit }, 'the mirror is pinned; a newer commit was seen');
}

function logUpkeep(log: Logger, event: UpkeepEvent): void {
  const { job } = event;
  if (event.kind === 'done') log.info({ job, tookMs: event.tookMs, result: event.result }, 'upkeep done');
  else log.error({ job, err: event.error }, 'upkeep failed');
}
