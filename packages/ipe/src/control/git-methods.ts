import { IpeError, nearest } from '@ipe/core';
import { type PolicyStore, unifiedPatch } from '@ipe/core/tree';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { checkDirectory, parseLocation } from '../gitops/git/index.ts';
import type { MirrorRecord, MirrorRegistry, SyncRecord } from '../gitops/mirrors.ts';
import { countChanges, mirrorId, type SyncEngine, type SyncOutcome, type SyncRequest } from '../gitops/sync.ts';
import { problemJson } from '../policies/report.ts';

import { changedJson, seconds } from './wire.ts';

export interface GitMethodOptions {
  readonly store: PolicyStore;
  readonly registry: MirrorRegistry;
  readonly sync: SyncEngine;
  /** Relative repositories start here. */
  readonly baseDir: string;
  /** What the configuration says about a repository: credentials and signatures; absent: nothing. */
  readonly configured?: (mirror: string) => Partial<SyncRequest> | undefined;
}

const textLimits = { maxBytes: 4096, empty: false } as const;
/** Most patches in one dry run; the rest are listed without. */
const patchesMax = 500;

/** The methods of the control plane that mirror Git repositories. */
export function gitMethods({ store, registry, sync, baseDir, configured }: GitMethodOptions) {
  const drifts = async (mirror: MirrorRecord) => mirrorJson(mirror, await sync.drift(mirror));

  /** The mirror meant by `repository` (its location or id), or the only one there is. */
  const theMirror = (repository: string | undefined): MirrorRecord => {
    const all = registry.list();
    if (repository === undefined) {
      const only = all[0];
      if (all.length === 1 && only !== undefined) return only;
      throw new IpeError(
        all.length === 0 ? 'not_found' : 'invalid_params',
        all.length === 0
          ? 'no repository is mirrored; sync one first'
          : `\`repository\` is missing; mirrored are ${all.map((mirror) => `\`${mirror.repository}\``).join(', ')}`,
        { details: { field: 'repository' } },
      );
    }
    const found = all.filter(
      (mirror) =>
        mirror.id === repository || mirror.repository === repository || mirror.repository === shown(repository),
    );
    const only = found[0];
    if (only !== undefined && found.length === 1) return only;
    if (found.length > 1)
      throw new IpeError(
        'invalid_params',
        `\`${repository}\` is mirrored ${found.length} times; give one of the ids ${found.map(({ id }) => `\`${id}\``).join(', ')}`,
        { details: { field: 'repository', mirrors: found.map(({ id }) => id) } },
      );
    const close = nearest(
      repository,
      all.flatMap((mirror) => [mirror.repository, mirror.id]),
    );
    throw new IpeError(
      'not_found',
      `\`${repository}\` is not mirrored${close === undefined ? '' : `; did you mean \`${close}\`?`}`,
      { details: { field: 'repository', ...(close !== undefined && { nearest: close }) } },
    );
  };
  const shown = (repository: string): string | undefined => {
    try {
      return parseLocation(repository, baseDir).shown;
    } catch {
      return undefined;
    }
  };

  return {
    'sync-from-git': async (params, context) => {
      const fields = readParams(params, [
        'repository',
        'branch',
        'directory',
        'prefix',
        'dry_run',
        'allow_empty',
        'force',
        'resume',
        'detach',
      ]);
      const given = fields.optionalString('repository', textLimits);
      const branch = fields.optionalString('branch', textLimits);
      const directory = fields.optionalString('directory');
      const prefix = fields.optionalString('prefix');
      if (
        prefix !== undefined &&
        prefix !== '' &&
        !/^[a-z0-9][a-z0-9_-]{0,63}(\.[a-z0-9][a-z0-9_-]{0,63})*$/.test(prefix)
      )
        throw fields.refuse('prefix', `must be a path such as \`prod.deployment\`, not \`${prefix.slice(0, 64)}\``);
      const dryRun = fields.boolean('dry_run');
      const flags = {
        allowEmpty: fields.boolean('allow_empty'),
        force: fields.boolean('force'),
        resume: fields.boolean('resume'),
      };
      if (fields.boolean('detach')) {
        const mirror = theMirror(given);
        await registry.remove(mirror.id);
        await sync.tidy();
        return { detached: mirror.repository, mirror: mirror.id };
      }
      // Without a location, or with an id, a known mirror is meant, with the directory and prefix it has.
      const known =
        given === undefined || registry.get(given) !== undefined
          ? theMirror(given)
          : registry.get(mirrorId(parseLocation(given, baseDir).shown, checkDirectory(directory ?? ''), prefix ?? ''));
      const outcome = await sync.sync({
        ...(known !== undefined ? { directory: known.directory, prefix: known.prefix, ...configured?.(known.id) } : {}),
        repository: given === undefined || known?.id === given ? known!.repository : given,
        ...(branch !== undefined && { branch }),
        ...(directory !== undefined && { directory }),
        ...(prefix !== undefined && { prefix }),
        ...flags,
        dryRun,
        by: context.caller.name,
        signal: context.signal,
      });
      return outcomeJson(outcome, store);
    },

    'get-sync-status': async (params) => {
      const fields = readParams(params, ['sync_id', 'repository']);
      const syncId = fields.optionalString('sync_id', textLimits);
      const repository = fields.optionalString('repository', textLimits);
      if (syncId !== undefined) {
        const syncs = registry.syncs();
        const found = syncs.find((record) => record.syncId === syncId);
        if (found !== undefined) return syncJson(found);
        throw new IpeError('not_found', `no sync \`${syncId}\` among the last ${syncs.length}`, {
          details: { field: 'sync_id', sync_id: syncId },
        });
      }
      const mirrors = repository === undefined ? registry.list() : [theMirror(repository)];
      const wanted = new Set(mirrors.map(({ id }) => id));
      return {
        mirrors: await Promise.all(mirrors.map(drifts)),
        syncs: registry
          .syncs()
          .filter(({ mirror }) => repository === undefined || wanted.has(mirror))
          .map(syncJson),
      };
    },

    'rollback-to-commit': async (params, context) => {
      const fields = readParams(params, ['commit', 'repository', 'dry_run', 'allow_empty']);
      const commit = fields.string('commit', { maxBytes: 64, empty: false });
      const mirror = theMirror(fields.optionalString('repository', textLimits));
      const outcome = await sync.sync({
        ...configured?.(mirror.id),
        repository: mirror.repository,
        ...(mirror.branch !== null && { branch: mirror.branch }),
        directory: mirror.directory,
        prefix: mirror.prefix,
        pinTo: commit,
        dryRun: fields.boolean('dry_run'),
        allowEmpty: fields.boolean('allow_empty'),
        by: context.caller.name,
        signal: context.signal,
      });
      return outcomeJson(outcome, store);
    },
  } satisfies Handlers;
}

