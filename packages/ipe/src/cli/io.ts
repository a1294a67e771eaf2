import type { Readable, Writable } from 'node:stream';

/** The world as the command line sees it: the only place where `ipe` reads the environment or a terminal. */
export interface CliIo {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  /** Whether people read along: only then colours and progress are shown. */
  readonly stdoutIsTerminal: boolean;
  readonly stderrIsTerminal: boolean;
  readonly terminalColumns: number;
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls back on the first interrupt or termination asked of the process; returns how to stop listening. */
  onInterrupt(callback: () => void): () => void;
  /** Told when `ipe serve` has announced that its node is ready. */
  onReady?(node: { readonly directory: string }): void;
}

/** The process's own streams, environment and signals. */
export function processIo(): CliIo {
  const { stdin, stdout, stderr, env } = process;
  return {
    stdin,
    stdout,
    stderr,
    environment: env,
    workingDirectory: process.cwd(),
    stdoutIsTerminal: stdout.isTTY === true,
    stderrIsTerminal: stderr.isTTY === true,
    terminalColumns: stdout.columns ?? 80,
    now: () => Date.now(),
    onInterrupt: (callback) => {
      process.once('SIGINT', callback);
      process.once('SIGTERM', callback);
      return () => {
        process.off('SIGINT', callback);
        process.off('SIGTERM', callback);
      };
    },
  };
}
