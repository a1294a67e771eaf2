import { open, readFile, rename, rm } from 'node:fs/promises';
import { IpeError } from '@ipe/core';
import type { PolicyStore, StoreCopy } from '@ipe/core/tree';
import type { RepositoryContent } from './bare.ts';
import { readPack } from './pack-reader.ts';
import { writePack } from './pack-writer.ts';

/** What a bundle was written of. */
export interface BundleReport {
  readonly file: string;
  /** Root commit of `main` at its end: `since` of the next one. Null: nothing was ever written. */
  readonly commit: string | null;
  readonly since: string | null;
  readonly objects: number;
  readonly sizeBytes: number;
}

const signature = '# v3 git bundle\n@object-format=sha256\n';

/**
 * Writes a Git bundle (version 3): everything, or what came after the root commit `since`, whose commits are then its
 * prerequisites. `git bundle verify`, `git fetch` and `git clone` (of a full one) take it.
 *
 * @throws IpeError `invalid_params` where nothing came after `since`: Git knows no empty bundle
 */
export async function writeBundle(store: PolicyStore, file: string, since?: string): Promise<BundleReport> {
  const copy = await store.copy(since === undefined ? {} : { since });
  const temporary = `${file}.tmp-${process.pid}`;
  try {
    if (copy.count === 0)
      throw new IpeError('invalid_params', 'nothing has changed since then: there is nothing to bundle');
    const handle = await open(temporary, 'wx');
    try {
      const header = headerOf(copy, since !== undefined);
      await handle.appendFile(header);
      const pack = await writePack(handle, copy.count, copy.objects());
      await handle.sync();
      await rename(temporary, file);
      const sizeBytes = Buffer.byteLength(header) + pack.sizeBytes;
      return { file, commit: copy.commit, since: since ?? null, objects: copy.count, sizeBytes };
    } finally {
      await handle.close();
    }
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    copy.release();
  }
}

function headerOf(copy: StoreCopy, incremental: boolean): string {
  // A shallow history cannot be said in a bundle but by its missing commits, which the reader then must have.
  const prerequisites = incremental ? copy.prerequisites : [];
  const lines = [...prerequisites.map((id) => `-${id}`), ...copy.refs.map(([name, id]) => `${id} ${name}`)];
  return `${signature}${lines.join('\n')}\n\n`;
}

/** Tells a bundle by its first bytes. */
export function isBundle(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, 16)).toString('latin1').startsWith('# v3 git bundle\n');
}

/** @throws IpeError `corrupt` for what is no bundle of SHA-256 objects, or a damaged one */
export async function readBundle(
  file: string,
): Promise<RepositoryContent & { readonly prerequisites: readonly string[] }> {
  const bytes = await readFile(file);
  const end = bytes.indexOf('\n\n');
  const header = bytes.subarray(0, Math.max(0, end)).toString('utf8');
  if (end < 0 || !`${header}\n`.startsWith(signature)) {
    throw new IpeError('corrupt', `\`${file}\` is not a Git bundle of version 3 with SHA-256 objects`);
  }
  const refs = new Map<string, string>();
  const prerequisites: string[] = [];
  for (const line of header.split('\n').slice(2)) {
    const match = /^(-?)([0-9a-f]{64})(?: (.*))?$/.exec(line);
    if (match === null) throw new IpeError('corrupt', `\`${file}\` has a line that belongs to no bundle`);
    if (match[1] === '-') prerequisites.push(match[2]!);
    else refs.set(match[3] ?? '', match[2]!);
  }
  return { refs, prerequisites, shallow: [], objects: () => readPack(bytes.subarray(end + 2)) };
}
