import { spawn } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { devNull } from 'node:os';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';

/** Oldest `git` that has everything used here: `GIT_CONFIG_GLOBAL`, SSH signatures, SHA-256 repositories. */
export const oldestGit = [2, 34] as const;

/** How a `git` process is started; every field has a safe default. */
export interface GitOptions {
  /** Folder for the configuration file that replaces the user's. Made when missing, mode 0700. */
  readonly stateDir: string;
  /** The program; default `git`, found on `PATH`. */
  readonly executable?: string;
  /** Environment to take `PATH`, the SSH agent and proxy settings from; nothing else of it is passed on. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

export interface RunOptions {
  readonly cwd?: string;
  /** Added to the safe environment; credentials come this way, so that they never stand in arguments. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Killed, with its children, after this long; default 60 s. */
  readonly timeoutMs?: number;
  /** More output than this kills the process with `too_large`; default 64 MiB. */
  readonly stdoutMaxBytes?: number;
  /** Written to standard input, which is then closed. */
  readonly input?: Uint8Array;
  readonly signal?: AbortSignal;
  /** Cut from every message. */
  readonly secrets?: readonly string[];
  /** Called about twice a second while the process runs; what it throws kills the process and is thrown by `run`. */
  readonly watch?: () => Promise<void>;
}

export interface GitResult {
  /** Exit status. Non-zero is a result, not an exception: only the caller knows what it means. */
  readonly status: number;
  readonly stdout: Buffer;
  /** The last 16 KiB, secrets removed. */
  readonly stderr: string;
}

/** Starts `git` in an environment where nothing of the user's or the repository's configuration can run a program. */
export interface Git {
  /** Version of the program, checked to be at least `oldestGit`. @throws IpeError `unavailable` with how to install it. */
  version(): Promise<string>;
  /** Runs one command to its end. @throws IpeError `unavailable` on timeout or abort, `too_large` on too much output. */
  run(args: readonly string[], options?: RunOptions): Promise<GitResult>;
  /** Runs GnuPG, which git verifies OpenPGP signatures with, in the same environment. @throws as `run` */
  gpg(args: readonly string[], options?: RunOptions): Promise<GitResult>;
}

/**
 * The configuration that stands in for the user's. `safe.directory` must come from a file for git older than 2.38; it is
 * `*` because the guard behind it protects against hooks and programs named by a repository, all of which are off here.
 */
const configuration = `# Written by IPE at each start; changes are lost.
[core]
	hooksPath = ${devNull}
	fsmonitor = false
	askPass =
	symlinks = false
[credential]
	helper =
[safe]
	directory = *
[gc]
	auto = 0
[maintenance]
	auto = false
[fetch]
	fsckObjects = true
	recurseSubmodules = false
[transfer]
	fsckObjects = true
	bundleURI = false
[submodule]
	recurse = false
[http]
	followRedirects = initial
	lowSpeedLimit = 1
	lowSpeedTime = 30
[protocol]
	version = 2
[gpg]
	minTrustLevel = undefined
[log]
	showSignature = false
`;

/** Variables of the caller's environment that git needs to reach the world, and that name no program to run. */
const passedOn = [
  'PATH',
  'TMPDIR',
  'SSH_AUTH_SOCK',
  'http_proxy',
  'https_proxy',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'all_proxy',
  'ALL_PROXY',
  'no_proxy',
  'NO_PROXY',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'SYSTEMROOT',
];

const stderrMaxBytes = 16 * 1024;

/**
 * Makes a runner of `git` commands. Does nothing until the first command.
 *
 * @example
 * const git = createGit({ stateDir: '/var/lib/ipe/git', environment: process.env });
 * const { stdout } = await git.run(['ls-remote', '--', 'https://example.org/policies.git']);
 */
export function createGit(options: GitOptions): Git {
  const executable = options.executable ?? 'git';
  const configFile = join(options.stateDir, 'gitconfig');
  let ready: Promise<NodeJS.ProcessEnv> | undefined;
  let checked: Promise<string> | undefined;

  const prepare = async (): Promise<NodeJS.ProcessEnv> => {
    await mkdir(options.stateDir, { recursive: true, mode: 0o700 });
    await writeFile(configFile, configuration, { mode: 0o600 });
    await chmod(configFile, 0o600);
    const environment: NodeJS.ProcessEnv = {
      HOME: options.stateDir,
      LC_ALL: 'C',
      TZ: 'UTC',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: configFile,
      GIT_ATTR_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      GIT_ASKPASS: '',
      SSH_ASKPASS: '',
      SSH_ASKPASS_REQUIRE: 'never',
      GIT_ALLOW_PROTOCOL: 'file:ssh:https',
      GIT_PROTOCOL_FROM_USER: '0',
      GIT_SSH_COMMAND: sshCommand({}),
      GIT_SSH_VARIANT: 'ssh',
      GIT_OPTIONAL_LOCKS: '0',
      GIT_NO_LAZY_FETCH: '1',
      GIT_NO_REPLACE_OBJECTS: '1',
      GIT_EDITOR: 'false',
      GIT_PAGER: 'cat',
    };
    for (const name of passedOn) {
      const value = options.environment?.[name];
      if (value !== undefined) environment[name] = value;
    }
    return environment;
  };

  const environment = (): Promise<NodeJS.ProcessEnv> => {
    ready ??= prepare().catch((error: unknown) => {
      ready = undefined;
      throw new IpeError('unavailable', `cannot write the git configuration in \`${options.stateDir}\``, {
        cause: error,
      });
    });
    return ready;
  };

  const check = async (): Promise<string> => {
    const result = await execute(executable, ['--version'], await environment(), { timeoutMs: 10_000 });
    const found = /(\d+)\.(\d+)(?:\.\d+)*/.exec(result.stdout.toString('utf8'));
    const [major, minor] = [Number(found?.[1] ?? 0), Number(found?.[2] ?? 0)];
    if (found === null || major < oldestGit[0] || (major === oldestGit[0] && minor < oldestGit[1]))
      throw new IpeError(
        'unavailable',
        `git ${oldestGit.join('.')} or newer is needed, \`${executable}\` is ${found?.[0] ?? 'something else'}; ${installHint}`,
      );
    return found[0];
  };

  const version = (): Promise<string> => {
    checked ??= check().catch((error: unknown) => {
      checked = undefined;
      throw error;
    });
    return checked;
  };

  return {
    version,
    async run(args, runOptions = {}) {
      await version();
      const own = { ...(await environment()), ...runOptions.environment };
      return execute(executable, args, own, runOptions);
    },
    gpg: async (args, runOptions = {}) =>
      execute('gpg', args, { ...(await environment()), ...runOptions.environment }, runOptions),
  };
}

