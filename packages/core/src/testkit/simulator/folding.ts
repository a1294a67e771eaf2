import { type EpochTimes, epochTimes, foldable, headById, isFolded, type Source } from '../../replica/index.ts';
import type { Instance } from './instance.ts';
import { type Action, clockOffsetMaxMs, type Plan } from './plan.ts';
import { Random } from './random.ts';

/** How many seeds fold. */
const share = 0.4;

/** Steps of epochs where they are folded within seconds. */
const stepMs = 4_096;
/**
 * The least age, as long against the steps and the clocks as the hour is that nodes wait: an instance whose clock is behind
 * begins anew under a later epoch than one that it had drawn while its clock was ahead.
 */
const foldAfterMinMs = 2 * clockOffsetMaxMs + 2 * stepMs;
const foldAfterMaxMs = 30_000;
/** How often members start again so that there is something to fold, at most. */
const restartsMax = 8;

/**
 * Lets epochs be folded within seconds in a share of the plans. From a generator of its own, so that the rest of a plan
 * stays as it was drawn. None where two run on copies of one directory: what one of them still writes under would be over
 * for the other. Nor where a clock goes far ahead, which is by more than the age. Nor where a member joins late and disks
 * lie or go back: what was folded it is given as states, which may outlive their records (docs/replication.md).
 */
export function drawFolding(plan: Plan, endMs: number): Plan {
  const random = new Random(plan.seed ^ 0xf01d);
  const isAny = (kinds: RegExp) => plan.actions.some((action) => kinds.test(action.do));
  const givesLost = isAny(/^(lie|restore)$/) && plan.members.some(({ startMs }) => startMs > 0);
  const isExempt = plan.quarantineAheadMs !== undefined || isAny(/^clone$/) || givesLost;
  if (!random.chance(share) || isExempt) return plan;
  const restarts = Array.from({ length: random.int(1, restartsMax) }, (): Action => {
    const at = random.int(0, plan.members.length - 1);
    return { do: 'crash', at, atMs: random.int(500, endMs), forMs: random.int(50, 1_000) };
  });
  const actions = [...plan.actions, ...restarts].sort((a, b) => a.atMs - b.atMs);
  const calmMs = Math.max(plan.calmMs, ...restarts.map(({ atMs }) => atMs + 1_000));
  return { ...plan, foldAfterMs: random.int(foldAfterMinMs, foldAfterMaxMs), actions, calmMs };
}

/** How epochs of a plan tell time. */
export function epochTimesOf({ foldAfterMs }: Plan): EpochTimes {
  return foldAfterMs === undefined ? epochTimes : { stepMs, foldAfterMs };
}

/** Whether what is written under a source counts as known at others, since they have folded it, in a namespace or in any. */
export function isFoldedAt({ id }: Source, others: readonly Instance[], namespace?: string): boolean {
  return others.some(({ replica }) => {
    const names = namespace === undefined ? replica.report().map(({ name }) => name) : [namespace];
    return names.some((name) => isFolded(headById(replica.headsOf(name), id)));
  });
}

/** What is wrong with the vectors of instances at rest: what is over is folded, and everywhere alike. */
export function checkFolded(instances: readonly Instance[]): string[] {
  const problems = new Set<string>();
  for (const { origin, replica, holdings, wallMs } of instances) {
    for (const { name, heads } of replica.report()) {
      const isClosed = (source: Parameters<typeof replica.isClosed>[0]) => replica.isClosed(source, wallMs - settleMs);
      if (foldable(heads, origin, isClosed, () => true) !== undefined)
        problems.add('sources that are over were not folded');
      for (const other of instances)
        if (other.holdings.isOfInterest(name) && holdings.isOfInterest(name) && !isAlike(heads, other, name))
          problems.add('two instances did not fold the same');
    }
  }
  return [...problems];
}

/** Time within which what can be folded is folded everywhere, at rest. */
const settleMs = 6_000;

function isAlike(heads: ReadonlyMap<{ readonly id: string }, number>, other: Instance, namespace: string): boolean {
  const theirs = new Map([...other.replica.headsOf(namespace)].map(([{ id }, seq]) => [id, seq]));
  return [...heads].every(([{ id }, seq]) => theirs.get(id) === seq);
}
