import { loadIdentity } from '../cluster/identity.ts';
import type { Config } from '../config/index.ts';
import { TokenRegistry } from '../security/authenticator.ts';
import { TokenManager } from '../security/manager.ts';
import { tokenHandlers } from '../security/methods.ts';
import { fileTokenStore } from '../security/store.ts';
import { createLogger } from '../telemetry/logger.ts';
import { layoutOf, lockDirectory, makeFolders } from './directory.ts';
import { openFactEngine } from './fact-engine.ts';
import { factTokenStore } from './fact-tokens.ts';

/**
 * Calls a token method on the directory of a stopped node: takes its lock, opens its facts, does it, closes.
 * @throws IpeError `unavailable` while a node has the directory open; else as the method does.
 */
export async function callStoppedTokens(options: {
  readonly directory: string;
  readonly config: Config;
  readonly method: 'token-create' | 'token-list' | 'token-revoke';
  readonly params: unknown;
  /** Unix milliseconds. */
  readonly now: () => number;
}): Promise<unknown> {
  const { config, now, method, params } = options;
  const nowSeconds = () => now() / 1000;
  const dataPlane = config.predicate_service.data_plane;
  const layout = layoutOf(options.directory, { data: dataPlane.data_path });
  await makeFolders(layout);
  const unlock = await lockDirectory(layout);
  try {
    const isMemory = dataPlane.backend === 'memory';
    const { origin, id } = await loadIdentity(layout.keys, { nowMs: now() });
    const log = createLogger({ level: 'silent', format: 'json' });
    const opened = isMemory ? undefined : await openFactEngine({ config, layout, origin, holder: id, log });
    const engine = opened?.engine;
    try {
      const store = engine === undefined ? fileTokenStore(layout.tokens) : factTokenStore(engine);
      const registry = new TokenRegistry({ nowSeconds, rules: { enforceNamespaces: true } });
      const manager = await TokenManager.open({ store, registry, nowSeconds });
      const caller = { kind: 'admin', tokenId: 'local', name: 'local' } as const;
      const handlers = tokenHandlers(() => manager, nowSeconds);
      const result = await handlers[method]!(params, { caller, signal: new AbortController().signal });
      manager.close();
      return result;
    } finally {
      await engine?.close();
    }
  } finally {
    await unlock();
  }
}
