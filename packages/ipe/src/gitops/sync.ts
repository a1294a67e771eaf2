import { createHash } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { IpeError, isIpeError } from '@ipe/core';
import type { PolicyStore, Trailers, UpdateResult } from '@ipe/core/tree';
import { refuseFaulty, warningsOf } from '../policies/report.ts';
import { surroundingsOf } from '../policies/surroundings.ts';
import type { CompiledPolicy, FileProblem, PolicyCompiler, PolicyText } from '../policies/types.ts';
import { commitSource, loadPolicies, type PolicyDirectory } from './directory.ts';
import {
  checkBranch,
  checkDirectory,
  type Git,
  isAncestor,
  type Mirror,
  mirrorFolder,
  openMirror,
  parseLocation,
  type RemoteAccess,
  readCommit,
  resolveCommit,
  type SignatureRequirement,
  type SourceCommit,
  verifySignature,
} from './git/index.ts';
import { isAtOrBelow, type MirrorRecord, type MirrorRegistry, type SyncFailure, type SyncRecord } from './mirrors.ts';
import { ownedPaths, takeOver } from './ownership.ts';
import { type ChangedTest, changedTests, planChanges, refuseEmptying } from './plan.ts';
import { storedAlready, withKnown } from './stored.ts';

/** What to sync, and how far to go. */
export interface SyncRequest {
  /** Local path or URL. */
  readonly repository: string;
  /** Branch or tag; absent: the one followed so far, else the repository's default. */
  readonly branch?: string;
  /** Folder of the policies inside the repository; absent: its root. */
  readonly directory?: string;
  /** Place in the tree; absent: the tree's root, where the mirror owns the first segments it brings. */
  readonly prefix?: string;
  /** Computes everything and changes nothing. */
  readonly dryRun?: boolean;
  /** Confirms that an empty repository is meant to empty its place. */
  readonly allowEmpty?: boolean;
  /** Takes over what a configured mirror owns. */
  readonly force?: boolean;
  /** Takes this commit instead of the branch's newest, and stays there until resumed. */
  readonly pinTo?: string;
  /** Lifts such a pin first. */
  readonly resume?: boolean;
  /** Who asked, for the commit and the record. */
  readonly by: string;
  /** Whether the mirror stands in the configuration. */
  readonly configured?: boolean;
  readonly access?: RemoteAccess;
  readonly signature?: SignatureRequirement;
  readonly signal?: AbortSignal;
}

/** What a sync did, or with `dryRun` would do. */
export interface SyncOutcome {
  readonly syncId: string;
  readonly status: 'completed' | 'up-to-date' | 'dry-run';
  readonly mirror: MirrorRecord;
  readonly branch: string;
  /** The commit of the repository. */
  readonly source: SourceCommit;
  readonly signedBy: string | null;
  readonly update: UpdateResult;
  /** Policies that the repository holds. */
  readonly policies: number;
  /** Tests that ran: those of policies that are new or changed. */
  readonly tests: number;
  readonly warnings: readonly FileProblem[];
  /** Paths that were changed here since the sync before, and now are as in the repository again. */
  readonly driftReverted: readonly string[];
  /** With `dryRun`: tests whose result would change. */
  readonly changedTests?: readonly ChangedTest[];
  /** With `dryRun`: incoming texts by path, for patches. */
  readonly incoming?: ReadonlyMap<string, PolicyText>;
}

export interface SyncEngine {
  /**
   * Brings the owned part of the tree to the state of a commit: everything compiles and every test passes, or nothing
   * changes. One sync at a time.
   * @throws IpeError `policy_invalid` with every problem; `conflict` for emptied or overlapping places and pinned mirrors;
   *   `forbidden` for refused access or signatures; `not_found`, `unavailable`, `too_large` from the repository.
   */
  sync(request: SyncRequest): Promise<SyncOutcome>;
  /** The newest commit at the source, remembered as seen; what a poll does for a pinned mirror. */
  look(
    request: Pick<SyncRequest, 'repository' | 'branch' | 'directory' | 'prefix' | 'access' | 'signal'>,
  ): Promise<string>;
  /** Removes copies of repositories that are no longer mirrored. */
  tidy(): Promise<void>;
  /** Policies below a mirror that differ from what its last sync put there. */
  drift(mirror: MirrorRecord): Promise<readonly string[]>;
}

