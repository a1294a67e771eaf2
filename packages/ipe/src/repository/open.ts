import { setImmediate } from 'node:timers/promises';
import type { Kv } from '@ipe/core/store';
import { openPolicyStore, type PolicyFamily, type PolicyStore } from '@ipe/core/tree';
import { nodePrimitives, zlibCodec } from './primitives.ts';

/** Sizes of a policy store's memory tiers. */
export interface PolicyRepositoryOptions {
  /** Policy files kept in memory; default 10 MB. 0 reads everything from disk. */
  readonly cacheBytes?: number;
  /** How long an unused one is kept; default 5 minutes. */
  readonly cacheAgeMs?: number;
}

/**
 * Opens the policy store that lives in `kv` (opened with `policyFamilies`), on Node's hashing, compression and clock.
 *
 * @example
 * const kv = await openRocksKv({ directory: join(dir, 'policies'), families: policyFamilies });
 * const store = await openPolicyRepository(kv);
 */
export function openPolicyRepository(
  kv: Kv<PolicyFamily>,
  options: PolicyRepositoryOptions = {},
): Promise<PolicyStore> {
  return openPolicyStore({
    kv,
    primitives: nodePrimitives,
    codec: zlibCodec,
    now: () => performance.now(),
    breathe: () => setImmediate(),
    ...options,
  });
}
