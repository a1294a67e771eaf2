import type { Primitives } from '../bytes/index.ts';
import { IpeError } from '../errors.ts';
import { type Commit, composeMessage, encodeCommit, type Ident, parseMessage } from '../git/index.ts';
import { type Author, type CommitInfo, emptyRoot, type ObjectId, type PolicyVersion, type Trailers } from './types.ts';

/** Trailer that every root commit ends with, so that no text of a message can pass for a trailer. */
const formatTrailer = ['Ipe-Format', '1'] as const;
const pathTrailer = 'Ipe-Path';
const commitTrailer = 'Ipe-Commit';

/** Body of a root commit. @throws IpeError `invalid_params` for an author or trailer that Git could not write. */
export function rootCommitBody(
  primitives: Primitives,
  root: {
    readonly tree: ObjectId;
    readonly parents: readonly ObjectId[];
    readonly author: Author;
    readonly message: string;
    readonly timeMs: number;
    readonly trailers?: Trailers;
  },
): Uint8Array {
  const who = ident(root.author, root.timeMs);
  for (const [key] of root.trailers ?? []) {
    if ([formatTrailer[0], pathTrailer, commitTrailer].includes(key as 'Ipe-Format')) {
      throw new IpeError('invalid_params', `the trailer \`${key}\` is the store's own`);
    }
  }
  return encodeCommit(primitives, {
    tree: root.tree,
    parents: root.parents,
    author: who,
    committer: who,
    message: composeMessage(root.message, [...(root.trailers ?? []), formatTrailer]),
  });
}

/**
 * Body of a policy version: its tree (the empty one for a deletion), the version before, author and time of the root
 * commit, the path and that commit in the message. A function of the root commit and the chain alone, so every instance
 * makes the same one.
 */
export function versionBody(
  primitives: Primitives,
  version: { readonly path: string; readonly tree: ObjectId | null; readonly previous: ObjectId | null },
  rootCommit: { readonly id: ObjectId; readonly commit: Commit },
): Uint8Array {
  const { commit, id } = rootCommit;
  return encodeCommit(primitives, {
    tree: version.tree ?? emptyRoot,
    parents: version.previous === null ? [] : [version.previous],
    author: commit.author,
    committer: commit.committer,
    message: composeMessage(subject(commit.message), [
      [pathTrailer, version.path],
      [commitTrailer, id],
    ]),
  });
}

/** Path and root commit that a version commit names; undefined for any other commit. */
export function versionOf(commit: Commit): { path: string; commit: ObjectId } | undefined {
  const { trailers } = parseMessage(commit.message);
  const last = trailers.slice(-2);
  if (last[0]?.[0] !== pathTrailer || last[1]?.[0] !== commitTrailer) return undefined;
  return { path: last[0][1], commit: last[1][1] };
}

/** A root commit as callers see it. */
export function describeCommit(id: ObjectId, commit: Commit): CommitInfo {
  const { text, trailers } = parseMessage(commit.message);
  const { name, email, timeSeconds } = commit.author;
  return {
    commit: id,
    root: commit.tree,
    parents: commit.parents,
    author: { name, email },
    timeMs: timeSeconds * 1000,
    message: text,
    trailers: trailers.filter(([key]) => key !== formatTrailer[0]),
  };
}

/** A policy version as callers see it. @throws IpeError `corrupt` when the commit is no version. */
export function describeVersion(id: ObjectId, commit: Commit): PolicyVersion {
  const named = versionOf(commit);
  if (named === undefined) {
    const details = { object: id, problem: 'kind' };
    throw new IpeError('corrupt', `object \`${id}\` is a commit where a policy version belongs`, { details });
  }
  const { name, email, timeSeconds } = commit.author;
  return {
    version: id,
    path: named.path,
    hash: commit.tree === emptyRoot ? null : commit.tree,
    commit: named.commit,
    author: { name, email },
    timeMs: timeSeconds * 1000,
    message: parseMessage(commit.message).text,
  };
}

function ident(author: Author, timeMs: number): Ident {
  return { name: author.name, email: author.email, timeSeconds: Math.floor(timeMs / 1000) };
}

function subject(message: string): string {
  return parseMessage(message).text.split('\n', 1)[0]!;
}
