import type { Action, Plan } from './plan.ts';
import { Random } from './random.ts';

/** How many seeds evict members. */
const share = 0.4;

/**
 * Adds to a share of the plans members that are away for longer than their lease and come back, that an operator evicts,
 * and that leave for good. From a generator of its own, so that the rest of a plan stays as it was drawn.
 */
export function drawChurn(plan: Plan, endMs: number): Plan {
  const random = new Random(plan.seed ^ 0xe71c);
  if (!random.chance(share)) return plan;
  const leaseMs = random.int(4_000, 12_000);
  const count = plan.members.length;
  // The first member holds the cluster key, without which nobody is evicted.
  const someone = () => random.int(1, count - 1);
  const longMs = () => leaseMs + random.int(1_000, 15_000);
  const actions: Action[] = [...plan.actions];
  for (let left = random.int(1, 4); left > 0; left--) {
    const atMs = random.int(500, endMs);
    const kind = random.next();
    if (kind < 0.45) actions.push({ do: 'away', at: someone(), atMs, forMs: longMs() });
    else if (kind < 0.7) actions.push({ do: 'crash', at: someone(), atMs, forMs: longMs() });
    else if (kind < 0.9) actions.push({ do: 'evict', at: someone(), atMs, forMs: random.int(500, 10_000) });
    else if (count > 2) actions.push({ do: 'leave', at: count - 1, atMs });
  }
  actions.sort((a, b) => a.atMs - b.atMs);
  const calmMs = Math.max(
    plan.calmMs,
    ...actions.map((action) => action.atMs + ('forMs' in action ? action.forMs : 0)),
  );
  return { ...plan, leaseMs, calmMs, actions };
}
