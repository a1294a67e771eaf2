import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Client, createClient } from '@ipe/client';
import { type Plane, planes, type TokenKind } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import type { Command } from 'commander';
import type { Cli } from './cli.ts';

/** Options of every command that talks to a node. */
export interface NodeOptions {
  readonly dir?: string;
  readonly socket?: string;
  readonly json?: boolean;
  readonly timeout?: number;
}

/** For work that takes as long as there is data. */
export const longWorkSeconds = 600;

/** Adds `--dir`, `--socket`, `--timeout` and `--json`. */
export function onNode(command: Command, timeoutSeconds = 60): Command {
  return command
    .option('--dir <folder>', "the node's state directory (default: $IPE_DIR, else .ipe)")
    .option('--socket <path>', "the node's socket; those of its other planes are looked for beside it")
    .option('--timeout <seconds>', 'give up after this long', seconds, timeoutSeconds)
    .option('--json', 'print JSON');
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new IpeError('invalid_params', `\`--timeout\` takes seconds, not \`${text}\``);
  return value;
}

const socketNames: Readonly<Record<Plane, string>> = {
  control: 'control.sock',
  data: 'data.sock',
  evaluation: 'eval.sock',
};

/** Which of the tokens of `credentials.json` open a plane, the most able first. */
const tokensFor: Readonly<Record<Plane, readonly TokenKind[]>> = {
  control: ['admin'],
  data: ['admin', 'service'],
  evaluation: ['admin', 'application'],
};

/** The state directory that a command is about: `--dir`, else `IPE_DIR`, else `.ipe`. */
export function stateDirectory(cli: Cli, options: Pick<NodeOptions, 'dir'>): string {
  return cli.path(options.dir ?? cli.io.environment['IPE_DIR'] ?? '.ipe');
}

/**
 * Runs with a client of one plane of the node that the options, or the environment, point at, and closes it. The token
 * is `IPE_TOKEN`, or one of the node's `credentials.json`, as kubectl finds its own.
 */
export async function withPlane<T>(
  cli: Cli,
  options: NodeOptions,
  plane: Plane,
  run: (client: Client) => Promise<T>,
): Promise<T> {
  const { socket, credentials } = locate(cli, options, plane);
  const token = cli.io.environment['IPE_TOKEN'] ?? (await tokenOf(credentials, plane));
  const client = createClient({
    socket,
    ...(token === undefined ? {} : { token }),
    timeoutMs: Math.round((options.timeout ?? 60) * 1000),
    retries: 0,
  });
  try {
    return await run(client);
  } finally {
    client.close();
  }
}

function locate(cli: Cli, options: NodeOptions, plane: Plane): { socket: string; credentials: string } {
  if (options.socket === undefined) {
    const dir = stateDirectory(cli, options);
    return { socket: join(dir, 'run', socketNames[plane]), credentials: join(dir, 'credentials.json') };
  }
  const given = cli.path(options.socket);
  const isOurs = planes.some((each) => socketNames[each] === basename(given));
  const socket = isOurs ? join(dirname(given), socketNames[plane]) : given;
  const dir = options.dir ?? cli.io.environment['IPE_DIR'];
  return { socket, credentials: join(dir === undefined ? dirname(dirname(given)) : cli.path(dir), 'credentials.json') };
}

async function tokenOf(credentials: string, plane: Plane): Promise<string | undefined> {
  let text: string;
  try {
    text = await readFile(credentials, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new IpeError(
      'unavailable',
      `cannot read \`${credentials}\`; run as the user that owns it, or set IPE_TOKEN`,
      { cause },
    );
  }
  const tokens = JSON.parse(text) as Partial<Record<TokenKind, string>>;
  return tokensFor[plane].map((kind) => tokens[kind]).find((token) => token !== undefined);
}
