import { type PolicyStore, type Proven, type VerifyProblem, type VerifyReport, verifyProof } from '@ipe/core/tree';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import type { MirrorRegistry } from '../gitops/mirrors.ts';
import { nodePrimitives } from '../repository/primitives.ts';
import { revisionOf } from './lookup.ts';
import type { Upkeep, UpkeepJob } from './upkeep.ts';
import { seconds } from './wire.ts';

/** Content roots and root commits (null: nothing was ever written) of the decisions logged at or after a time in Unix milliseconds. */
export type CitedRootsSince = (sinceMs: number) => readonly { readonly root: string; readonly commit: string | null }[];

export interface UpkeepMethodOptions {
  readonly store: PolicyStore;
  readonly upkeep: Upkeep;
  readonly registry?: MirrorRegistry;
  readonly citedRoots?: CitedRootsSince;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

const dayMs = 86_400_000;

/** The methods that prove, check and clean the policy store. */
export function upkeepMethods({ store, upkeep, registry, citedRoots, clock }: UpkeepMethodOptions) {
  return {
    prove: async (params) => {
      const fields = readParams(params, ['path', 'root']);
      const path = fields.string('path', { maxBytes: 4608 });
      const root = fields.optionalString('root', { maxBytes: 256, empty: false });
      const proof = await store.prove(path, root === undefined ? undefined : await revisionOf(store, registry, root));
      const proven = verifyProof(nodePrimitives, proof, { rootCommit: proof.commit });
      return {
        ...provenJson(proven),
        nodes: proof.nodes.map((node) => Buffer.from(node.buffer, node.byteOffset, node.byteLength).toString('base64')),
      };
    },

    verify: async (params, context) => {
      const fields = readParams(params, ['level']);
      const level = fields.oneOf('level', ['quick', 'connectivity', 'full']) ?? 'full';
      return upkeep.run(
        'verify',
        async (_signal, report) =>
          verifyJson(await store.verify({ level, progress: ({ checked }) => report({ checked }) })),
        context.signal,
      );
    },

    gc: async (params, context) => {
      const fields = readParams(params, ['retention_days', 'dry_run', 'grace_seconds']);
      const days = fields.optionalNumber('retention_days', { min: 0, max: 36_500 });
      if (days === undefined) throw fields.refuse('retention_days', 'is missing; expected a number of days');
      const graceSeconds = fields.optionalNumber('grace_seconds', { min: 0, max: 36_500 * 86_400 });
      const dryRun = fields.boolean('dry_run');
      return upkeep.run(
        'gc',
        (_signal, report) =>
          collect(store, registry, citedRoots, {
            nowMs: clock(),
            retentionMs: days * dayMs,
            dryRun,
            report,
            ...(graceSeconds !== undefined && { graceMs: graceSeconds * 1000 }),
          }),
        context.signal,
      );
    },
  } satisfies Handlers;
}

export interface UpkeepJobOptions extends Omit<UpkeepMethodOptions, 'upkeep'> {
  readonly retentionMs: number;
  /** Absent: by hand only. */
  readonly gcEveryMs?: number;
  readonly scrubEveryMs?: number;
  /** Waits between two slices of a scrub, so that it takes little of the disk. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** The scheduled jobs of a policy store: `gc`, `scrub`, and `verify` by hand. */
export function storeJobs(options: UpkeepJobOptions): UpkeepJob[] {
  const { store, registry, citedRoots, clock, retentionMs } = options;
  return [
    {
      name: 'gc',
      ...(options.gcEveryMs !== undefined && { everyMs: options.gcEveryMs }),
      run: (_signal, report) =>
        collect(store, registry, citedRoots, { nowMs: clock(), retentionMs, dryRun: false, report }),
    },
    {
      name: 'scrub',
      ...(options.scrubEveryMs !== undefined && { everyMs: options.scrubEveryMs }),
      async run(signal, report) {
        let cursor: string | undefined;
        let checked = 0;
        const problems: VerifyProblem[] = [];
        do {
          const slice = await store.scrub(cursor, 500);
          cursor = slice.cursor;
          checked += slice.checkedObjects;
          problems.push(...slice.problems.slice(0, 1000 - problems.length));
          report({ checked, problems: problems.length });
          // Given up, the loop ends by itself.
          if (cursor !== undefined) await options.pause(50, signal).catch(() => {});
        } while (cursor !== undefined && !signal.aborted);
        return { checked_objects: checked, complete: cursor === undefined, problems };
      },
    },
    { name: 'verify', run: async () => verifyJson(await store.verify({ level: 'full' })) },
  ];
}

async function collect(
  store: PolicyStore,
  registry: MirrorRegistry | undefined,
  citedRoots: CitedRootsSince | undefined,
  options: {
    readonly nowMs: number;
    readonly retentionMs: number;
    readonly graceMs?: number;
    readonly dryRun: boolean;
    readonly report: (progress: { phase: string; done: number }) => void;
  },
) {
  const { report, ...rest } = options;
  // What the mirrors last synced is what drift is told against.
  const keep = new Set(registry?.list().flatMap(({ rootCommit }) => (rootCommit === null ? [] : [rootCommit])));
  const cited = citedRoots?.(rest.nowMs - rest.retentionMs) ?? [];
  for (const { root, commit } of cited) keep.add(root).add(commit ?? root);
  const done = await store.collect({
    ...rest,
    keep,
    progress: ({ phase, done: count }) => report({ phase, done: count }),
  });
  return {
    dry_run: done.dryRun,
    retained_commits: done.retainedCommits,
    boundary_commits: done.boundaryCommits,
    cited_roots: cited.length,
    reachable: done.reachable,
    scanned: done.scanned,
    unreachable: done.unreachable,
    condemned: done.condemned,
    cleared: done.cleared,
    waiting: done.waiting,
    deleted: done.deleted,
    deleted_bytes: done.deletedBytes,
  };
}

function verifyJson(report: VerifyReport) {
  return {
    ok: report.problemCount === 0,
    level: report.level,
    root: report.root,
    commit: report.commit,
    checked_objects: report.checkedObjects,
    ...(report.unreachableObjects !== undefined && { unreachable_objects: report.unreachableObjects }),
    problem_count: report.problemCount,
    problems: report.problems,
  };
}

function provenJson(proven: Proven) {
  const { timeMs, ...rest } = proven;
  return { ...rest, time: seconds(timeMs) };
}
