import type { PolicyStore } from '@ipe/core/tree';
import { readParams } from '../api/params.ts';
import { policyWatches, watchedPathBytesMax } from '../policies/watches.ts';

/** What a subscriber is told: `version` is null where the policy was removed. */
export interface PolicyUpdated {
  readonly path: string;
  readonly change: 'added' | 'changed' | 'removed';
  readonly version: string | null;
  readonly root: string;
  readonly commit: string;
}

/** `subscribe` and `unsubscribe` of the control plane: changes of the policies at or below a prefix. */
export function policySubscriptions(policies: PolicyStore, newId: () => string) {
  return policyWatches<PolicyUpdated>({
    policies,
    newId,
    pathsOf: (params) => [
      readParams(params, ['prefix']).optionalString('prefix', { maxBytes: watchedPathBytesMax }) ?? '',
    ],
    updateOf: ({ path, change, version }, { root, commit }) => ({
      path,
      change,
      version: change === 'removed' ? null : version,
      root,
      commit,
    }),
  });
}
