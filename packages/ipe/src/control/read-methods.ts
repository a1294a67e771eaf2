import type { PolicyFiles, PolicySnapshot, PolicyStore } from '@ipe/core/tree';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import type { MirrorRegistry } from '../gitops/mirrors.ts';
import { noPolicy, revisionOf, snapshotAt } from './lookup.ts';
import { commitJson, cursorJson, diffJson, nodeJson, policyJson, refJson, versionJson } from './wire.ts';

export interface ReadMethodOptions {
  readonly store: PolicyStore;
  readonly registry?: MirrorRegistry;
}

const pathLimits = { maxBytes: 4608 } as const;
const revisionLimits = { maxBytes: 256, empty: false } as const;
const cursorLimits = { maxBytes: 8192, empty: false } as const;
const pageLimits = { min: 1, max: 10_000 } as const;

/** The methods of the control plane that change nothing. */
export function readMethods({ store, registry }: ReadMethodOptions) {
  const at = (revision: string | undefined): Promise<PolicySnapshot> => snapshotAt(store, registry, revision);

  return {
    'get-policy': async (params) => {
      const fields = readParams(params, ['path', 'root', 'source']);
      const path = fields.string('path', { ...pathLimits, empty: false });
      const wantsSource = fields.boolean('source');
      const snapshot = await at(fields.optionalString('root', revisionLimits));
      const node = await snapshot.lookup(path);
      if (node?.kind !== 'policy') throw await noPolicy(snapshot, path);
      const base = {
        ...policyJson(node),
        kind: 'policy',
        root: snapshot.root,
        commit: snapshot.commit,
        tested: node.test !== null,
      };
      if (!wantsSource) return base;
      const stored = await snapshot.readPolicy(path);
      if (stored === undefined) throw await noPolicy(snapshot, path);
      const changed = await snapshot.lastChange(path);
      return {
        ...base,
        ...filesJson(stored.files),
        ...(changed !== undefined && { last_change: commitJson(changed) }),
      };
    },

    'list-policies': async (params) => {
      const fields = readParams(params, ['prefix', 'limit', 'cursor', 'root']);
      const prefix = fields.optionalString('prefix', pathLimits);
      const page = pageOf(fields);
      const snapshot = await at(fields.optionalString('root', revisionLimits));
      const listed = await snapshot.listPolicies({ ...page, ...(prefix !== undefined && { prefix }) });
      return {
        policies: listed.items.map(policyJson),
        ...cursorJson(listed),
        root: snapshot.root,
        commit: snapshot.commit,
      };
    },

    'list-children': async (params) => {
      const fields = readParams(params, ['path', 'limit', 'cursor', 'root']);
      const path = fields.optionalString('path', pathLimits) ?? '';
      const page = pageOf(fields);
      const snapshot = await at(fields.optionalString('root', revisionLimits));
      const listed = await snapshot.listChildren(path, page);
      const children = listed.items.map((child) => ({ name: child.name, ...nodeJson(child) }));
      return { children, ...cursorJson(listed), root: snapshot.root, commit: snapshot.commit };
    },

    'get-subtree': async (params) => {
      const fields = readParams(params, ['path', 'depth', 'order', 'limit', 'cursor', 'root']);
      const path = fields.optionalString('path', pathLimits) ?? '';
      const depth = fields.optionalInteger('depth', { min: 0, max: 1000 });
      const order = fields.oneOf('order', ['dfs', 'bfs']);
      const page = pageOf(fields);
      const snapshot = await at(fields.optionalString('root', revisionLimits));
      const listed = await snapshot.getSubtree(path, {
        ...page,
        ...(depth !== undefined && { depth }),
        ...(order !== undefined && { order }),
      });
      const nodes = listed.items.map((node) => ({ depth: node.depth, ...nodeJson(node) }));
      return { nodes, ...cursorJson(listed), root: snapshot.root, commit: snapshot.commit };
    },

    history: async (params) => {
      const fields = readParams(params, ['path', 'limit', 'cursor', 'ref']);
      const path = fields.string('path', { ...pathLimits, empty: false });
      const ref = fields.optionalString('ref', revisionLimits);
      const listed = await store.history(path, { ...pageOf(fields), ...(ref !== undefined && { ref }) });
      if (listed.items.length === 0) throw await noPolicy(store.current(), path);
      return { path, versions: listed.items.map(versionJson), ...cursorJson(listed) };
    },

    log: async (params) => {
      const fields = readParams(params, ['path', 'ref', 'limit', 'cursor']);
      const path = fields.optionalString('path', pathLimits);
      const ref = fields.optionalString('ref', revisionLimits);
      const listed = await store.log({
        ...pageOf(fields),
        ...(path !== undefined && { path }),
        ...(ref !== undefined && { ref }),
      });
      return { commits: listed.items.map(commitJson), ...cursorJson(listed) };
    },

    diff: async (params) => {
      const fields = readParams(params, ['from', 'to', 'patches', 'prefix']);
      const from = fields.string('from', revisionLimits);
      const to = fields.optionalString('to', revisionLimits) ?? 'main';
      const prefix = fields.optionalString('prefix', pathLimits);
      const patches = fields.boolean('patches');
      const [before, after] = [await revisionOf(store, registry, from), await revisionOf(store, registry, to)];
      const [fromAt, toAt] = [await store.resolve(before), await store.resolve(after)];
      const entries = await store.diff(before, after, { patches, ...(prefix !== undefined && { prefix }) });
      return {
        from: { root: fromAt.root, commit: fromAt.commit },
        to: { root: toAt.root, commit: toAt.commit },
        ...diffJson(entries),
      };
    },

    refs: (params) => {
      readParams(params, []);
      return { refs: store.refs().map(refJson) };
    },
  } satisfies Handlers;
}

function pageOf(fields: ReturnType<typeof readParams>): { limit?: number; cursor?: string } {
  const limit = fields.optionalInteger('limit', pageLimits);
  const cursor = fields.optionalString('cursor', cursorLimits);
  return { ...(limit !== undefined && { limit }), ...(cursor !== undefined && { cursor }) };
}

/** Source and tests as text, program and manifest as the JSON they are. */
function filesJson(files: PolicyFiles) {
  const decoder = new TextDecoder();
  return {
    source: decoder.decode(files.source),
    test: files.test === undefined ? null : decoder.decode(files.test),
    compiled: JSON.parse(decoder.decode(files.program)) as unknown,
    manifest: JSON.parse(decoder.decode(files.manifest)) as unknown,
  };
}
