import { mkdtemp, open, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { IpeError } from '@ipe/core';
import type { CommitMeta, PolicyStore, UpdateResult } from '@ipe/core/tree';
import { exportRepository, type RepositoryContent, readRepository } from './bare.ts';
import { isBundle, readBundle } from './bundle.ts';
import { isTar, readTar, writeTar } from './tar.ts';

/** What a full backup wrote. */
export interface BackupReport {
  readonly file: string;
  readonly commit: string | null;
  readonly objects: number;
  readonly sizeBytes: number;
}

/** Full backup: a tar archive of the bare repository that `exportRepository` writes. Appears under its name when whole. */
export async function writeBackup(store: PolicyStore, file: string, timeMs: number): Promise<BackupReport> {
  const scratch = await mkdtemp(join(dirname(file), `.${basename(file)}-`));
  try {
    const { commit, objects } = await exportRepository(store, join(scratch, 'repository'));
    const temporary = join(scratch, 'archive');
    const archive = await open(temporary, 'wx');
    try {
      await writeTar(archive, join(scratch, 'repository'), timeMs);
      await archive.sync();
    } finally {
      await archive.close();
    }
    await rename(temporary, file);
    return { file, commit, objects, sizeBytes: (await stat(file)).size };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

export interface ImportOptions extends CommitMeta {
  /** Branch of the repository to take; default `main`. */
  readonly branch?: string;
  /** Take over branches and pins besides, where this store has none of that name. Default true into an empty store. */
  readonly refs?: boolean;
}

export interface ImportReport {
  /** `fast-forward`: the history was continued; `restored`: one new commit carries the content; `none`: it was there. */
  readonly outcome: 'fast-forward' | 'restored' | 'none';
  readonly update: UpdateResult;
  readonly newObjects: number;
  /** Branches and pins taken over besides `main`. */
  readonly refs: readonly string[];
}

/**
 * Takes in a bare repository (of an export, or cloned from one) and moves `main` forward to its content: along its history
 * where that continues ours, else by one new commit that carries it.
 */
export async function importRepository(
  store: PolicyStore,
  directory: string,
  options: ImportOptions,
): Promise<ImportReport> {
  return takeIn(store, await readRepository(directory), options);
}

/**
 * Restores a backup, forward-only: a tar archive of `writeBackup`, or a bundle whose prerequisites this store has.
 * @throws IpeError `corrupt` for a damaged backup; `invalid_params` for another file, or a bundle that comes too early
 */
export async function restoreBackup(store: PolicyStore, file: string, options: ImportOptions): Promise<ImportReport> {
  const handle = await open(file, 'r');
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0).finally(() => handle.close());
  const first = buffer.subarray(0, bytesRead);
  if (isBundle(first)) {
    const bundle = await readBundle(file);
    for (const id of bundle.prerequisites) {
      if (await store.has(id)) continue;
      const message = `the bundle builds on \`${id}\`, which this store does not have; restore the backups before it first`;
      throw new IpeError('invalid_params', message, { details: { prerequisite: id } });
    }
    return takeIn(store, bundle, options);
  }
  if (!isTar(first)) throw new IpeError('invalid_params', `\`${file}\` is neither a tar archive nor a Git bundle`);
  const scratch = await mkdtemp(join(tmpdir(), 'ipe-restore-'));
  try {
    await readTar(file, scratch);
    return await takeIn(store, await readRepository(scratch), options);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function takeIn(store: PolicyStore, content: RepositoryContent, options: ImportOptions): Promise<ImportReport> {
  const branch = `refs/heads/${options.branch ?? 'main'}`;
  const head = content.refs.get(branch);
  if (head === undefined) {
    const names = [...content.refs.keys()].filter((name) => name.startsWith('refs/heads/'));
    throw new IpeError(
      'invalid_params',
      `there is no \`${branch}\` in it; it has ${names.join(', ') || 'no branches'}`,
    );
  }
  const wasEmpty = store.current().commit === null;
  const others = new Map((options.refs ?? wasEmpty) ? otherRefs(content, branch) : []);
  const ingested = await store.ingest({
    objects: content.objects(),
    heads: [...new Set([head, ...others.values()])],
    shallow: content.shallow,
  });
  try {
    const { outcome, update } = await moveMain(store, head, options);
    const taken = new Set(store.refs().map((ref) => ref.name));
    const refs: string[] = [];
    for (const [full, commit] of others) {
      const [, kind, name] = /^refs\/(heads|tags)\/(.*)$/.exec(full)!;
      if (taken.has(name!)) continue;
      if (kind === 'tags') await store.pin(name!, commit);
      else await store.promote({ from: commit, to: name!, author: options.author, timeMs: options.timeMs });
      refs.push(name!);
    }
    return { outcome, update, newObjects: ingested.newObjects, refs };
  } finally {
    ingested.release();
  }
}

/** Branches and tags that can be refs of a store. */
function* otherRefs(content: RepositoryContent, branch: string): Generator<[string, string]> {
  for (const [name, id] of content.refs) {
    if (/^refs\/(?:heads|tags)\/[a-z0-9][a-z0-9._-]{0,63}$/.test(name) && name !== branch) yield [name, id];
  }
}

async function moveMain(
  store: PolicyStore,
  head: string,
  options: ImportOptions,
): Promise<Pick<ImportReport, 'outcome' | 'update'>> {
  const before = store.current().commit;
  const { author, timeMs, message, trailers } = options;
  const meta = {
    author,
    timeMs,
    ...(message === undefined ? {} : { message }),
    ...(trailers === undefined ? {} : { trailers }),
  };
  try {
    const update = await store.promote({ ...meta, from: head, to: 'main' });
    return { outcome: update.commit === before ? 'none' : 'fast-forward', update };
  } catch (error) {
    if (!(error instanceof IpeError) || error.reason !== 'conflict') throw error;
    const update = await store.restore({ ...meta, revision: head });
    return { outcome: update.commit === before ? 'none' : 'restored', update };
  }
}