export interface SyncEngineOptions {
  readonly store: PolicyStore;
  readonly compiler: PolicyCompiler;
  readonly registry: MirrorRegistry;
  readonly git: Git;
  /** Folder of the bare mirrors. */
  readonly mirrorsDir: string;
  /** Relative repositories start here. */
  readonly baseDir: string;
  /** Unix milliseconds. */
  readonly clock: () => number;
  readonly newId: () => string;
}

/** The id of a mirror: a pure function of what makes it the same mirror. */
export function mirrorId(repository: string, directory: string, prefix: string): string {
  return createHash('sha256')
    .update(JSON.stringify([repository, directory, prefix]))
    .digest('hex')
    .slice(0, 12);
}

export function createSyncEngine(options: SyncEngineOptions): SyncEngine {
  const { store, compiler, registry, git, clock } = options;
  let last: Promise<unknown> = Promise.resolve();

  /** One at a time: two syncs of one place would plan against the same state. */
  const exclusively = <T>(work: () => Promise<T>): Promise<T> => {
    const result = last.then(work, work);
    last = result.catch(() => {});
    return result;
  };

  const openSource = (request: Pick<SyncRequest, 'repository' | 'directory' | 'prefix' | 'access'>) => {
    const location = parseLocation(request.repository, options.baseDir);
    const directory = checkDirectory(request.directory ?? '');
    const prefix = request.prefix ?? '';
    const mirror = openMirror(git, options.mirrorsDir, location, request.access);
    return { mirror, directory, prefix, id: mirrorId(location.shown, directory, prefix) };
  };

  const drift = async (mirror: MirrorRecord): Promise<readonly string[]> => {
    if (mirror.rootCommit === null) return [];
    const paths: string[] = [];
    for (const prefix of mirror.owned)
      for (const { path } of await store.diff(mirror.rootCommit, 'main', { prefix })) paths.push(path);
    return paths;
  };

  const compileAll = async (
    directory: PolicyDirectory,
    prefix: string,
    owned: readonly string[],
    signal: AbortSignal | undefined,
  ) => {
    const texts: PolicyText[] = directory.policies.map((policy) => ({
      ...policy,
      path: prefix === '' ? policy.path : `${prefix}.${policy.path}`,
    }));
    const snapshot = store.current();
    const surroundings = surroundingsOf(snapshot, (path) => owned.some((own) => isAtOrBelow(path, own)));
    const known = await storedAlready(snapshot, texts);
    const others = texts.filter(({ path }) => !known.has(path));
    const fresh = await compiler.compile(others, {
      surroundings: withKnown(surroundings, known),
      ...(signal !== undefined && { signal }),
    });
    refuseFaulty(fresh, directory.problems);
    const byPath = new Map(fresh.map((policy) => [policy.path, policy]));
    const compiled = texts.map(({ path }) => byPath.get(path) ?? known.get(path)!);
    return { texts, compiled };
  };

  /** Applies the plan against the root it was made for; a write that came between means planning again. */
  const apply = async (
    request: SyncRequest,
    record: MirrorRecord,
    source: SourceCommit,
    trailers: Trailers,
    compiled: readonly CompiledPolicy[],
  ): Promise<UpdateResult> => {
    for (let attempt = 0; ; attempt++) {
      const snapshot = store.current();
      const { changes, present } = await planChanges(snapshot, record.owned, compiled);
      if (request.allowEmpty !== true) refuseEmptying(record.repository, record.owned, compiled.length, present);
      try {
        return await store.update({
          changes,
          author: { name: gitName(source.author.name) || 'unknown', email: gitName(source.author.email) },
          message: source.message === '' ? `Sync ${source.id}` : source.message,
          timeMs: clock(),
          trailers,
          expectedRoot: snapshot.root,
          dryRun: request.dryRun === true,
        });
      } catch (error) {
        if (
          attempt >= 10 ||
          !isIpeError(error) ||
          error.reason !== 'conflict' ||
          store.current().root === snapshot.root
        )
          throw error;
      }
    }
  };

  const run = async (request: SyncRequest, syncId: string): Promise<SyncOutcome> => {
    const { mirror, directory, prefix, id } = openSource(request);
    const known = registry.get(id);
    const requested = request.branch === undefined ? (known?.branch ?? undefined) : checkBranch(request.branch);
    const pin = request.resume === true ? null : (known?.pin ?? null);
    if (pin !== null && request.pinTo === undefined)
      throw new IpeError(
        'conflict',
        `the mirror of \`${mirror.location.shown}\` is held at commit \`${pin.commit.slice(0, 12)}\` by a rollback; resume it to follow the branch again`,
        { details: { mirror: id, pinned_commit: pin.commit } },
      );

    const tip = await mirror.update(requested, request.signal);
    const commit = request.pinTo === undefined ? tip.commit : await ofBranch(mirror, request.pinTo, tip.commit);
    const signedBy = request.signature === undefined ? null : await verifySignature(mirror, commit, request.signature);
    const source = await readCommit(mirror, commit);
    const files = await loadPolicies(commitSource(mirror, commit, directory));
    const paths = files.policies.map(({ path }) => (prefix === '' ? path : `${prefix}.${path}`));
    const owned = ownedPaths(prefix, paths, known?.owned);
    const yielding = takeOver(registry, id, owned, request.force === true);
    const { texts, compiled } = await compileAll(files, prefix, owned, request.signal);

    const record: MirrorRecord = {
      id,
      repository: mirror.location.shown,
      branch: requested ?? null,
      directory,
      prefix,
      owned,
      configured: request.configured ?? known?.configured ?? false,
      commit: known?.commit ?? null,
      rootCommit: known?.rootCommit ?? null,
      root: known?.root ?? null,
      syncedAtMs: known?.syncedAtMs ?? null,
      pin: request.pinTo === undefined ? pin : { commit, by: request.by, sinceMs: clock() },
      seenCommit: tip.commit,
      lastAttemptMs: clock(),
      error: null,
    };
    const trailers: Trailers = [
      ['Ipe-Source-Repository', mirror.location.shown],
      ['Ipe-Source-Branch', tip.branch],
      ...(directory === '' ? [] : [['Ipe-Source-Directory', directory] as const]),
      ['Ipe-Source-Commit', commit],
      ['Ipe-Source-Author-Date', new Date(source.authoredAt * 1000).toISOString()],
      ...(signedBy === null ? [] : [['Ipe-Source-Signed-By', signedBy] as const]),
      ['Ipe-Synced-By', request.by],
      ['Ipe-Compiler', compiler.version],
    ];
    const drifted = known === undefined ? [] : await drift(known).catch(forgotten);
    const shared = {
      syncId,
      branch: tip.branch,
      source,
      signedBy,
      policies: compiled.length,
      tests: compiled.reduce((sum, policy) => sum + policy.tests.length, 0),
      warnings: warningsOf(compiled),
    };

    if (request.dryRun === true) {
      const update = await apply(request, record, source, trailers, compiled);
      const changed = new Set(update.changed.map(({ path }) => path));
      const differing = await changedTests(store.current(), compiler, texts, changed, request.signal);
      const incoming = new Map(texts.filter(({ path }) => changed.has(path)).map((text) => [text.path, text]));
      return {
        ...shared,
        status: 'dry-run',
        mirror: record,
        update,
        driftReverted: drifted,
        changedTests: differing,
        incoming,
      };
    }
    // Ownership is claimed before the first write: a crash between the two must not leave an unowned mirror.
    await registry.save({ mirrors: [...yielding, { ...record, pin, lastAttemptMs: clock() }] });
    const update = await apply(request, record, source, trailers, compiled);
    const done: MirrorRecord = { ...record, commit, rootCommit: update.commit, root: update.root, syncedAtMs: clock() };
    await registry.save({ mirrors: [done] });
    const status = update.changed.length === 0 ? 'up-to-date' : 'completed';
    return { ...shared, status, mirror: done, update, driftReverted: drifted };
  };

  const recorded = async (request: SyncRequest): Promise<SyncOutcome> => {
    const syncId = options.newId();
    if (request.dryRun === true) return run(request, syncId);
    const { id } = openSource(request);
    const base: SyncRecord = {
      syncId,
      mirror: id,
      status: 'running',
      commit: null,
      rootCommit: null,
      root: null,
      added: 0,
      updated: 0,
      removed: 0,
      by: request.by,
      startedAtMs: clock(),
      finishedAtMs: null,
      error: null,
    };
    await registry.save({ sync: base });
    try {
      const outcome = await run(request, syncId);
      const { status, source, update } = outcome;
      const count = countChanges(update);
      await registry.save({
        sync: {
          ...base,
          ...count,
          status: status === 'up-to-date' ? 'up-to-date' : 'completed',
          commit: source.id,
          rootCommit: update.commit,
          root: update.root,
          finishedAtMs: clock(),
        },
      });
      return outcome;
    } catch (error) {
      const known = registry.get(id);
      const failure: SyncFailure = {
        reason: isIpeError(error) ? error.reason : 'internal',
        message: error instanceof Error ? error.message : String(error),
        commit: known?.seenCommit ?? null,
        atMs: clock(),
      };
      await registry.save({
        ...(known !== undefined && { mirrors: [{ ...known, lastAttemptMs: clock(), error: failure }] }),
        sync: { ...base, status: 'failed', finishedAtMs: clock(), error: failure },
      });
      throw error;
    }
  };

  return {
    sync: (request) => exclusively(() => recorded(request)),
    look: (request) =>
      exclusively(async () => {
        const { mirror, id } = openSource(request);
        const { commit } = await mirror.update(request.branch, request.signal);
        const known = registry.get(id);
        if (known !== undefined && known.seenCommit !== commit)
          await registry.save({ mirrors: [{ ...known, seenCommit: commit, lastAttemptMs: clock() }] });
        return commit;
      }),
    tidy: () =>
      exclusively(async () => {
        const wanted = new Set(
          registry.list().map(({ repository }) => mirrorFolder(parseLocation(repository, options.baseDir))),
        );
        const present = await readdir(options.mirrorsDir).catch(() => []);
        for (const name of present)
          if (name.endsWith('.git') && !wanted.has(name))
            await rm(join(options.mirrorsDir, name), { recursive: true, force: true });
      }),
    drift: (mirror) => drift(mirror).catch(forgotten),
  };
}

/** How many policies an update added, changed and removed. */
export function countChanges(update: UpdateResult): { added: number; updated: number; removed: number } {
  const count = { added: 0, updated: 0, removed: 0 };
  for (const { change } of update.changed) count[change === 'changed' ? 'updated' : change]++;
  return count;
}

/** Resolves the commit of a rollback, which must be one that the branch went through. */
async function ofBranch(mirror: Mirror, text: string, tip: string): Promise<string> {
  const commit = await resolveCommit(mirror, text);
  if (await isAncestor(mirror, commit, tip)) return commit;
  throw new IpeError('not_found', `commit \`${text}\` is not on the branch that the mirror follows`, {
    details: { field: 'commit', commit: text },
  });
}

/** Where retention has dropped the root of the last sync, there is nothing left to compare with. */
function forgotten(error: unknown): readonly string[] {
  if (isIpeError(error) && error.reason === 'not_found') return [];
  throw error;
}

/** A name or address as a Git commit may hold it. */
function gitName(text: string): string {
  return text.replace(/[<>\x00-\x1f\x7f]/g, ' ').trim();
}
