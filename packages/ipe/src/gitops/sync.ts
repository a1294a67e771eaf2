import { createHash } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { IpeError, isIpeError } from '@ipe/core';
import type { PolicyStore, UpdateResult } from '@ipe/core/tree';
import type { DependentTests } from '../policies/dependent-tests.ts';
import { refuseFaulty, warningsOf } from '../policies/report.ts';
import { surroundingsOf } from '../policies/surroundings.ts';
import type { CompiledPolicy, FileProblem, PolicyCompiler, PolicyText, TestOutcome } from '../policies/types.ts';
import type { PolicyDirectory } from './directory.ts';
import {
  checkBranch,
  checkDirectory,
  type Git,
  type Mirror,
  mirrorFolder,
  openMirror,
  parseLocation,
  type RemoteAccess,
  type SignatureRequirement,
  type SourceCommit,
} from './git/index.ts';
import { isAtOrBelow, type MirrorRecord, type MirrorRegistry, type SyncFailure, type SyncRecord } from './mirrors.ts';
import { ownedPaths, takeOver } from './ownership.ts';
import { type ChangedTest, changedTests, planChanges, refuseEmptying } from './plan.ts';
import { readSource, type SourceState, sourceAuthor, sourceTrailers } from './source.ts';
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
   * changes. Syncs of one repository wait for each other.
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
  readonly dependents: DependentTests;
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

/** Runs work of one key after the other, in the order it was asked for. */
function createQueue(): <Result>(key: string, work: () => Promise<Result>) => Promise<Result> {
  const last = new Map<string, Promise<unknown>>();
  return (key, work) => {
    const result = (last.get(key) ?? Promise.resolve()).then(work, work);
    const settled = result.catch(() => {});
    last.set(key, settled);
    void settled.then(() => {
      if (last.get(key) === settled) last.delete(key);
    });
    return result;
  };
}

/** Key of the queue in which ownership is decided and the tree written: two mirrors must not claim the same at once. */
const writing = 'tree';

