import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { createClient } from '@ipe/client';
import { IpeError } from '@ipe/core';
import type { Config } from '../config/index.ts';
import { type RunningNode, runUntilSignal, startNode } from '../node/start.ts';
import { readCredentials } from '../security/credentials.ts';
import { applyFolder, holdsFolder } from './apply.ts';
import type { Cli } from './cli.ts';
import { stateDirectory } from './connect.ts';
import { UsageError } from './failure.ts';
import { version } from './version.ts';

export interface ServeOptions {
  readonly config?: string;
  readonly dir?: string;
  /** Folder of policies to apply once the node is up. */
  readonly apply?: string;
  /** Address of the member that admits this node. */
  readonly join?: string;
  /** Default: `IPE_JOIN_TOKEN` of the environment. */
  readonly joinToken?: string;
  /** Configuration values by dotted path, from flags. */
  readonly flags?: Readonly<Record<string, string>>;
}

/**
 * Runs a node until it is told to stop.
 *
 * @param onReady called once everything answers and the policies of `apply` are in
 * @returns the exit code
 */
export async function serveNode(
  cli: Cli,
  options: ServeOptions,
  onReady: (node: RunningNode) => void,
): Promise<number> {
  const readConfig = () => configOf(cli, options);
  const note = (error: unknown) => cli.out.note(`error: ${error instanceof Error ? error.message : error}`);
  for (let isFirst = true; ; isFirst = false) {
    const node = await startNode({
      directory: stateDirectory(cli, options),
      config: await readConfig(),
      version,
      readConfig,
      ...joinOf(cli, options),
    });
    const stopped = runUntilSignal(node, note);
    if (isFirst) {
      try {
        if (options.apply !== undefined) await applyTo(cli, node, options.apply);
      } catch (error) {
        await node.close();
        throw error;
      }
      onReady(node);
    }
    const ended = await stopped;
    if ('code' in ended) return ended.code;
    cli.out.note(`starting again: ${ended.restart}`);
  }
}

/** How to join: a token, and the address that it may name itself. */
function joinOf(cli: Cli, { join: address, joinToken }: ServeOptions) {
  const token = joinToken ?? cli.io.environment['IPE_JOIN_TOKEN'];
  if (token === undefined) {
    if (address === undefined) return {};
    throw new UsageError('--join needs --join-token, or IPE_JOIN_TOKEN in the environment');
  }
  return { join: { token, ...(address === undefined ? {} : { address }) } };
}

/** The configuration; where people read along and nothing says otherwise, the log is for people. */
async function configOf(cli: Cli, options: ServeOptions): Promise<Config> {
  const { checkConfig, loadConfig } = await import('../config/index.ts');
  const file = options.config;
  const input = {
    ...(file === undefined ? {} : { file: await configText(cli, file), fileName: basename(file) }),
    environment: cli.io.environment,
    ...(options.flags === undefined ? {} : { flags: options.flags }),
  };
  const config = await loadConfig(input);
  const isUnsaid =
    cli.io.stderrIsTerminal && (await checkConfig(input)).source('observability.log_format') === 'default';
  return isUnsaid ? { ...config, observability: { ...config.observability, log_format: 'pretty' } } : config;
}

async function configText(cli: Cli, file: string): Promise<string> {
  try {
    return await readFile(cli.path(file), 'utf8');
  } catch (cause) {
    throw new IpeError(
      'not_found',
      `the configuration file \`${file}\` cannot be read (${(cause as NodeJS.ErrnoException).code})`,
      { cause },
    );
  }
}

async function applyTo(cli: Cli, node: RunningNode, folder: string): Promise<void> {
  const credentials = await readCredentials(node.credentials.path);
  const socket = node.addresses.control[0]!;
  const client = createClient({ socket, ...(credentials === undefined ? {} : { token: credentials.admin }) });
  try {
    if (!(await holdsFolder(cli, client.control, folder))) await applyFolder(cli, client.control, folder);
  } finally {
    client.close();
  }
}
