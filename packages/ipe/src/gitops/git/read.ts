import { IpeError } from '@ipe/core';
import { lastLine, type Mirror } from './mirror.ts';

/** One commit of a source repository, as kept with the root commit it becomes. */
export interface SourceCommit {
  readonly id: string;
  readonly author: { readonly name: string; readonly email: string };
  /** Author time, Unix seconds. */
  readonly authoredAt: number;
  /** Commit time, Unix seconds. */
  readonly committedAt: number;
  readonly message: string;
}

/** What one entry of a source tree is. Anything but a file cannot hold a policy. */
export type SourceKind = 'file' | 'symlink' | 'submodule';

export interface SourceEntry {
  /** Path below the directory asked for, segments joined by `/`. */
  readonly path: string;
  readonly kind: SourceKind;
  readonly id: string;
  /** Bytes; 0 for submodules. */
  readonly sizeBytes: number;
}

export interface ReadLimits {
  /** Entries below the directory; default 200,000. */
  readonly entriesMax: number;
  /** All files read of one commit; default 256 MiB. */
  readonly totalMaxBytes: number;
  /** One file; default 1 MiB. */
  readonly fileMaxBytes: number;
}

export const readLimits: ReadLimits = {
  entriesMax: 200_000,
  totalMaxBytes: 256 * 1024 * 1024,
  fileMaxBytes: 1024 * 1024,
};

/**
 * Resolves a commit id, whole or abbreviated (at least 4 hexadecimal digits), among what the mirror holds.
 * @throws IpeError `not_found` when it is unknown or ambiguous.
 */
export async function resolveCommit(mirror: Mirror, text: string): Promise<string> {
  if (/^[0-9a-fA-F]{4,64}$/.test(text)) {
    const result = await mirror.run(['rev-parse', '--verify', '--quiet', `${text.toLowerCase()}^{commit}`]);
    if (result.status === 0) return result.stdout.toString('utf8').trim();
  }
  throw new IpeError('not_found', `\`${mirror.location.shown}\` has no single commit \`${text}\``, {
    details: { field: 'commit', commit: text },
  });
}

/** Whether `ancestor` is reachable from `commit`. */
export async function isAncestor(mirror: Mirror, ancestor: string, commit: string): Promise<boolean> {
  return (await mirror.run(['merge-base', '--is-ancestor', ancestor, commit])).status === 0;
}

/** Author, times and message of a commit that the mirror holds. */
export async function readCommit(mirror: Mirror, commit: string): Promise<SourceCommit> {
  const format = ['%H', '%an', '%ae', '%at', '%ct', '%B'].join('%x00');
  const result = await mirror.run([
    '-c',
    'i18n.logOutputEncoding=UTF-8',
    'log',
    '-1',
    '--no-show-signature',
    '--no-mailmap',
    '--no-notes',
    '--no-color',
    `--format=${format}`,
    '--end-of-options',
    commit,
  ]);
  const [id, name, email, authored, committed, ...message] = result.stdout.toString('utf8').split('\0');
  if (result.status !== 0 || id === undefined || committed === undefined)
    throw new IpeError('not_found', `cannot read commit \`${commit}\`: ${lastLine(result.stderr)}`);
  return {
    id,
    author: { name: name ?? '', email: email ?? '' },
    authoredAt: Number(authored),
    committedAt: Number(committed),
    message: message.join('\0').trimEnd(),
  };
}

/**
 * Lists every file, symbolic link and submodule below a directory of a commit, sorted by path. Reads no content.
 * @throws IpeError `not_found` when the directory is not in the commit, `too_large` beyond `limits.entriesMax`.
 */
export async function listTree(
  mirror: Mirror,
  commit: string,
  directory: string,
  limits: ReadLimits = readLimits,
): Promise<SourceEntry[]> {
  if (directory !== '') {
    const type = await mirror.run(['cat-file', '-t', `${commit}:${directory}`]);
    const kind = type.stdout.toString('utf8').trim();
    if (type.status !== 0 || kind !== 'tree')
      throw new IpeError(
        'not_found',
        type.status === 0
          ? `\`${directory}\` is not a folder in commit \`${commit.slice(0, 12)}\``
          : `commit \`${commit.slice(0, 12)}\` of \`${mirror.location.shown}\` has no folder \`${directory}\``,
        { details: { field: 'directory', directory } },
      );
  }
  const treeish = directory === '' ? commit : `${commit}:${directory}`;
  const result = await mirror.run(['ls-tree', '-r', '-z', '-l', '--full-tree', treeish]);
  if (result.status !== 0)
    throw new IpeError('corrupt', `cannot list commit \`${commit.slice(0, 12)}\`: ${lastLine(result.stderr)}`);
  const entries: SourceEntry[] = [];
  for (const row of result.stdout.toString('utf8').split('\0')) {
    if (row === '') continue;
    const match = /^(\d{6}) \w+ ([0-9a-f]+) +(\d+|-)\t([\s\S]*)$/.exec(row);
    if (match === null) throw new IpeError('internal', `git listed something unexpected: \`${row.slice(0, 80)}\``);
    const [, mode, id, size, path] = match;
    const kind: SourceKind = mode === '160000' ? 'submodule' : mode === '120000' ? 'symlink' : 'file';
    entries.push({ path: path!, kind, id: id!, sizeBytes: size === '-' ? 0 : Number(size) });
  }
  if (entries.length > limits.entriesMax)
    throw new IpeError(
      'too_large',
      `the folder holds ${entries.length} files, more than ${limits.entriesMax}; name the \`directory\` that holds the policies`,
      { details: { entries: entries.length, max: limits.entriesMax } },
    );
  return entries;
}

/**
 * Reads blobs in one go, in the order given.
 * @throws IpeError `too_large` when a file or all together exceed the limits; nothing is read then.
 */
export async function readBlobs(
  mirror: Mirror,
  entries: readonly SourceEntry[],
  limits: ReadLimits = readLimits,
): Promise<Uint8Array[]> {
  let total = 0;
  for (const entry of entries) {
    total += entry.sizeBytes;
    if (entry.sizeBytes > limits.fileMaxBytes)
      throw new IpeError(
        'too_large',
        `\`${entry.path}\` has ${entry.sizeBytes} bytes, at most ${limits.fileMaxBytes} are taken`,
      );
  }
  if (total > limits.totalMaxBytes)
    throw new IpeError(
      'too_large',
      `the policies of one commit may have ${limits.totalMaxBytes} bytes, these have ${total}`,
    );
  if (entries.length === 0) return [];
  const result = await mirror.run(['cat-file', '--batch'], {
    input: Buffer.from(entries.map((entry) => `${entry.id}\n`).join('')),
    stdoutMaxBytes: total + entries.length * 128,
    timeoutMs: 120_000,
  });
  if (result.status !== 0)
    throw new IpeError('corrupt', `cannot read files of \`${mirror.location.shown}\`: ${lastLine(result.stderr)}`);
  const out = result.stdout;
  const blobs: Uint8Array[] = [];
  let at = 0;
  for (const entry of entries) {
    const end = out.indexOf(10, at);
    const header = out.toString('latin1', at, end).split(' ');
    if (end < 0 || header[0] !== entry.id || header[1] !== 'blob')
      throw new IpeError('corrupt', `the mirror of \`${mirror.location.shown}\` has lost \`${entry.path}\``, {
        details: { object: entry.id },
      });
    const size = Number(header[2]);
    blobs.push(new Uint8Array(out.subarray(end + 1, end + 1 + size)));
    at = end + 1 + size + 1;
  }
  return blobs;
}
