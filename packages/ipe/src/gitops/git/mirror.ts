import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IpeError, isIpeError } from '@ipe/core';
import type { Location } from './location.ts';
import { type Git, type GitResult, type RunOptions, type SshOptions, sshCommand } from './run.ts';

/** How a remote is reached. Files are read at each use, so that a rotated token or key is taken up by itself. */
export interface RemoteAccess {
  /** HTTPS user name; default `x-access-token`, which GitHub and GitLab accept with a token. */
  readonly user?: string;
  /** HTTPS token or password. */
  readonly token?: string;
  /** File holding the token; white space around it is dropped. */
  readonly tokenFile?: string;
  /** Certificates to trust instead of the system's, PEM. */
  readonly caFile?: string;
  readonly ssh?: SshOptions;
}

export interface MirrorLimits {
  /** The mirror on disk; a fetch that grows it further is ended. Default 1 GiB. */
  readonly mirrorMaxBytes: number;
  /** One fetch; default 5 minutes. */
  readonly fetchTimeoutMs: number;
}

export const mirrorLimits: MirrorLimits = { mirrorMaxBytes: 1024 * 1024 * 1024, fetchTimeoutMs: 300_000 };

/** A bare copy of one remote repository in the state directory, refreshed by incremental fetches. */
export interface Mirror {
  readonly location: Location;
  readonly git: Git;
  /** The bare repository; `git` may be run in it for reading. */
  readonly directory: string;
  /**
   * Brings the mirror up to date with a branch (or tag) of the remote; absent: the remote's default branch.
   * Asks for the tip first and fetches only when it is not here yet.
   * @returns the branch's name and the commit at its tip.
   * @throws IpeError `not_found` (no such branch), `unavailable` (unreachable), `forbidden` (access refused),
   *   `too_large`. What was fetched before stays usable.
   */
  update(branch?: string, signal?: AbortSignal): Promise<{ readonly branch: string; readonly commit: string }>;
  /** Removes the copy, which the next update makes anew: what to do where it turned out to be damaged. */
  discard(): Promise<void>;
  /** Runs a reading command in the mirror. */
  run(args: readonly string[], options?: RunOptions): Promise<GitResult>;
}

/** Name of the folder that holds the mirror of a location. */
export function mirrorFolder(location: Pick<Location, 'url'>): string {
  return `${createHash('sha256').update(location.url).digest('hex').slice(0, 24)}.git`;
}

/**
 * Opens (or later creates, at the first update) the mirror of `location` below `mirrorsDir`.
 * Two mirrors of one location share a folder: callers serialize updates of the same location.
 */
