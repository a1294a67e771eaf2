import { lstat, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { IpeError } from '@ipe/core';
import type { FileProblem } from '../policies/types.ts';
import { listTree, type Mirror, type ReadLimits, readBlobs, readLimits, type SourceEntry } from './git/index.ts';
import { type ListedFile, type MappedPolicy, mapNames } from './names.ts';

/** One policy of a directory, with its texts. */
export interface SourcePolicy extends MappedPolicy {
  readonly source: string;
  readonly test?: string;
}

/** The policies of a directory, or everything that is wrong with its names and encoding. */
export interface PolicyDirectory {
  /** In path order. Holds what could be read even where there are problems, so that those can be reported with the rest. */
  readonly policies: readonly SourcePolicy[];
  readonly problems: readonly FileProblem[];
  readonly ignored: readonly string[];
}

/** Where a directory's names and bytes come from: a folder on disk, or a commit of a mirror. */
export interface PolicyFileSource {
  list(): Promise<readonly (ListedFile & { readonly sizeBytes: number })[]>;
  /** Bytes of listed files, in the order asked. */
  read(paths: readonly string[]): Promise<readonly Uint8Array[]>;
}

/**
 * Reads all policies of a source.
 * @throws IpeError `too_large`, `not_found`, `unavailable` from the source; mistakes of the author are in `problems`.
 */
export async function loadPolicies(
  source: PolicyFileSource,
  limits: ReadLimits = readLimits,
): Promise<PolicyDirectory> {
  const listed = await source.list();
  const mapping = mapNames(listed);
  const sizes = new Map(listed.map((file) => [file.path, file.sizeBytes]));
  const problems: FileProblem[] = [...mapping.problems];
  const wanted: string[] = [];
  let totalBytes = 0;
  for (const { sourceFile, testFile } of mapping.policies)
    for (const file of testFile === undefined ? [sourceFile] : [sourceFile, testFile]) {
      const size = sizes.get(file) ?? 0;
      if (size > limits.fileMaxBytes)
        problems.push(badContent(file, `has ${size} bytes, at most ${limits.fileMaxBytes} are taken`));
      else wanted.push(file);
      totalBytes += size;
    }
  if (totalBytes > limits.totalMaxBytes)
    throw new IpeError(
      'too_large',
      `the policies have ${totalBytes} bytes together, at most ${limits.totalMaxBytes} are taken`,
    );

  const texts = new Map<string, string>();
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });
  const bytes = await source.read(wanted);
  for (const [index, file] of wanted.entries())
    try {
      texts.set(file, decoder.decode(bytes[index]));
    } catch {
      problems.push(badContent(file, 'is not UTF-8 text'));
    }
  const policies: SourcePolicy[] = [];
  for (const mapped of mapping.policies) {
    const text = texts.get(mapped.sourceFile);
    const test = mapped.testFile === undefined ? undefined : texts.get(mapped.testFile);
    if (text !== undefined) policies.push({ ...mapped, source: text, ...(test !== undefined && { test }) });
  }
  return {
    policies,
    problems: problems.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0)),
    ignored: mapping.ignored,
  };
}

/**
 * Reads the policies of a folder on disk (or of one `*.policy.yaml` file, with the tests beside it), with no node running.
 * @throws IpeError `not_found` when it is not there, `too_large` beyond the limits, `unavailable` when it cannot be read.
 */
export async function readPolicyDirectory(path: string, limits: ReadLimits = readLimits): Promise<PolicyDirectory> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR')
      throw new IpeError('not_found', `\`${path}\` does not exist; give a folder of \`*.policy.yaml\` files`);
    throw unreadable(path, error);
  });
  return loadPolicies(found.isDirectory() ? folderSource(path, limits) : fileSource(path), limits);
}

/** A folder on disk. Links are reported, never followed; only the folder itself may be reached through one. */
export function folderSource(root: string, limits: ReadLimits = readLimits): PolicyFileSource {
  return {
    async list() {
      const files: (ListedFile & { sizeBytes: number })[] = [];
      const folders = [''];
      for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
        const entries = await readdir(join(root, folder), { withFileTypes: true }).catch((error: unknown) => {
          throw unreadable(join(root, folder!), error);
        });
        for (const entry of entries) {
          const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
          if (entry.name.startsWith('.')) continue;
          if (entry.isDirectory()) folders.push(path);
          else if (entry.isFile() || entry.isSymbolicLink())
            files.push({
              path,
              kind: entry.isFile() ? 'file' : 'symlink',
              sizeBytes: (await lstat(join(root, path)).catch(() => undefined))?.size ?? 0,
            });
          else files.push({ path, kind: 'other', sizeBytes: 0 });
        }
        if (files.length > limits.entriesMax)
          throw new IpeError(
            'too_large',
            `\`${root}\` holds more than ${limits.entriesMax} files; name the folder of the policies`,
          );
      }
      return files;
    },
    read: (paths) => readAll(root, paths),
  };
}

function fileSource(path: string): PolicyFileSource {
  const [folder, name] = [dirname(path), basename(path)];
  return {
    async list() {
      const names = [name];
      if (name.endsWith('.policy.yaml')) names.push(name.replace(/\.policy\.yaml$/, '.test.yaml'));
      const files: (ListedFile & { sizeBytes: number })[] = [];
      for (const each of names) {
        const found = await stat(join(folder, each)).catch(() => undefined);
        if (found?.isFile()) files.push({ path: each, kind: 'file', sizeBytes: found.size });
      }
      return files;
    },
    read: (paths) => readAll(folder, paths),
  };
}

async function readAll(root: string, paths: readonly string[]): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  const together = 32;
  for (let at = 0; at < paths.length; at += together)
    all.push(
      ...(await Promise.all(
        paths.slice(at, at + together).map((path) =>
          readFile(join(root, path)).catch((error: unknown) => {
            throw unreadable(join(root, path), error);
          }),
        ),
      )),
    );
  return all;
}

/** A directory of one commit that the mirror holds. */
export function commitSource(
  mirror: Mirror,
  commit: string,
  directory: string,
  limits: ReadLimits = readLimits,
): PolicyFileSource {
  let listed: readonly SourceEntry[] = [];
  return {
    async list() {
      listed = await listTree(mirror, commit, directory, limits);
      return listed;
    },
    async read(paths) {
      const byPath = new Map(listed.map((entry) => [entry.path, entry]));
      return readBlobs(
        mirror,
        paths.map((path) => byPath.get(path)!),
        limits,
      );
    },
  };
}

function badContent(file: string, message: string): FileProblem {
  return { file, severity: 'error', code: 'file_content', message };
}

function unreadable(path: string, error: unknown): IpeError {
  const code = (error as NodeJS.ErrnoException).code ?? 'an error';
  return new IpeError('unavailable', `cannot read \`${path}\` (${code})`, { cause: error });
}
