import { isIpeError } from '@ipe/core';
import { parseTestDocument } from '@ipe/core/policy';
import type { DiffEntry, PolicySnapshot, PolicyStore } from '@ipe/core/tree';

/** Which stored policies have tests that ask other paths than their own, and which: few have. */
export type AskedPaths = ReadonlyMap<string, readonly string[]>;

export interface AskedPathsIndex {
  /** As of a root. Costs the changes since the root that was asked for last. */
  at(snapshot: PolicySnapshot): Promise<AskedPaths>;
  /** Takes over changes of `main` that the caller made: tests by path, null where there is none any more. */
  advance(from: string | null, to: string, tests: ReadonlyMap<string, string | null>): void;
}

export interface AskedPathsOptions {
  readonly store: Pick<PolicyStore, 'diff' | 'current'>;
  /** Keeps the index of `main` between starts; it is derived, and made anew from the tree where it is lost. */
  readonly state: { load(): Promise<string | undefined>; save(text: string): Promise<void> };
  /** Told when the index could not be saved; the next start then derives what is missing. */
  readonly onError: (error: unknown) => void;
}

interface Held {
  /** Root commit; null: the empty store. */
  readonly commit: string | null;
  readonly asked: ReadonlyMap<string, readonly string[]>;
}

const decoder = new TextDecoder();

/** Paths besides `path` that a test document asks; none where it is no test document. */
export function askedPaths(path: string, test: string | undefined): readonly string[] {
  // Sound, though not exact: a document that names a path has this word in it.
  if (test?.includes('path') !== true) return [];
  const asked = new Set<string>();
  for (const each of parseTestDocument(test).document?.tests ?? [])
    if (each.path !== undefined && each.path !== path) asked.add(each.path);
  return [...asked];
}

export function createAskedPathsIndex({ store, state, onError }: AskedPathsOptions): AskedPathsIndex {
  let held: Promise<Held> | undefined;
  let saving = Promise.resolve();

  const keep = (next: Held): Held => {
    held = Promise.resolve(next);
    saving = saving
      .then(() => state.save(`${JSON.stringify({ version: 1, commit: next.commit, asked: [...next.asked] })}\n`))
      .catch(onError);
    return next;
  };

  /** What differs from another root; undefined where that one has been collected since. */
  const changesSince = async (from: string, to: string): Promise<readonly DiffEntry[] | undefined> => {
    try {
      return await store.diff(from, to);
    } catch (error) {
      if (isIpeError(error) && error.reason === 'not_found') return undefined;
      throw error;
    }
  };

  /** The index of another root, from what differs. */
  const moved = async (from: Held, to: PolicySnapshot): Promise<Held> => {
    if (from.commit === to.commit) return from;
    const changes = from.commit === null || to.commit === null ? undefined : await changesSince(from.commit, to.commit);
    const asked = new Map(changes && from.asked);
    if (changes === undefined)
      for (const { path, test } of await to.policiesBelow('')) if (test !== null) await read(to, path, asked);
    for (const { path, change, parts } of changes ?? []) {
      if (change === 'changed' && !parts.includes('test')) continue;
      asked.delete(path);
      if (change !== 'removed') await read(to, path, asked);
    }
    return { commit: to.commit, asked };
  };

  const load = async (): Promise<Held> => moved(readState(await state.load()), store.current());

  return {
    async at(snapshot) {
      held ??= load().then(keep);
      const base = await held.catch((error: unknown) => {
        held = undefined;
        throw error;
      });
      if (base.commit === snapshot.commit) return base.asked;
      const next = await moved(base, snapshot);
      return snapshot.commit === store.current().commit ? keep(next).asked : next.asked;
    },
    advance(from, to, tests) {
      const before = held;
      held = before?.then((base) => {
        if (base.commit !== from) return base;
        const asked = new Map(base.asked);
        for (const [path, test] of tests) set(asked, path, askedPaths(path, test ?? undefined));
        return keep({ commit: to, asked });
      });
    },
  };
}

const nothing: Held = { commit: null, asked: new Map() };

async function read(snapshot: PolicySnapshot, path: string, asked: Map<string, readonly string[]>): Promise<void> {
  try {
    const test = (await snapshot.readPolicy(path))?.files.test;
    set(asked, path, askedPaths(path, test && decoder.decode(test)));
  } catch (error) {
    // Tests that are damaged cannot be run; what is damaged is reported elsewhere, and must not stop other writes.
    if (!isIpeError(error) || error.reason !== 'corrupt') throw error;
  }
}

function set(asked: Map<string, readonly string[]>, path: string, paths: readonly string[]): void {
  if (paths.length > 0) asked.set(path, paths);
  else asked.delete(path);
}

function readState(text: string | undefined): Held {
  try {
    const { version, commit, asked } = JSON.parse(text ?? '') as {
      version: number;
      commit: string | null;
      asked: [string, string[]][];
    };
    const whole = asked.every(([path, paths]) => typeof path === 'string' && paths.every((p) => typeof p === 'string'));
    if (version === 1 && whole && (commit === null || typeof commit === 'string'))
      return { commit, asked: new Map(asked) };
  } catch {
    // It can be had from the tree.
  }
  return nothing;
}