const installHint =
  'install it with `apt-get install git` (Debian, Ubuntu), `dnf install git` (Fedora) or `xcode-select --install` (macOS)';

const gpgHint =
  'install it with `apt-get install gpg` (Debian, Ubuntu), `dnf install gnupg2` (Fedora) or `brew install gnupg` (macOS)';

/** What an SSH remote is reached with. Host keys are always checked: an unknown host is an error, never a question. */
export interface SshOptions {
  /** Private key file; absent: the agent and the user's default keys (the user's ssh configuration is not read). */
  readonly keyFile?: string;
  /** Host keys to trust; absent: the user's `known_hosts`. */
  readonly knownHostsFile?: string;
}

/** The value of `GIT_SSH_COMMAND`: never asks, runs no command of the user's, and uses only what it is given. */
export function sshCommand(options: SshOptions): string {
  const parts = [
    'ssh',
    '-F',
    '/dev/null',
    '-oBatchMode=yes',
    '-oStrictHostKeyChecking=yes',
    '-oConnectTimeout=15',
    '-oPermitLocalCommand=no',
    '-oForwardAgent=no',
    '-oClearAllForwardings=yes',
  ];
  if (options.keyFile !== undefined) parts.push('-oIdentitiesOnly=yes', '-i', options.keyFile);
  if (options.knownHostsFile !== undefined) parts.push(`-oUserKnownHostsFile=${options.knownHostsFile}`);
  return parts.map(shellQuote).join(' ');
}

function shellQuote(text: string): string {
  return /^[\w./=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** `text` with every secret, and credentials inside URLs, replaced by `***`. */
export function redact(text: string, secrets: readonly string[] = []): string {
  let clean = text;
  for (const secret of secrets) if (secret !== '') clean = clean.replaceAll(secret, '***');
  return clean.replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^/@\s'"`]+@/gi, '$1***@');
}

function execute(
  executable: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  options: RunOptions,
): Promise<GitResult> {
  const { signal, secrets = [], timeoutMs = 60_000, stdoutMaxBytes = 64 * 1024 * 1024 } = options;
  const shown = redact(`${executable} ${args.filter((arg) => !arg.startsWith('-c')).join(' ')}`, secrets);
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(aborted(shown));
    // A group of its own, so that ssh and the remote helpers are ended together with git.
    const child = spawn(executable, args, {
      cwd: options.cwd,
      env: environment,
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    const chunks: Buffer[] = [];
    let outBytes = 0;
    let stderr = '';
    let failure: unknown;

    const stop = (error: unknown): void => {
      failure ??= error;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
    };
    const onAbort = (): void => stop(aborted(shown));
    const timer = setTimeout(
      () =>
        stop(
          new IpeError('unavailable', `\`${shown}\` took longer than ${Math.round(timeoutMs / 1000)} s and was ended`),
        ),
      timeoutMs,
    );
    let watching = false;
    const watcher =
      options.watch &&
      setInterval(() => {
        if (watching) return;
        watching = true;
        options.watch!()
          .catch(stop)
          .finally(() => {
            watching = false;
          });
      }, 500);
    signal?.addEventListener('abort', onAbort, { once: true });

    child.stdout.on('data', (chunk: Buffer) => {
      outBytes += chunk.length;
      if (outBytes > stdoutMaxBytes)
        stop(new IpeError('too_large', `\`${shown}\` printed more than ${stdoutMaxBytes} bytes`));
      else chunks.push(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk.toString('utf8')).slice(-stderrMaxBytes);
    });
    // A process that ends before it has read its input is judged by its exit status.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input);
    child.on('error', (error: NodeJS.ErrnoException) => {
      failure ??=
        error.code === 'ENOENT' && options.cwd === undefined
          ? new IpeError(
              'unavailable',
              `\`${executable}\` was not found; ${executable === 'gpg' ? gpgHint : installHint}`,
              { cause: error },
            )
          : new IpeError('unavailable', `cannot start \`${executable}\`: ${error.message}`, { cause: error });
      if (child.pid === undefined) finish(-1);
    });
    child.on('close', (status) => finish(status ?? -1));

    const finish = (status: number): void => {
      clearTimeout(timer);
      if (watcher !== undefined) clearInterval(watcher);
      signal?.removeEventListener('abort', onAbort);
      if (failure !== undefined) reject(failure);
      else resolve({ status, stdout: Buffer.concat(chunks), stderr: redact(stderr, secrets) });
    };
  });
}

function aborted(shown: string): IpeError {
  return new IpeError('unavailable', `\`${shown}\` was ended because the request was given up`);
}
