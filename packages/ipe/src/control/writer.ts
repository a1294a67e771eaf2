import { setImmediate } from 'node:timers/promises';
import { IpeError, isIpeError } from '@ipe/core';
import type { Author, PolicySnapshot, PolicyStore, TreeChange, UpdateResult } from '@ipe/core/tree';
import type { Caller } from '../api/method.ts';
import type { MirrorRegistry } from '../gitops/mirrors.ts';
import { refuseMirrored } from '../gitops/ownership.ts';
import type { DependentTests } from '../policies/dependent-tests.ts';
import { faultsOf, refuseFaulty, warningsOf } from '../policies/report.ts';
import { surroundingsOf } from '../policies/surroundings.ts';
import type { CompiledPolicy, FileProblem, PolicyCompiler, PolicyText, TestOutcome } from '../policies/types.ts';
import { noPolicy } from './lookup.ts';

/** One change as a client asks for it. */
export type RequestedChange = {
  readonly path: string;
  /** Version id, or null for "must hold no policy"; absent: whatever is there. */
  readonly expectedVersion?: string | null;
} & ({ readonly source: string; readonly test?: string } | { readonly delete: true });

export interface WriteRequest {
  readonly changes: readonly RequestedChange[];
  readonly ref?: string;
  readonly expectedRoot?: string;
  readonly message?: string;
  readonly dryRun?: boolean;
  /** Writes below a mirror too. */
  readonly force?: boolean;
  readonly caller: Caller;
  readonly signal?: AbortSignal;
  /** The changes compiled already, in their order. */
  readonly compiled?: readonly CompiledPolicy[];
}

export interface WriteOutcome {
  readonly update: UpdateResult;
  readonly warnings: readonly FileProblem[];
  readonly compiled: readonly CompiledPolicy[];
  /** Tests outside of the set that were run because they ask what it changes. */
  readonly dependents: readonly TestOutcome[];
}

/** The one way in which policies of requests get into the tree: owned, compiled, tested, then written in one commit. */
export interface PolicyWriter {
  /**
   * @throws IpeError `forbidden` below a mirror; `policy_invalid` with every problem and failed test; `conflict`,
   *   `not_found`, `invalid_params`, `too_large` from the store. Nothing is changed by any of them.
   */
  write(request: WriteRequest): Promise<WriteOutcome>;
  /**
   * Moves a ref (default `main`) to the content of `revision`, by `move`, after the tests that are stored there.
   * @throws IpeError `policy_invalid` with every failed test of what changes, and of what asks it; what `move` throws
   */
  move(request: MoveRequest): Promise<{ readonly update: UpdateResult; readonly tests: readonly TestOutcome[] }>;
  /** Compiles, tests and tries against the tree, and stores nothing. */
  check(
    changes: readonly RequestedChange[],
    options?: { readonly ref?: string; readonly signal?: AbortSignal },
  ): Promise<CheckOutcome>;
}

export interface MoveRequest {
  readonly revision: string;
  readonly ref?: string;
  readonly signal?: AbortSignal;
  readonly move: () => Promise<UpdateResult>;
}

export interface CheckOutcome {
  readonly compiled: readonly CompiledPolicy[];
  /** Why the tree would not take the changes although they compile; null where it would, or where they do not. */
  readonly refused: IpeError | null;
}

