import type { PolicyStore } from '@ipe/core/tree';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { noPolicy } from '../control/lookup.ts';
import { cursorJson, policyJson } from '../control/wire.ts';

/** `list-policies` and `get-policy` as applications see them: what the current root has, nothing to change. */
export function policyMethods(policies: Pick<PolicyStore, 'current'>) {
  return {
    'list-policies': async (params) => {
      const fields = readParams(params, ['prefix', 'limit', 'cursor']);
      const prefix = fields.optionalString('prefix', { maxBytes: 4608 });
      const limit = fields.optionalInteger('limit', { min: 1, max: 10_000 });
      const cursor = fields.optionalString('cursor', { maxBytes: 8192, empty: false });
      const snapshot = policies.current();
      const page = await snapshot.listPolicies({
        ...(prefix === undefined ? {} : { prefix }),
        ...(limit === undefined ? {} : { limit }),
        ...(cursor === undefined ? {} : { cursor }),
      });
      return {
        policies: page.items.map(policyJson),
        ...cursorJson(page),
        root: snapshot.root,
        commit: snapshot.commit,
      };
    },

    'get-policy': async (params) => {
      const fields = readParams(params, ['path', 'source']);
      const path = fields.string('path', { maxBytes: 4608, empty: false });
      const withSource = fields.boolean('source');
      const snapshot = policies.current();
      const node = await snapshot.lookup(path);
      if (node?.kind !== 'policy') throw await noPolicy(snapshot, path);
      const base = { ...policyJson(node), kind: 'policy', root: snapshot.root, commit: snapshot.commit };
      const stored = withSource ? await snapshot.readPolicy(path) : undefined;
      return stored === undefined ? base : { ...base, source: new TextDecoder().decode(stored.files.source) };
    },
  } satisfies Handlers;
}
