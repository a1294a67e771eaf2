import { existsSync } from 'node:fs';
import type { ControlCalls } from '@ipe/client/protocol';
import { holderOf, layoutOf, lockDirectory } from '../node/directory.ts';
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

  const [{ TokenManager }, { TokenRegistry }, { fileTokenStore }, { tokenHandlers }] = await Promise.all([
    import('../security/manager.ts'),
    import('../security/authenticator.ts'),
    import('../security/store.ts'),
    import('../security/methods.ts'),
  ]);
  const nowSeconds = () => cli.io.now() / 1000;
  const unlock = await lockDirectory(layout);
  try {
    const registry = new TokenRegistry({ nowSeconds, rules: { enforceNamespaces: true } });
    const manager = await TokenManager.open({ store: fileTokenStore(layout.tokens), registry, nowSeconds });
    const caller = { kind: 'admin', tokenId: 'local', name: 'local' } as const;
    const handler = tokenHandlers(manager, nowSeconds)[method]!;
    const result = await handler(params, { caller, signal: AbortSignal.timeout(60_000) });
    manager.close();
    return result as ControlCalls[M]['result'];
  } finally {
    await unlock();
  }
}
