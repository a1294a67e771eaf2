import { existsSync } from 'node:fs';
import type { ControlCalls } from '@ipe/client/protocol';
import { holderOf, layoutOf } from '../node/directory.ts';
import type { Cli } from './cli.ts';
import { type NodeOptions, stateDirectory, withPlane } from './connect.ts';

type TokenMethod = 'token-create' | 'token-list' | 'token-revoke';

/**
 * Calls a token method of a running node, or, where no node has the state directory open, does the same to the
 * directory itself, so that tokens can be made before the first start of a service.
 */
export async function callTokens<M extends TokenMethod>(
  cli: Cli,
  options: NodeOptions,
  method: M,
  params: ControlCalls[M]['params'],
): Promise<ControlCalls[M]['result']> {
  const layout = layoutOf(stateDirectory(cli, options));
  const isStopped = options.socket === undefined && existsSync(layout.keys) && (await holderOf(layout)) === undefined;
  if (!isStopped) return withPlane(cli, options, 'control', ({ control }) => control.call(method, params));

  const [{ callStoppedTokens }, { loadConfig }] = await Promise.all([
    import('../node/stopped-tokens.ts'),
    import('../config/index.ts'),
  ]);
  const config = await loadConfig({ environment: cli.io.environment });
  const result = await callStoppedTokens({ directory: layout.root, config, method, params, now: () => cli.io.now() });
  return result as ControlCalls[M]['result'];
}
