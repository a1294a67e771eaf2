import { IpeError } from '@ipe/core';
import type { PolicyStore } from '@ipe/core/tree';
import { readParams } from '../api/params.ts';
import { policyWatches, watchedPathBytesMax } from '../policies/watches.ts';

const pathsMax = 1_000;

/**
 * `subscribe` and `unsubscribe` of the evaluation plane: changes of the policies at or below some paths, so that
 * applications can drop decisions they keep.
 */
export function decisionWatches(policies: Pick<PolicyStore, 'current' | 'watch'>, newId: () => string) {
  return policyWatches({
    policies,
    newId,
    pathsOf: (params) =>
      readParams(params, ['paths']).array('paths', pathsMax, (item, where) => {
        if (typeof item === 'string' && item.length <= watchedPathBytesMax) return item;
        throw new IpeError('invalid_params', `\`${where}\` must be a path`, { details: { field: where } });
      }),
    updateOf: ({ path, change, version }, { root }) => ({
      path,
      version: change === 'removed' ? null : version,
      root,
    }),
  });
}
