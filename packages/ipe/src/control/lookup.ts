import { IpeError, isIpeError, nearest } from '@ipe/core';
import type { PolicySnapshot, PolicyStore } from '@ipe/core/tree';
import type { MirrorRegistry } from '../gitops/mirrors.ts';

/**
 * The path that was most likely meant: each segment is compared with the names that stand there, so that the work is
 * bounded by the directories on the way and not by the number of policies. Undefined where a segment has no near name.
 */
export async function nearestPath(snapshot: PolicySnapshot, path: string): Promise<string | undefined> {
  const segments = path.split('.');
  if (segments.length > 64) return undefined;
  let found = '';
  for (const segment of segments) {
    const here = await snapshot.lookup(found);
    if (here?.kind !== 'directory') return undefined;
    const names: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await snapshot.listChildren(found, { limit: 10_000, ...(cursor !== undefined && { cursor }) });
      names.push(...page.items.map(({ name }) => name));
      cursor = page.cursor;
    } while (cursor !== undefined);
    const name = names.includes(segment) ? segment : nearest(segment, names);
    if (name === undefined) return undefined;
    found = found === '' ? name : `${found}.${name}`;
  }
  return found === path ? undefined : found;
}

/** The error for a policy that is not there, naming the nearest one that is, or the directory that stands in its place. */
export async function noPolicy(snapshot: PolicySnapshot, path: string): Promise<IpeError> {
  const here = await snapshot.lookup(path);
  if (here?.kind === 'directory')
    return new IpeError('not_found', `\`${path}\` is a directory, not a policy; list it with \`list-children\``, {
      details: { path, kind: 'directory' },
    });
  const close = await nearestPath(snapshot, path);
  return new IpeError(
    'not_found',
    `no policy at \`${path}\`${close === undefined ? '' : `; did you mean \`${close}\`?`}`,
    { details: { path, ...(close !== undefined && { nearest: close }) } },
  );
}

/**
 * Reads at whatever names a root: ref, commit, root or version as the store knows them, or a commit of a mirrored
 * repository, which stands for the root that its sync made. Absent: the current root.
 */
export async function snapshotAt(
  store: PolicyStore,
  registry: MirrorRegistry | undefined,
  revision: string | undefined,
): Promise<PolicySnapshot> {
  return revision === undefined ? store.current() : store.at(await revisionOf(store, registry, revision));
}

/** The text to give the store for `revision`. */
export async function revisionOf(
  store: PolicyStore,
  registry: MirrorRegistry | undefined,
  revision: string,
): Promise<string> {
  try {
    await store.resolve(revision);
    return revision;
  } catch (error) {
    const synced = sourceCommit(registry, revision);
    if (synced !== undefined && isIpeError(error) && error.reason === 'not_found') return synced;
    throw error;
  }
}

function sourceCommit(registry: MirrorRegistry | undefined, text: string): string | undefined {
  if (registry === undefined || !/^[0-9a-f]{7,64}$/.test(text)) return undefined;
  const made = new Map<string, string>();
  for (const { commit, rootCommit } of [...registry.syncs()].reverse())
    if (commit?.startsWith(text) && rootCommit !== null) made.set(commit, rootCommit);
  for (const { commit, rootCommit } of registry.list())
    if (commit?.startsWith(text) && rootCommit !== null) made.set(commit, rootCommit);
  return made.size === 1 ? [...made.values()][0] : undefined;
}