export function openMirror(
  git: Git,
  mirrorsDir: string,
  location: Location,
  access: RemoteAccess = {},
  limits: MirrorLimits = mirrorLimits,
): Mirror {
  const directory = join(mirrorsDir, mirrorFolder(location));

  const remote = async (): Promise<Pick<RunOptions, 'environment' | 'secrets'>> => {
    const environment: Record<string, string> = {};
    const secrets: string[] = [];
    if (location.kind === 'ssh') environment['GIT_SSH_COMMAND'] = sshCommand(access.ssh ?? {});
    if (location.kind === 'https') {
      const token = access.token ?? (await readToken(access.tokenFile)) ?? location.credentials?.token;
      const user = access.user ?? location.credentials?.user ?? 'x-access-token';
      if (access.caFile !== undefined) environment['GIT_SSL_CAINFO'] = access.caFile;
      if (token !== undefined) {
        const basic = Buffer.from(`${user}:${token}`).toString('base64');
        secrets.push(token, basic);
        Object.assign(environment, {
          GIT_CONFIG_COUNT: '2',
          GIT_CONFIG_KEY_0: `http.${new URL(location.url).origin}/.extraHeader`,
          GIT_CONFIG_VALUE_0: `Authorization: Basic ${basic}`,
          // A redirect must not carry the token to another host.
          GIT_CONFIG_KEY_1: 'http.followRedirects',
          GIT_CONFIG_VALUE_1: 'false',
        });
      }
    }
    return { environment, secrets };
  };

  const run = (args: readonly string[], options: RunOptions = {}): Promise<GitResult> =>
    git.run([`--git-dir=${directory}`, ...args], options);

  const tip = async (branch: string | undefined, signal: AbortSignal | undefined) => {
    if (location.kind === 'path') await checkLocal(location);
    const patterns =
      branch === undefined ? ['HEAD'] : [`refs/heads/${branch}`, `refs/tags/${branch}`, `refs/tags/${branch}^{}`];
    const result = await git.run(['ls-remote', '--symref', '--', location.url, ...patterns], {
      ...(await remote()),
      timeoutMs: 60_000,
      stdoutMaxBytes: 1024 * 1024,
      ...(signal && { signal }),
    });
    if (result.status !== 0) throw remoteFailure(location, result);
    return pickTip(location, branch, result.stdout.toString('utf8'));
  };

  const init = async (format: 'sha1' | 'sha256'): Promise<void> => {
    const current = await run(['rev-parse', '--show-object-format']).catch(() => undefined);
    if (current?.status === 0 && current.stdout.toString('utf8').trim() === format) return;
    // Absent, broken, or of the other object format: derived data, so it is simply made anew.
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const made = await git.run(['init', '--quiet', '--bare', `--object-format=${format}`, '--template=', directory]);
    if (made.status !== 0)
      throw new IpeError('unavailable', `cannot create the mirror of \`${location.shown}\`: ${lastLine(made.stderr)}`);
    await writeFile(join(directory, 'location'), `${location.shown}\n`);
  };

  const fetch = async (found: { readonly ref: string; readonly branch: string }, signal: AbortSignal | undefined) => {
    const fetched = await run(
      [
        'fetch',
        '--quiet',
        '--no-tags',
        '--no-write-fetch-head',
        '--no-recurse-submodules',
        '--no-auto-gc',
        '--force',
        '--',
        location.url,
        `+${found.ref}:${trackingRef(found.branch)}`,
      ],
      {
        ...(await remote()),
        timeoutMs: limits.fetchTimeoutMs,
        ...(signal && { signal }),
        watch: () => checkSize(location, directory, limits.mirrorMaxBytes),
      },
    );
    if (fetched.status !== 0) throw isOurs(fetched) ? damaged(location, fetched) : remoteFailure(location, fetched);
    await checkSize(location, directory, limits.mirrorMaxBytes);
    // Many small fetches leave many small packs. Failing to tidy them is no reason to fail.
    await run(
      ['-c', 'gc.auto=2000', '-c', 'gc.autoPackLimit=20', '-c', 'gc.autoDetach=false', 'gc', '--auto', '--quiet'],
      {
        timeoutMs: limits.fetchTimeoutMs,
      },
    ).catch(() => undefined);
  };

  const bring = async (found: Tip, signal: AbortSignal | undefined): Promise<string> => {
    await init(found.commit.length === 64 ? 'sha256' : 'sha1');
    const known = await run(['cat-file', '-e', `${found.commit}^{commit}`]);
    if (known.status === 0) {
      const moved = await run(['update-ref', trackingRef(found.branch), found.commit]);
      if (moved.status !== 0) throw damaged(location, moved);
      return found.commit;
    }
    await fetch(found, signal);
    // The branch may have moved between the question and the fetch: what was fetched counts.
    const now = await run(['rev-parse', '--verify', '--quiet', `${trackingRef(found.branch)}^{commit}`]);
    if (now.status !== 0) throw notCommit(location, found.branch);
    return now.stdout.toString('utf8').trim();
  };

  const discard = (): Promise<void> => rm(directory, { recursive: true, force: true });

  return {
    location,
    git,
    directory,
    run,
    discard,
    async update(branch, signal) {
      const found = await tip(branch, signal);
      try {
        return { branch: found.branch, commit: await bring(found, signal) };
      } catch (error) {
        // A copy that was left locked or half written by a killed process is worth nothing, and costs one fetch.
        if (!isIpeError(error) || error.reason !== 'corrupt') throw error;
        await discard();
        return { branch: found.branch, commit: await bring(found, signal) };
      }
    },
  };
}

interface Tip {
  readonly branch: string;
  readonly ref: string;
  readonly commit: string;
}

const trackingRef = (branch: string): string => `refs/mirror/${branch}`;

/** Whether a fetch failed for the sake of the copy and not of the remote. */
function isOurs(result: GitResult): boolean {
  return /\.lock'?: File exists|cannot lock ref|bad object|loose object .* is corrupt|unable to read tree|packfile .* (?:cannot be accessed|is corrupt|does not match)|not our ref|did not send all necessary objects/i.test(
    result.stderr,
  );
}

function damaged(location: Location, result: GitResult): IpeError {
  return new IpeError('corrupt', `the mirror of \`${location.shown}\` is damaged: ${lastLine(result.stderr)}`);
}

