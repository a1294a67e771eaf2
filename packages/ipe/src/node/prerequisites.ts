import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Something the node can do without, and how to get it. */
export interface Lacking {
  readonly name: string;
  readonly needed: string;
  readonly install: string;
}

/** Oldest git whose plumbing the mirrors rely on. */
const oldestGit = [2, 34] as const;

/**
 * Looks for what is not part of Node and not of this package. The RocksDB library reports its own (`libatomic1`) when a
 * store is opened; git is only needed for mirrors, so that its absence is a warning.
 */
export async function lackingPrerequisites(run = runGit): Promise<Lacking[]> {
  const install =
    process.platform === 'darwin'
      ? '`xcode-select --install`, or `brew install git`'
      : '`apt-get install git` (Debian, Ubuntu) or `dnf install git` (Fedora, RHEL)';
  const needed = 'policies cannot be synced from Git repositories';
  const version = await run();
  if (version === undefined) return [{ name: 'git', needed, install }];
  const [, major, minor] = /(\d+)\.(\d+)/.exec(version) ?? [];
  const isOld =
    major === undefined ||
    Number(major) < oldestGit[0] ||
    (Number(major) === oldestGit[0] && Number(minor) < oldestGit[1]);
  return isOld
    ? [{ name: `git ${oldestGit.join('.')} or newer`, needed: `${needed} with \`${version.trim()}\``, install }]
    : [];
}

async function runGit(): Promise<string | undefined> {
  try {
    return (await promisify(execFile)('git', ['--version'], { timeout: 5000 })).stdout;
  } catch {
    return undefined;
  }
}
