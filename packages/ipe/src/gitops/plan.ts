import { IpeError } from '@ipe/core';
import type { PolicySnapshot, TreeChange } from '@ipe/core/tree';
import type { CompiledPolicy, PolicyCompiler, PolicyText } from '../policies/types.ts';
import { isAtOrBelow } from './mirrors.ts';

/**
 * The changes that make the owned part of the tree equal to `compiled`: every policy of the set, and the removal of
 * whatever else is there. The store leaves out what is stored already.
 */
export async function planChanges(
  snapshot: PolicySnapshot,
  owned: readonly string[],
  compiled: readonly CompiledPolicy[],
): Promise<{ readonly changes: readonly TreeChange[]; readonly present: number }> {
  const wanted = new Set(compiled.map(({ path }) => path));
  const changes: TreeChange[] = [];
  let present = 0;
  for (const prefix of owned)
    for (const { path } of await snapshot.policiesBelow(prefix)) {
      present++;
      if (!wanted.has(path)) changes.push({ path, delete: true });
    }
  for (const { path, files } of compiled) {
    if (files === undefined) throw new IpeError('internal', `\`${path}\` was planned without having been compiled`);
    if (!owned.some((prefix) => isAtOrBelow(path, prefix)))
      throw new IpeError('internal', `\`${path}\` lies outside of its mirror`);
    changes.push({ path, files });
  }
  return { changes, present };
}

/**
 * Refuses to remove every policy of a mirror by an empty repository, which is more often a mistake than a wish.
 * @throws IpeError `conflict`, telling how to confirm.
 */
export function refuseEmptying(repository: string, owned: readonly string[], wanted: number, present: number): void {
  if (wanted > 0 || present === 0) return;
  throw new IpeError(
    'conflict',
    `\`${repository}\` has no policies there; taking this would remove all ${present} below ${owned.map((path) => `\`${path}\``).join(', ')}; pass \`allow_empty\` to do so`,
    { details: { would_remove: present, owned } },
  );
}

/** A test whose result would not be what it is now. */
export interface ChangedTest {
  readonly path: string;
  readonly name: string;
  /** Whether the test stands in the tree now (`current`), or comes with the change (`incoming`). */
  readonly suite: 'current' | 'incoming';
  readonly before: 'passed' | 'failed';
  readonly after: 'passed' | 'failed';
  readonly message?: string;
}

/**
 * Runs the tests of now against the policies to come, and those to come against the policies of now: the tests whose
 * results differ are what the change does, as far as anyone wrote it down.
 */
export async function changedTests(
  snapshot: PolicySnapshot,
  compiler: PolicyCompiler,
  incoming: readonly PolicyText[],
  changedPaths: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<readonly ChangedTest[]> {
  const decoder = new TextDecoder();
  const runs: PolicyText[] = [];
  const meant: { path: string; suite: ChangedTest['suite']; after: boolean }[] = [];
  const add = (text: PolicyText, suite: ChangedTest['suite'], after: boolean): void => {
    runs.push(text);
    meant.push({ path: text.path, suite, after });
  };
  for (const next of incoming) {
    if (!changedPaths.has(next.path)) continue;
    const now = await snapshot.readPolicy(next.path);
    if (now === undefined) continue;
    const source = decoder.decode(now.files.source);
    if (now.files.test !== undefined) {
      const test = decoder.decode(now.files.test);
      add({ path: next.path, source, test }, 'current', false);
      add({ path: next.path, source: next.source, test }, 'current', true);
    }
    if (next.test !== undefined) {
      add({ path: next.path, source, test: next.test }, 'incoming', false);
      add({ path: next.path, source: next.source, test: next.test }, 'incoming', true);
    }
  }
  const results = await compiler.compile(runs, signal && { signal });
  const changed: ChangedTest[] = [];
  for (let at = 0; at + 1 < results.length; at += 2) {
    const after = new Map(results[at + 1]!.tests.map((test) => [test.name, test]));
    for (const before of results[at]!.tests) {
      const then = after.get(before.name);
      if (then === undefined || then.passed === before.passed) continue;
      const message = then.passed ? before.message : then.message;
      changed.push({
        path: meant[at]!.path,
        name: before.name,
        suite: meant[at]!.suite,
        before: before.passed ? 'passed' : 'failed',
        after: then.passed ? 'passed' : 'failed',
        ...(message !== undefined && { message }),
      });
    }
  }
  return changed;
}
