import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Client, createClient } from '@ipe/client';
import type { TokenKind } from '@ipe/client/protocol';
import type { Place } from './network/network.ts';

/** The built program. */
export const program = fileURLToPath(new URL('../../bin/ipe.js', import.meta.url));

/** A node that runs as a process of its own, with clients of its planes. */
export interface NodeProcess {
  readonly directory: string;
  readonly child: ChildProcess;
  readonly tokens: Readonly<Record<TokenKind, string>>;
  readonly control: Client['control'];
  readonly data: Client['data'];
  readonly evaluation: Client['evaluation'];
  /** The clients, for sessions and REST. */
  readonly clients: Readonly<Record<'control' | 'data' | 'evaluation', Client>>;
  /** What it wrote to standard error so far. */
  log(): string;
  /** Drains and stops it. @returns its exit code */
  stop(): Promise<number | null>;
  /** Ends it without warning, as `kill -9` does. */
  kill(): Promise<void>;
}

/**
 * Starts the built program on a state directory and waits until it is ready.
 * @throws Error with what it logged, where it ends before that
 */
export async function startProcess(
  directory: string,
  options: {
    readonly args?: readonly string[];
    readonly environment?: Readonly<Record<string, string>>;
    /** Where it runs; default: beside the test. */
    readonly place?: Place;
  } = {},
): Promise<NodeProcess> {
  const { args = [], environment, place } = options;
  const command = [process.execPath, program, 'serve', '--json', '--dir', directory, ...args];
  const [file, ...rest] = place?.wrap(command) ?? command;
  const child = spawn(file!, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
  if (child.pid !== undefined) place?.owns(child.pid);
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  const ready = once(createInterface({ input: child.stdout }), 'line').then(() => undefined);
  const early = await Promise.race([ready, exited.then((code) => ({ code }))]);
  if (early !== undefined) throw new Error(`the node ended with ${early.code} before it was ready:\n${log}`);

  const tokens = JSON.parse(readFileSync(join(directory, 'credentials.json'), 'utf8')) as NodeProcess['tokens'];
  const socket = (name: string) => join(directory, 'run', `${name}.sock`);
  const clients = {
    control: createClient({ socket: socket('control'), token: tokens.admin }),
    data: createClient({ socket: socket('data'), token: tokens.service }),
    evaluation: createClient({ socket: socket('eval'), token: tokens.application }),
  };
  const end = async (signal: NodeJS.Signals) => {
    for (const client of Object.values(clients)) client.close();
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    return exited;
  };
  return {
    directory,
    child,
    tokens,
    control: clients.control.control,
    data: clients.data.data,
    evaluation: clients.evaluation.evaluation,
    clients,
    log: () => log,
    stop: () => end('SIGTERM'),
    kill: async () => void (await end('SIGKILL')),
  };
}
