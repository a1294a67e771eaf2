import type {
  ChangedPolicy,
  CommitInfo,
  DiffEntry,
  LruCounters,
  NodeInfo,
  PolicyInfo,
  PolicyVersion,
  RefInfo,
  Trailers,
  UpdateResult,
} from '@ipe/core/tree';

/** Milliseconds as the wire has times: Unix seconds, fractional where needed. */
export function seconds(ms: number): number {
  return ms / 1000;
}

/** What a cache holds and how it fares: bytes, and an age in seconds. */
export function cacheJson({ entries, bytes, maxBytes, maxAgeMs, hits, misses, evictions }: LruCounters) {
  return { entries, bytes, max_bytes: maxBytes, max_age: seconds(maxAgeMs), hits, misses, evictions };
}

export function policyJson(policy: PolicyInfo) {
  return {
    path: policy.path,
    version: policy.version,
    hash: policy.hash,
    program: policy.program,
    updated_at: seconds(policy.updatedAtMs),
  };
}

export function nodeJson(node: NodeInfo) {
  return { path: node.path, kind: node.kind, hash: node.hash, updated_at: seconds(node.updatedAtMs) };
}

export function versionJson(version: PolicyVersion) {
  return {
    version: version.version,
    hash: version.hash,
    deleted: version.hash === null,
    commit: version.commit,
    author: version.author,
    time: seconds(version.timeMs),
    message: version.message,
  };
}

export function commitJson(commit: CommitInfo) {
  return {
    commit: commit.commit,
    root: commit.root,
    parents: commit.parents,
    author: commit.author,
    time: seconds(commit.timeMs),
    message: commit.message,
    trailers: trailersJson(commit.trailers),
  };
}

/** Trailers as an object; of a key given twice the last counts. */
export function trailersJson(trailers: Trailers): Readonly<Record<string, string>> {
  return Object.fromEntries(trailers);
}

export function refJson(ref: RefInfo) {
  return { name: ref.name, kind: ref.kind, commit: ref.commit, root: ref.root, updated_at: seconds(ref.timeMs) };
}

export function changedJson(changed: ChangedPolicy) {
  return {
    path: changed.path,
    change: changed.change,
    version: changed.version,
    previous_version: changed.previousVersion,
  };
}

export function updateJson(update: UpdateResult) {
  return {
    root: update.root,
    commit: update.commit,
    ref: update.ref,
    previous_root: update.previousRoot,
    previous_commit: update.previousCommit,
    changed: update.changed.map(changedJson),
    reused_objects: update.reusedObjects,
    new_objects: update.newObjects,
  };
}

export function diffJson(entries: readonly DiffEntry[]) {
  const of = (change: DiffEntry['change']) =>
    entries
      .filter((entry) => entry.change === change)
      .map(({ path, before, after, parts, sourcePatch, testPatch }) => ({
        path,
        before,
        after,
        parts,
        ...(sourcePatch !== undefined && { source_patch: sourcePatch }),
        ...(testPatch !== undefined && { test_patch: testPatch }),
      }));
  return { added: of('added'), changed: of('changed'), removed: of('removed') };
}

/** `cursor` only where there is more. */
export function cursorJson(page: { readonly cursor?: string }): { cursor?: string } {
  return page.cursor === undefined ? {} : { cursor: page.cursor };
}
