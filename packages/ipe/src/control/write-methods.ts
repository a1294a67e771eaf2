import { setImmediate } from 'node:timers/promises';
import { type CommitMeta, type PolicyStore, policySegments } from '@ipe/core/tree';
import type { CallContext, Handlers } from '../api/method.ts';
import { type Params, readParams } from '../api/params.ts';
import type { MirrorRegistry } from '../gitops/mirrors.ts';
import { refuseMirrored } from '../gitops/ownership.ts';
import { faultsOf, problemJson, testJson, warningsOf } from '../policies/report.ts';
import { revisionOf } from './lookup.ts';
import { refJson, updateJson } from './wire.ts';
import { authorOf, type PolicyWriter, type RequestedChange } from './writer.ts';

export interface WriteMethodOptions {
  readonly store: PolicyStore;
  readonly writer: PolicyWriter;
  readonly registry?: MirrorRegistry;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

/** Most changes in one request, and bytes of one document. */
export const writeLimits = { changesMax: 50_000, documentMaxBytes: 1024 * 1024, messageMaxBytes: 65_536 } as const;

const pathLimits = { maxBytes: 4608, empty: false } as const;
const revisionLimits = { maxBytes: 256, empty: false } as const;
const documentLimits = { maxBytes: writeLimits.documentMaxBytes } as const;

/** The methods of the control plane that write policies, refs and pins. */
export function writeMethods({ store, writer, registry, clock }: WriteMethodOptions) {
  const meta = (fields: Params, context: CallContext): CommitMeta => {
    const message = fields.optionalString('message', { maxBytes: writeLimits.messageMaxBytes });
    return { author: authorOf(context.caller), timeMs: clock(), ...(message !== undefined && { message }) };
  };

  const write = async (fields: Params, context: CallContext, changes: readonly RequestedChange[], dryRun = false) => {
    const ref = fields.optionalString('ref', revisionLimits);
    const expectedRoot = fields.optionalString('expected_root', revisionLimits);
    const message = fields.optionalString('message', { maxBytes: writeLimits.messageMaxBytes });
    const force = fields.boolean('force');
    return writer.write({
      changes,
      force,
      dryRun,
      caller: context.caller,
      signal: context.signal,
      ...(ref !== undefined && { ref }),
      ...(expectedRoot !== undefined && { expectedRoot }),
      ...(message !== undefined && { message }),
    });
  };

  /** The version that `path` is at after a write, also where the write changed nothing. */
  const versionAfter = async (path: string, ref: string): Promise<string | undefined> => {
    const node = await (ref === 'main' ? store.current() : await store.at(ref)).lookup(path);
    return node?.kind === 'policy' ? node.version : undefined;
  };

  return {
    'put-policy': async (params, context) => {
      const fields = readParams(params, [
        'path',
        'source',
        'test',
        'expected_root',
        'expected_version',
        'message',
        'ref',
        'force',
      ]);
      const change = readPut(fields);
      const { update, warnings } = await write(fields, context, [change]);
      const made = update.changed.find(({ path }) => path === change.path);
      const version = made?.version ?? (await versionAfter(change.path, update.ref));
      return {
        path: change.path,
        version,
        root: update.root,
        commit: update.commit,
        changed: made !== undefined,
        warnings: warnings.map(problemJson),
      };
    },

    'delete-policy': async (params, context) => {
      const fields = readParams(params, ['path', 'expected_root', 'expected_version', 'message', 'ref', 'force']);
      const change = { path: policyPath(fields), delete: true, ...expectedVersion(fields) } as const;
      const { update } = await write(fields, context, [change]);
      return { path: change.path, root: update.root, commit: update.commit };
    },

    apply: async (params, context) => {
      const fields = readParams(params, ['changes', 'expected_root', 'message', 'ref', 'dry_run', 'force']);
      const changes = await readChanges(fields);
      const dryRun = fields.boolean('dry_run');
      const { update, warnings, compiled, dependents } = await write(fields, context, changes, dryRun);
      return {
        ...updateJson(update),
        dry_run: dryRun,
        tests: compiled.reduce((sum, policy) => sum + policy.tests.length, dependents.length),
        warnings: warnings.map(problemJson),
      };
    },

    check: async (params, context) => {
      const fields = readParams(params, ['changes', 'ref']);
      const changes = await readChanges(fields);
      const ref = fields.optionalString('ref', revisionLimits);
      const report = await writer.check(changes, { ...(ref !== undefined && { ref }), signal: context.signal });
      const { problems, failedTests } = faultsOf(report.compiled);
      const tests = report.compiled.flatMap((policy) => policy.tests);
      const refused = report.refused;
      return {
        ok: problems.length === 0 && failedTests.length === 0 && refused === null,
        policies: report.compiled.length,
        problems: problems.map(problemJson),
        warnings: warningsOf(report.compiled).map(problemJson),
        tests: {
          passed: tests.length - failedTests.length,
          failed: failedTests.length,
          results: tests.map(testJson),
        },
        // What the tree itself would say: a name that is policy and directory, a version that moved on, a mirror's path.
        refused: refused && { reason: refused.reason, message: refused.message, ...refused.details },
      };
    },

    restore: async (params, context) => {
      const fields = readParams(params, ['root', 'message', 'ref', 'expected_root']);
      const revision = await revisionOf(store, registry, fields.string('root', revisionLimits));
      const ref = fields.optionalString('ref', revisionLimits);
      const expectedRoot = fields.optionalString('expected_root', revisionLimits);
      const request = {
        ...meta(fields, context),
        revision,
        ...(ref !== undefined && { ref }),
        ...(expectedRoot !== undefined && { expectedRoot }),
      };
      const { update, tests } = await writer.move({
        revision,
        ...(ref !== undefined && { ref }),
        signal: context.signal,
        move: () => store.restore(request),
      });
      // An emergency must not be stopped by a mirror; but it must be said that the mirror will undo it.
      const mirrored = new Set<string>();
      if (update.ref === 'main')
        for (const { path } of update.changed) {
          const owner = registry?.ownerOf(path);
          if (owner !== undefined) mirrored.add(owner.repository);
        }
      const warnings = [...mirrored].map(
        (repository) => `the next sync of \`${repository}\` puts its state back; use \`rollback-to-commit\` to hold it`,
      );
      return { ...updateJson(update), tests: tests.length, warnings };
    },

    promote: async (params, context) => {
      const fields = readParams(params, ['from', 'to', 'message', 'expected_root', 'force']);
      const from = fields.string('from', revisionLimits);
      const to = fields.optionalString('to', revisionLimits) ?? 'main';
      const force = fields.boolean('force');
      const expectedRoot = fields.optionalString('expected_root', revisionLimits);
      if (to === 'main' && registry !== undefined && !force) {
        const entries = await store.diff('main', from);
        refuseMirrored(
          registry,
          entries.map(({ path }) => path),
        );
      }
      const request = {
        ...meta(fields, context),
        from,
        to,
        force,
        ...(expectedRoot !== undefined && { expectedRoot }),
      };
      const { update, tests } = await writer.move({
        revision: from,
        ref: to,
        signal: context.signal,
        move: () => store.promote(request),
      });
      return { ...updateJson(update), tests: tests.length };
    },

    pin: async (params) => {
      const fields = readParams(params, ['name', 'root']);
      const name = fields.string('name', { maxBytes: 64, empty: false });
      const root = fields.optionalString('root', revisionLimits) ?? 'main';
      return refJson(await store.pin(name, await revisionOf(store, registry, root)));
    },

    unpin: async (params) => {
      const fields = readParams(params, ['name']);
      const name = fields.string('name', { maxBytes: 64, empty: false });
      await store.unpin(name);
      return { name };
    },
  } satisfies Handlers;
}

/** Checked before anything is compiled for it. */
function policyPath(fields: Params): string {
  const path = fields.string('path', pathLimits);
  policySegments(path);
  return path;
}

function readPut(fields: Params): RequestedChange {
  const test = fields.optionalString('test', documentLimits);
  return {
    path: policyPath(fields),
    source: fields.string('source', documentLimits),
    ...(test !== undefined && { test }),
    ...expectedVersion(fields),
  };
}

/** `null` has a meaning here: the path must hold no policy. */
function expectedVersion(fields: Params): { expectedVersion?: string | null } {
  if (!fields.has('expected_version')) return {};
  if (fields.raw('expected_version') === null) return { expectedVersion: null };
  return { expectedVersion: fields.string('expected_version', revisionLimits) };
}

/** Ten thousand changes take tens of milliseconds to look through: other work goes on in between. */
async function readChanges(fields: Params): Promise<RequestedChange[]> {
  const items = fields.array('changes', writeLimits.changesMax, (item, where) => ({ item, where }));
  const changes: RequestedChange[] = [];
  for (const { item, where } of items) {
    if (changes.length % 512 === 511) await setImmediate();
    changes.push(readChange(item, where));
  }
  return changes;
}

function readChange(item: unknown, where: string): RequestedChange {
  const change = readParams(item, ['path', 'source', 'test', 'delete', 'expected_version'], where);
  if (!change.boolean('delete')) return readPut(change);
  for (const name of ['source', 'test'])
    if (change.has(name)) throw change.refuse(name, 'does not go together with `delete`');
  return { path: policyPath(change), delete: true, ...expectedVersion(change) };
}