async function outcomeJson(outcome: SyncOutcome, store: PolicyStore) {
  const { update, mirror, source } = outcome;
  const count = countChanges(update);
  return {
    sync_id: outcome.syncId,
    status: outcome.status,
    policies_added: count.added,
    policies_updated: count.updated,
    policies_removed: count.removed,
    commit: source.id,
    root: update.root,
    root_commit: update.commit,
    mirror: mirror.id,
    repository: mirror.repository,
    branch: outcome.branch,
    directory: mirror.directory,
    prefix: mirror.prefix,
    pinned: mirror.pin !== null,
    policies: outcome.policies,
    tests: outcome.tests,
    author: source.author,
    message: source.message,
    signed_by: outcome.signedBy,
    changes: update.changed.map(changedJson),
    drift_reverted: outcome.driftReverted,
    warnings: outcome.warnings.map(problemJson),
    ...(outcome.changedTests !== undefined && { changed_tests: outcome.changedTests }),
    ...(outcome.incoming !== undefined && { patches: await patchesOf(outcome, store) }),
  };
}

/** What a dry run would change, as unified patches against what is stored now. */
async function patchesOf(outcome: SyncOutcome, store: PolicyStore) {
  const snapshot = store.current();
  const decoder = new TextDecoder();
  const patches = [];
  for (const { path, change } of outcome.update.changed.slice(0, patchesMax)) {
    const now = await snapshot.readPolicy(path);
    const next = change === 'removed' ? undefined : outcome.incoming?.get(path);
    const source = unifiedPatch(
      `${path}.policy.yaml`,
      now === undefined ? null : decoder.decode(now.files.source),
      next?.source ?? null,
    );
    const test = unifiedPatch(
      `${path}.test.yaml`,
      now?.files.test === undefined ? null : decoder.decode(now.files.test),
      next?.test ?? null,
    );
    patches.push({
      path,
      change,
      ...(source !== '' && { source_patch: source }),
      ...(test !== '' && { test_patch: test }),
    });
  }
  return patches;
}

function mirrorJson(mirror: MirrorRecord, drift: readonly string[]) {
  return {
    mirror: mirror.id,
    repository: mirror.repository,
    branch: mirror.branch,
    directory: mirror.directory,
    prefix: mirror.prefix,
    owned: mirror.owned,
    configured: mirror.configured,
    status:
      mirror.pin !== null ? 'pinned' : mirror.error !== null ? 'failed' : mirror.commit === null ? 'new' : 'synced',
    commit: mirror.commit,
    root: mirror.root,
    root_commit: mirror.rootCommit,
    synced_at: mirror.syncedAtMs === null ? null : seconds(mirror.syncedAtMs),
    pin: mirror.pin && { commit: mirror.pin.commit, by: mirror.pin.by, since: seconds(mirror.pin.sinceMs) },
    seen_commit: mirror.seenCommit,
    behind: mirror.seenCommit !== null && mirror.seenCommit !== mirror.commit,
    last_attempt_at: mirror.lastAttemptMs === null ? null : seconds(mirror.lastAttemptMs),
    error: mirror.error && { ...mirror.error, atMs: undefined, at: seconds(mirror.error.atMs) },
    drift,
  };
}

function syncJson(sync: SyncRecord) {
  return {
    sync_id: sync.syncId,
    mirror: sync.mirror,
    status: sync.status,
    policies_added: sync.added,
    policies_updated: sync.updated,
    policies_removed: sync.removed,
    commit: sync.commit,
    root: sync.root,
    root_commit: sync.rootCommit,
    by: sync.by,
    started_at: seconds(sync.startedAtMs),
    finished_at: sync.finishedAtMs === null ? null : seconds(sync.finishedAtMs),
    error: sync.error && { reason: sync.error.reason, message: sync.error.message, at: seconds(sync.error.atMs) },
  };
}