async function readToken(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw new IpeError('unavailable', `cannot read the token file \`${file}\``, { cause: error });
  }
}

/** Git's own message for a wrong path speaks of access rights; this one says what is there. */
async function checkLocal(location: Location): Promise<void> {
  const found = await stat(location.url).catch(() => undefined);
  if (found === undefined || !found.isDirectory())
    throw new IpeError(
      'not_found',
      `\`${location.shown}\` ${found === undefined ? 'does not exist' : 'is not a folder'}; give the folder of a Git repository`,
      { details: { field: 'repository' } },
    );
  const inside = await Promise.all(
    ['.git', 'HEAD', 'objects'].map((name) =>
      stat(join(location.url, name)).then(
        () => true,
        () => false,
      ),
    ),
  );
  if (inside[0] !== true && !(inside[1] === true && inside[2] === true))
    throw new IpeError(
      'not_found',
      `\`${location.shown}\` is not a Git repository; run \`git init\` and commit there, or use \`ipe apply\` for plain folders`,
      { details: { field: 'repository' } },
    );
}

function pickTip(location: Location, branch: string | undefined, listing: string): Tip {
  const refs = new Map<string, string>();
  let head: string | undefined;
  for (const line of listing.split('\n')) {
    const [left, right] = line.split('\t');
    if (left === undefined || right === undefined) continue;
    if (left.startsWith('ref: ') && right === 'HEAD') head = left.slice(5);
    else if (/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(left)) refs.set(right, left);
  }
  if (branch === undefined) {
    const commit = refs.get('HEAD');
    if (commit === undefined)
      throw new IpeError('not_found', `\`${location.shown}\` has no commits on its default branch; name a \`branch\``, {
        details: { field: 'branch' },
      });
    const name = head?.startsWith('refs/heads/') ? head.slice('refs/heads/'.length) : 'HEAD';
    return { branch: name, ref: head ?? 'HEAD', commit };
  }
  const heads = refs.get(`refs/heads/${branch}`);
  if (heads !== undefined) return { branch, ref: `refs/heads/${branch}`, commit: heads };
  const tag = refs.get(`refs/tags/${branch}^{}`) ?? refs.get(`refs/tags/${branch}`);
  if (tag !== undefined) return { branch, ref: `refs/tags/${branch}`, commit: tag };
  throw new IpeError('not_found', `\`${location.shown}\` has no branch or tag \`${branch}\``, {
    details: { field: 'branch', branch },
  });
}

function notCommit(location: Location, branch: string): IpeError {
  return new IpeError('not_found', `\`${branch}\` of \`${location.shown}\` does not name a commit`);
}

/** Sorts a failed remote command by what the reader can do about it. */
function remoteFailure(location: Location, result: GitResult): IpeError {
  const text = result.stderr;
  const why = lastLine(text);
  const details = { repository: location.shown, git: text.trim().split('\n').slice(-5) };
  if (
    /Authentication failed|could not read Username|Permission denied|HTTP 40[13]|returned error: 40[13]|Access denied/i.test(
      text,
    )
  )
    return new IpeError('forbidden', `\`${location.shown}\` refused access: ${why}; check the token or the key`, {
      details,
    });
  if (/Host key verification failed/i.test(text))
    return new IpeError(
      'forbidden',
      `the host key of \`${location.shown}\` is not known; add it with \`ssh-keyscan\` to the known-hosts file after checking it`,
      { details },
    );
  if (/not found|does not appear to be a git repository|returned error: 404/i.test(text))
    return new IpeError('not_found', `\`${location.shown}\` was not found: ${why}`, { details });
  return new IpeError('unavailable', `cannot read \`${location.shown}\`: ${why}`, { details });
}

export function lastLine(text: string): string {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const telling = lines.find((line) => line.startsWith('fatal:') || line.startsWith('error:')) ?? lines.at(-1);
  return telling?.replace(/^(?:fatal|error): /, '') ?? 'git gave no reason';
}

async function checkSize(location: Location, directory: string, maxBytes: number): Promise<void> {
  let total = 0;
  const folders = [directory];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      // Temporary packs come and go while git works.
      else total += (await stat(path).catch(() => undefined))?.size ?? 0;
    }
  }
  if (total > maxBytes)
    throw new IpeError(
      'too_large',
      `the mirror of \`${location.shown}\` would hold more than ${maxBytes} bytes; keep policies in a repository of their own`,
      { details: { max_bytes: maxBytes } },
    );
}
