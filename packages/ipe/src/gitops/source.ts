import { IpeError, isIpeError } from '@ipe/core';
import type { Trailers } from '@ipe/core/tree';
import { commitSource, loadPolicies, type PolicyDirectory } from './directory.ts';
import {
  isAncestor,
  type Mirror,
  readCommit,
  resolveCommit,
  type SignatureRequirement,
  type SourceCommit,
  verifySignature,
} from './git/index.ts';

/** What is wanted of a repository. */
export interface SourceRequest {
  /** Absent: the default branch. */
  readonly branch?: string;
  readonly directory: string;
  /** A commit that the branch went through, in place of its newest. */
  readonly commit?: string;
  readonly signature?: SignatureRequirement;
  readonly signal?: AbortSignal;
}

/** One commit of a repository, with its policies. */
export interface SourceState {
  readonly branch: string;
  /** Newest commit of the branch; the one that was read unless another was wanted. */
  readonly tip: string;
  readonly commit: SourceCommit;
  readonly signedBy: string | null;
  readonly directory: string;
  readonly files: PolicyDirectory;
}

/**
 * Brings the copy up to date and reads the policies of a commit. A copy that turns out to have lost something is made
 * anew, once.
 * @throws IpeError `forbidden` (access, signature), `not_found`, `unavailable`, `too_large`
 */
export async function readSource(mirror: Mirror, request: SourceRequest): Promise<SourceState> {
  try {
    return await read(mirror, request);
  } catch (error) {
    if (!isIpeError(error) || error.reason !== 'corrupt') throw error;
    await mirror.discard();
    return read(mirror, request);
  }
}

async function read(mirror: Mirror, request: SourceRequest): Promise<SourceState> {
  const { directory, signature } = request;
  const { branch, commit: tip } = await mirror.update(request.branch, request.signal);
  const id = request.commit === undefined ? tip : await ofBranch(mirror, request.commit, tip);
  const signedBy = signature === undefined ? null : await verifySignature(mirror, id, signature);
  const commit = await readCommit(mirror, id);
  const files = await loadPolicies(commitSource(mirror, id, directory));
  return { branch, tip, commit, signedBy, directory, files };
}

/** Resolves the commit of a rollback, which must be one that the branch went through. */
async function ofBranch(mirror: Mirror, text: string, tip: string): Promise<string> {
  const commit = await resolveCommit(mirror, text);
  if (await isAncestor(mirror, commit, tip)) return commit;
  throw new IpeError('not_found', `commit \`${text}\` is not on the branch that the mirror follows`, {
    details: { field: 'commit', commit: text },
  });
}

/** What a root commit keeps of the commit it was made from. */
export function sourceTrailers(repository: string, state: SourceState, by: string, compiler: string): Trailers {
  const { branch, commit, directory, signedBy } = state;
  return [
    ['Ipe-Source-Repository', repository],
    ['Ipe-Source-Branch', branch],
    ...(directory === '' ? [] : [['Ipe-Source-Directory', directory] as const]),
    ['Ipe-Source-Commit', commit.id],
    ['Ipe-Source-Author-Date', new Date(commit.authoredAt * 1000).toISOString()],
    ...(signedBy === null ? [] : [['Ipe-Source-Signed-By', signedBy] as const]),
    ['Ipe-Synced-By', by],
    ['Ipe-Compiler', compiler],
  ];
}

/** The author of a source commit, as a root commit may hold it. */
export function sourceAuthor({ author }: SourceCommit): { readonly name: string; readonly email: string } {
  const clean = (text: string): string => text.replace(/[<>\x00-\x1f\x7f]/g, ' ').trim();
  return { name: clean(author.name) || 'unknown', email: clean(author.email) };
}