export function createSyncEngine(options: SyncEngineOptions): SyncEngine {
  const { store, compiler, dependents, registry, git, clock } = options;
  const queue = createQueue();
  /** Copies that a sync is working on, which may be of repositories that are not mirrored yet. */
  const inUse = new Set<string>();

  const openSource = (
    request: Pick<SyncRequest, 'repository' | 'branch' | 'directory' | 'prefix' | 'access'>,
  ): Opened => {
    const location = parseLocation(request.repository, options.baseDir);
    const directory = checkDirectory(request.directory ?? '');
    const prefix = request.prefix ?? '';
    const id = mirrorId(location.shown, directory, prefix);
    const branch = request.branch === undefined ? (registry.get(id)?.branch ?? undefined) : checkBranch(request.branch);
    const mirror = openMirror(git, options.mirrorsDir, location, request.access);
    return { mirror, directory, prefix, id, ...(branch !== undefined && { branch }) };
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
    before: readonly string[] | undefined,
    signal: AbortSignal | undefined,
  ): Promise<CompiledSet> => {
    const texts: PolicyText[] = directory.policies.map((policy) => ({
      ...policy,
      path: prefix === '' ? policy.path : `${prefix}.${policy.path}`,
    }));
    const snapshot = store.current();
    const owned = ownedPaths(
      prefix,
      texts.map(({ path }) => path),
      before,
    );
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
    return { texts, compiled, fresh, testedAt: snapshot.root };
  };

  /** Applies the plan against the root it was made for; a write that came between means planning again. */
  const apply = async (
    request: SyncRequest,
    record: MirrorRecord,
    state: SourceState,
    { texts, compiled, fresh, testedAt }: CompiledSet,
  ): Promise<Applied> => {
    const paths = new Set(fresh.map(({ path }) => path));
    const tested = { texts: texts.filter(({ path }) => paths.has(path)), compiled: fresh, testedAt };
    const trailers = sourceTrailers(record.repository, state, request.by, compiler.version);
    for (let attempt = 0; ; attempt++) {
      const snapshot = store.current();
      const { changes, present } = await planChanges(snapshot, record.owned, compiled);
      if (request.allowEmpty !== true) refuseEmptying(record.repository, record.owned, compiled.length, present);
      try {
        const removed = changes.flatMap((change) => ('delete' in change ? [change.path] : []));
        return await dependents.write(
          { ...tested, removed, ...(request.signal !== undefined && { signal: request.signal }) },
          async () => snapshot,
          () =>
            store.update({
              changes,
              author: sourceAuthor(state.commit),
              message: state.commit.message === '' ? `Sync ${state.commit.id}` : state.commit.message,
              timeMs: clock(),
              trailers,
              expectedRoot: snapshot.root,
              dryRun: request.dryRun === true,
            }),
        );
      } catch (error) {
        const moved = isIpeError(error) && error.reason === 'conflict' && store.current().root !== snapshot.root;
        if (attempt >= 10 || !moved) throw error;
      }
    }
  };

  /** Claims, plans and writes. Ownership is looked at again here: it may have changed while policies were compiled. */
  const write = async (
    request: SyncRequest,
    opened: Opened,
    state: SourceState,
    set: CompiledSet,
  ): Promise<Written> => {
    const { id, mirror, directory, prefix } = opened;
    const known = registry.get(id);
    const owned = ownedPaths(
      prefix,
      set.compiled.map(({ path }) => path),
      known?.owned,
    );
    const yielding = takeOver(registry, id, owned, request.force === true);
    const claim: MirrorRecord = {
      id,
      repository: mirror.location.shown,
      branch: opened.branch ?? null,
      directory,
      prefix,
      owned,
      configured: request.configured ?? known?.configured ?? false,
      commit: known?.commit ?? null,
      rootCommit: known?.rootCommit ?? null,
      root: known?.root ?? null,
      syncedAtMs: known?.syncedAtMs ?? null,
      pin: request.resume === true ? null : (known?.pin ?? null),
      seenCommit: state.tip,
      lastAttemptMs: clock(),
      error: null,
    };
    const drifted = known === undefined ? [] : await drift(known).catch(forgotten);
    // Ownership is claimed before the first write: a crash between the two must not leave an unowned mirror.
    if (request.dryRun !== true) await registry.save({ mirrors: [...yielding, claim] });
    const { update, tests } = await apply(request, claim, state, set);
    const pin = request.pinTo === undefined ? claim.pin : { commit: state.commit.id, by: request.by, sinceMs: clock() };
    const { commit: rootCommit, root } = update;
    const done: MirrorRecord = { ...claim, pin, commit: state.commit.id, rootCommit, root, syncedAtMs: clock() };
    if (request.dryRun !== true) await registry.save({ mirrors: [done] });
    return { update, tests, mirror: done, drifted };
  };

  const run = async (request: SyncRequest, syncId: string): Promise<SyncOutcome> => {
    const opened = openSource(request);
    const { mirror, directory, prefix, id } = opened;
    refusePinned(request, registry.get(id));
    const state = await readSource(mirror, {
      directory,
      ...(opened.branch !== undefined && { branch: opened.branch }),
      ...(request.pinTo !== undefined && { commit: request.pinTo }),
      ...(request.signature !== undefined && { signature: request.signature }),
      ...(request.signal !== undefined && { signal: request.signal }),
    });
    const set = await compileAll(state.files, prefix, registry.get(id)?.owned, request.signal);
    const { texts, compiled } = set;
    const { update, tests, mirror: record, drifted } = await queue(writing, () => write(request, opened, state, set));
    const outcome = {
      syncId,
      mirror: record,
      branch: state.branch,
      source: state.commit,
      signedBy: state.signedBy,
      update,
      policies: compiled.length,
      tests: compiled.reduce((sum, policy) => sum + policy.tests.length, tests.length),
      warnings: warningsOf(compiled),
      driftReverted: drifted,
    };
    if (request.dryRun !== true)
      return { ...outcome, status: update.changed.length === 0 ? 'up-to-date' : 'completed' };
    const changed = new Set(update.changed.map(({ path }) => path));
    const incoming = new Map(texts.filter(({ path }) => changed.has(path)).map((text) => [text.path, text]));
    const differing = await changedTests(store.current(), compiler, texts, changed, request.signal);
    return { ...outcome, status: 'dry-run', changedTests: differing, incoming };
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

  /** Syncs of one repository share its copy, and so wait for each other; those of others go on. */
  const inTurn = <Result>(request: Pick<SyncRequest, 'repository'>, work: () => Promise<Result>): Promise<Result> => {
    const folder = mirrorFolder(parseLocation(request.repository, options.baseDir));
    return queue(folder, async () => {
      inUse.add(folder);
      return work().finally(() => inUse.delete(folder));
    });
  };

  return {
    sync: async (request) => inTurn(request, () => recorded(request)),
    look: async (request) =>
      inTurn(request, async () => {
        const { mirror, id, branch } = openSource(request);
        const { commit } = await mirror.update(branch, request.signal);
        const known = registry.get(id);
        if (known !== undefined && known.seenCommit !== commit)
          await registry.save({ mirrors: [{ ...known, seenCommit: commit, lastAttemptMs: clock() }] });
        return commit;
      }),
    async tidy() {
      const wanted = new Set(
        registry.list().map(({ repository }) => mirrorFolder(parseLocation(repository, options.baseDir))),
      );
      const present = await readdir(options.mirrorsDir).catch(() => []);
      for (const name of present)
        if (name.endsWith('.git') && !wanted.has(name) && !inUse.has(name))
          await rm(join(options.mirrorsDir, name), { recursive: true, force: true });
    },
    drift: (mirror) => drift(mirror).catch(forgotten),
  };
}

interface Opened {
  readonly mirror: Mirror;
  readonly id: string;
  readonly branch?: string;
  readonly directory: string;
  readonly prefix: string;
}

interface CompiledSet {
  readonly texts: readonly PolicyText[];
  readonly compiled: readonly CompiledPolicy[];
  /** Those of them that were not stored just so already. */
  readonly fresh: readonly CompiledPolicy[];
  readonly testedAt: string;
}

interface Applied {
  readonly update: UpdateResult;
  /** Tests outside of the mirror that were run because they ask what it changes. */
  readonly tests: readonly TestOutcome[];
}

interface Written extends Applied {
  readonly mirror: MirrorRecord;
  readonly drifted: readonly string[];
}

function refusePinned(request: SyncRequest, known: MirrorRecord | undefined): void {
  const pin = known?.pin ?? null;
  if (known === undefined || pin === null || request.resume === true || request.pinTo !== undefined) return;
  throw new IpeError(
    'conflict',
    `the mirror of \`${known.repository}\` is held at commit \`${pin.commit.slice(0, 12)}\` by a rollback; resume it to follow the branch again`,
    { details: { mirror: known.id, pinned_commit: pin.commit } },
  );
}

/** How many policies an update added, changed and removed. */
export function countChanges(update: UpdateResult): { added: number; updated: number; removed: number } {
  const count = { added: 0, updated: 0, removed: 0 };
  for (const { change } of update.changed) count[change === 'changed' ? 'updated' : change]++;
  return count;
}

/** Where retention has dropped the root of the last sync, there is nothing left to compare with. */
function forgotten(error: unknown): readonly string[] {
  if (isIpeError(error) && error.reason === 'not_found') return [];
  throw error;
}
