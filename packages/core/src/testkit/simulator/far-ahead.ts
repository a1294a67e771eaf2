import { type Action, clockOffsetMaxMs, type Plan, wholeLog } from './plan.ts';
import { Random } from './random.ts';

/** In how many seeds a clock goes far ahead. */
const share = 0.25;
/** Beyond what clocks differ by otherwise, so that nothing else is held back. */
const boundMinMs = 2 * clockOffsetMaxMs + 1_000;
const boundMaxMs = 20_000;
const aheadMaxMs = 70_000;
/** Faults after which states are fetched. */
const losesRows: ReadonlySet<Action['do']> = new Set(['lie', 'restore', 'rot']);

/**
 * Lets the clock of one member go so far ahead in a share of the plans that the others hold back what it writes, for a
 * while or until the calm. From a generator of its own, so that the rest of a plan stays as it was drawn. None where leases
 * run, which last for seconds here and for days at nodes: they would be over with the jump. Nor where logs are short
 * or disks lose what they had: states of a member that has applied a record bring what their receiver would still hold
 * back (docs/replication.md).
 */
export function drawFarAhead(plan: Plan, endMs: number): Plan {
  const random = new Random(plan.seed ^ 0xfa12);
  const bringsStates = plan.logCommitsMax < wholeLog || plan.actions.some((action) => losesRows.has(action.do));
  if (!random.chance(share) || plan.leaseMs !== undefined || bringsStates) return plan;
  const at = random.int(0, plan.members.length - 1);
  const quarantineAheadMs = random.int(boundMinMs, boundMaxMs);
  const actions: Action[] = [...plan.actions];
  for (let left = random.int(1, 3); left > 0; left--) {
    const atMs = random.int(500, endMs);
    actions.push({ do: 'clock', at, atMs, offsetMs: random.int(quarantineAheadMs, aheadMaxMs) });
    if (random.chance(0.8)) actions.push({ do: 'clock', at, atMs: atMs + random.int(500, 15_000), offsetMs: 0 });
  }
  actions.sort((a, b) => a.atMs - b.atMs);
  return { ...plan, quarantineAheadMs, calmMs: Math.max(plan.calmMs, actions.at(-1)!.atMs), actions };
}
