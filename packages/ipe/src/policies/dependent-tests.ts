import { isWithin, type PolicySnapshot, type PolicyStore, parentPath, type UpdateResult } from '@ipe/core/tree';
import { type AskedPathsIndex, askedPaths } from './asked-paths.ts';
import { refuseFaulty } from './report.ts';
import { surroundingsOf } from './surroundings.ts';
import type { CompiledPolicy, PolicyCompiler, PolicyText, ProgramAt, TestOutcome } from './types.ts';

/** A set that is about to be written: compiled, its own tests passed. */
export interface TestedSet {
  readonly texts: readonly PolicyText[];
  readonly compiled: readonly CompiledPolicy[];
  readonly removed: readonly string[];
  /** Content root that tests of the set which ask other paths were run against. */
  readonly testedAt: string;
  readonly signal?: AbortSignal;
}

/**
 * Holds every write to the tests of the whole tree: a test may ask another path than its own, even a directory, and so
 * fail by a change elsewhere.
 */
export interface DependentTests {
  /**
   * Runs the stored tests that ask what the set changes, and those of the set again where the tree has moved on, then
   * writes. One at a time, so that no other write that is held to tests comes between.
   *
   * @param around  what the ref holds now
   * @returns what `write` gave, and the tests that were run for it
   * @throws IpeError `policy_invalid` naming every test that fails; nothing is written then
   */
  write(
    set: TestedSet,
    around: () => Promise<PolicySnapshot>,
    write: () => Promise<UpdateResult>,
  ): Promise<{ readonly update: UpdateResult; readonly tests: readonly TestOutcome[] }>;
  /**
   * Runs the tests that `target` holds of what differs from `around`, and those that ask it, then moves a ref to the
   * content of `target`. One at a time with writes.
   * @returns what `move` gave, and the tests that were run for it
   * @throws IpeError `policy_invalid` naming every test that fails; nothing is moved then
   */
  move(
    target: PolicySnapshot,
    around: () => Promise<PolicySnapshot>,
    move: () => Promise<UpdateResult>,
    signal?: AbortSignal,
  ): Promise<{ readonly update: UpdateResult; readonly tests: readonly TestOutcome[] }>;
  /** Makes the index of `main` ready, so that the first write need not wait for it. */
  warm(): Promise<void>;
}

export interface DependentTestsOptions {
  readonly compiler: PolicyCompiler;
  readonly index: AskedPathsIndex;
  readonly store: Pick<PolicyStore, 'current' | 'diff'>;
}

export function createDependentTests({ compiler, index, store }: DependentTestsOptions): DependentTests {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <Result>(work: () => Promise<Result>): Promise<Result> => {
    const result = last.then(work);
    last = result.catch(() => {});
    return result;
  };
  const decoder = new TextDecoder();

  /** A stored policy with its tests; undefined where it has none. */
  const testedAt = async (snapshot: PolicySnapshot, path: string): Promise<PolicyText | undefined> => {
    const stored = await snapshot.readPolicy(path);
    if (stored?.files.test === undefined) return undefined;
    const { source, test } = stored.files;
    return { path, source: decoder.decode(source), test: decoder.decode(test) };
  };

  /** Tests to be run, with the policies that they stand beside. */
  const testsOf = async (set: TestedSet, snapshot: PolicySnapshot): Promise<PolicyText[]> => {
    const changed = new Set([...set.removed, ...set.compiled.map(({ path }) => path)]);
    const tests: PolicyText[] = [];
    if (snapshot.root !== set.testedAt)
      for (const text of set.texts) if (askedPaths(text.path, text.test).length > 0) tests.push(text);
    const isTouched = touchedBy(changed);
    for (const [path, asked] of await index.at(snapshot)) {
      if (changed.has(path) || !asked.some(isTouched)) continue;
      const text = await testedAt(snapshot, path);
      if (text !== undefined) tests.push(text);
    }
    return tests;
  };

  const run = async (set: TestedSet, snapshot: PolicySnapshot): Promise<readonly TestOutcome[]> => {
    const texts = await testsOf(set, snapshot);
    if (texts.length === 0) return [];
    const changed = new Set([...set.removed, ...set.compiled.map(({ path }) => path)]);
    const beside = surroundingsOf(snapshot, (path) => changed.has(path));
    const programsAt = async (path: string): Promise<readonly ProgramAt[]> => [
      ...(await beside.programsAt(path)),
      ...set.compiled.flatMap(({ path: at, files }) =>
        files !== undefined && isWithin(at, path) ? [{ path: at, program: files.program }] : [],
      ),
    ];
    const asks = texts.map(({ path, test }) => askedPaths(path, test));
    return compiler.test(texts, asks, {
      surroundings: { programsAt },
      ...(set.signal !== undefined && { signal: set.signal }),
    });
  };

  const runMoved = async (
    target: PolicySnapshot,
    from: PolicySnapshot,
    signal: AbortSignal | undefined,
  ): Promise<readonly TestOutcome[]> => {
    if (target.commit === null || from.commit === null) return [];
    const changed = new Set((await store.diff(from.commit, target.commit)).map(({ path }) => path));
    const isTouched = touchedBy(changed);
    const asking = [...(await index.at(target))].flatMap(([path, asked]) => (asked.some(isTouched) ? [path] : []));
    const texts: PolicyText[] = [];
    for (const path of new Set([...changed, ...asking])) {
      const text = await testedAt(target, path);
      if (text !== undefined) texts.push(text);
    }
    if (texts.length === 0) return [];
    const asks = texts.map(({ path, test }) => askedPaths(path, test));
    return compiler.test(texts, asks, {
      surroundings: surroundingsOf(target, () => false),
      ...(signal !== undefined && { signal }),
    });
  };

  return {
    move: (target, around, move, signal) =>
      inTurn(async () => {
        const tests = await runMoved(target, await around(), signal);
        const [first] = tests;
        if (first !== undefined) refuseFaulty([{ path: first.path, problems: [], tests }]);
        return { update: await move(), tests };
      }),
    write: (set, around, write) =>
      inTurn(async () => {
        const tests = await run(set, await around());
        const [first] = tests;
        if (first !== undefined) refuseFaulty([{ path: first.path, problems: [], tests }]);
        const update = await write();
        if (update.ref === 'main' && update.commit !== update.previousCommit) {
          const after = new Map<string, string | null>(set.removed.map((path) => [path, null]));
          for (const { path, test } of set.texts) after.set(path, test ?? null);
          if (store.current().commit === update.commit) index.advance(update.previousCommit, update.commit, after);
        }
        return { update, tests };
      }),
    async warm() {
      await index.at(store.current());
    },
  };
}

/** Whether an asked path is one of those changed, contains one, or lies below one. */
function touchedBy(changed: ReadonlySet<string>): (asked: string) => boolean {
  const containing = new Set<string>();
  for (const path of changed)
    for (let at: string | undefined = path; at !== undefined && !containing.has(at); at = parentPath(at))
      containing.add(at);
  return (asked) => {
    if (containing.has(asked)) return true;
    for (let at = parentPath(asked); at !== undefined; at = parentPath(at)) if (changed.has(at)) return true;
    return false;
  };
}