export interface PolicyWriterOptions {
  readonly store: PolicyStore;
  readonly compiler: PolicyCompiler;
  readonly dependents: DependentTests;
  /** Absent: the node has no mirrors. */
  readonly registry?: MirrorRegistry;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

export function createPolicyWriter(options: PolicyWriterOptions): PolicyWriter {
  const { store, compiler, dependents, registry, clock } = options;
  const compile = (
    changes: readonly RequestedChange[],
    snapshot: PolicySnapshot,
    signal: AbortSignal | undefined,
  ): Promise<readonly CompiledPolicy[]> => {
    const texts = textsOf(changes);
    const touched = new Set(changes.map(({ path }) => path));
    const surroundings = surroundingsOf(snapshot, (path) => touched.has(path));
    return compiler.compile(texts, { surroundings, ...(signal !== undefined && { signal }) });
  };

  /** What a ref holds now; one that does not exist yet starts from `main`. */
  const around = async (ref: string | undefined): Promise<PolicySnapshot> =>
    ref !== undefined && ref !== 'main' && store.refs().some(({ name }) => name === ref)
      ? store.at(ref)
      : store.current();

  const write = async (request: WriteRequest): Promise<WriteOutcome> => {
    const { changes, caller, ref } = request;
    refuseTwice(changes);
    const onMain = ref === undefined || ref === 'main';
    const guarded = registry !== undefined && onMain && request.force !== true ? registry : undefined;
    const paths = changes.map(({ path }) => path);
    if (guarded !== undefined) refuseMirrored(guarded, paths);
    const snapshot = await around(ref);
    // What cannot succeed is refused before the compiler is asked.
    await refuseMissing(snapshot, changes);
    if (request.expectedRoot !== undefined) refuseStale(snapshot, request.expectedRoot);
    const compiled = request.compiled ?? (await compile(changes, snapshot, request.signal));
    refuseFaulty(compiled);
    // A large set takes milliseconds at each of these steps: decisions go on in between.
    await setImmediate();
    if (guarded !== undefined) refuseMirrored(guarded, paths);
    const prepared = treeChanges(changes, compiled);
    await setImmediate();
    const set = {
      texts: textsOf(changes),
      compiled,
      removed: changes.flatMap((change) => ('delete' in change ? [change.path] : [])),
      testedAt: snapshot.root,
      ...(request.signal !== undefined && { signal: request.signal }),
    };
    const { update, tests } = await dependents.write(
      set,
      () => around(ref),
      () =>
        store.update({
          changes: prepared,
          author: authorOf(caller),
          message: request.message ?? describe(changes),
          timeMs: clock(),
          trailers: [['Ipe-Compiler', compiler.version]],
          ...(ref !== undefined && { ref }),
          ...(request.expectedRoot !== undefined && { expectedRoot: request.expectedRoot }),
          ...(request.dryRun === true && { dryRun: true }),
        }),
    );
    return { update, warnings: warningsOf(compiled), compiled, dependents: tests };
  };

  return {
    write,
    async move({ revision, ref, signal, move }) {
      return dependents.move(await store.at(revision), () => around(ref), move, signal);
    },
    async check(changes, { ref, signal } = {}) {
      refuseTwice(changes);
      const compiled = await compile(changes, await around(ref), signal);
      const { problems, failedTests } = faultsOf(compiled);
      if (problems.length > 0 || failedTests.length > 0) return { compiled, refused: null };
      try {
        await write({ changes, compiled, dryRun: true, caller: checker, ...(ref !== undefined && { ref }) });
        return { compiled, refused: null };
      } catch (error) {
        if (!isIpeError(error) || error.reason === 'corrupt' || error.reason === 'unavailable') throw error;
        return { compiled, refused: error };
      }
    },
  };
}

function textsOf(changes: readonly RequestedChange[]): PolicyText[] {
  return changes.flatMap((change) => {
    if ('delete' in change) return [];
    const { path, source, test } = change;
    return [{ path, source, ...(test !== undefined && { test }) }];
  });
}

/** Stands as the author of changes that are only tried. */
const checker: Caller = { kind: 'admin', tokenId: 'check', name: 'check' };

/** Whom a commit of this caller is by. */
export function authorOf(caller: Caller): Author {
  const clean = (text: string): string => text.replace(/[<>\x00-\x1f\x7f]/g, ' ').trim();
  return {
    name: clean(caller.name) || caller.kind,
    email: `${clean(caller.tokenId).replace(/\s+/g, '-') || caller.kind}@ipe`,
  };
}

/** The store refuses removals of nothing too; this also names the nearest policy that is there. */
async function refuseMissing(snapshot: PolicySnapshot, changes: readonly RequestedChange[]): Promise<void> {
  for (const change of changes)
    if ('delete' in change && (await snapshot.lookup(change.path))?.kind !== 'policy')
      throw await noPolicy(snapshot, change.path);
}

function refuseStale({ root, commit }: PolicySnapshot, expectedRoot: string): void {
  if (root !== expectedRoot && commit !== expectedRoot)
    throw new IpeError(
      'conflict',
      `the root is \`${root.slice(0, 12)}\`, not \`${expectedRoot.slice(0, 12)}\` as expected; read it again`,
      { details: { expected: expectedRoot, current: root, current_commit: commit } },
    );
}

function refuseTwice(changes: readonly RequestedChange[]): void {
  const seen = new Set<string>();
  for (const [index, { path }] of changes.entries()) {
    if (seen.has(path))
      throw new IpeError('invalid_params', `\`changes[${index}].path\`: \`${path}\` is changed twice in one request`, {
        details: { field: `changes[${index}].path`, path },
      });
    seen.add(path);
  }
}

function treeChanges(changes: readonly RequestedChange[], compiled: readonly CompiledPolicy[]): TreeChange[] {
  const files = new Map(compiled.map((policy) => [policy.path, policy.files]));
  return changes.map((change) => {
    const expected = change.expectedVersion === undefined ? {} : { expectedVersion: change.expectedVersion };
    if ('delete' in change) return { path: change.path, delete: true, ...expected };
    const made = files.get(change.path);
    if (made === undefined) throw new IpeError('internal', `\`${change.path}\` was not compiled`);
    return { path: change.path, files: made, ...expected };
  });
}

/** The message of a commit whose author gave none. */
function describe(changes: readonly RequestedChange[]): string {
  const one = changes[0];
  if (changes.length === 1 && one !== undefined) return `${'delete' in one ? 'Remove' : 'Put'} ${one.path}`;
  const removed = changes.filter((change) => 'delete' in change).length;
  const parts = [];
  if (changes.length > removed) parts.push(`put ${changes.length - removed}`);
  if (removed > 0) parts.push(`remove ${removed}`);
  const text = parts.join(', ');
  return text === '' ? 'Change nothing' : `${text[0]!.toUpperCase()}${text.slice(1)} policies`;
}
