import { type Action, type Plan, wholeLog } from './plan.ts';

/**
 * Takes away from a failing plan whatever it fails without: settings of the network and the plane, members, and actions
 * by delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).
 *
 * @param fails runs a plan; must be true for the one given
 * @param runsMax how often it may be called
 * @returns a plan that fails
 */
export function shrink(plan: Plan, fails: (plan: Plan) => boolean, runsMax = 600): Plan {
  let best = plan;
  let runs = 0;
  const attempt = (candidate: Plan): boolean => {
    if (runs >= runsMax) return false;
    runs++;
    const isWorse = fails(candidate);
    if (isWorse) best = candidate;
    return isWorse;
  };
  for (;;) {
    const before = best;
    for (const simpler of simplerSettings(best)) attempt({ ...best, ...simpler });
    while (best.members.length > 2 && attempt(withoutLastMember(best)));
    shrinkActions(best, attempt);
    if (best === before || runs >= runsMax) return best;
  }
}

function simplerSettings({
  network,
  plane,
  leaseMs,
  foldAfterMs,
  quarantineAheadMs,
  durability,
  logCommitsMax,
  members,
}: Plan): Partial<Plan>[] {
  const simpler: Partial<Plan>[] = [];
  if (network.lossRate > 0) simpler.push({ network: { ...network, lossRate: 0 } });
  if (network.repeatRate > 0) simpler.push({ network: { ...network, repeatRate: 0 } });
  if (network.delayMaxMs > 60) simpler.push({ network: { ...network, delayMaxMs: 60 } });
  if (plane === 'broker') simpler.push({ plane: 'direct' });
  if (plane !== 'none') simpler.push({ plane: 'none' });
  if (leaseMs !== undefined) simpler.push({ leaseMs: undefined });
  if (foldAfterMs !== undefined) simpler.push({ foldAfterMs: undefined });
  if (quarantineAheadMs !== undefined) simpler.push({ quarantineAheadMs: undefined });
  if (durability !== 'fsync') simpler.push({ durability: 'fsync' });
  if (logCommitsMax < wholeLog) simpler.push({ logCommitsMax: wholeLog });
  members.forEach(({ interest }, i) => {
    if (interest === 'all') return;
    simpler.push({ members: members.map((member, j) => (i === j ? { ...member, interest: 'all' } : member)) });
  });
  return simpler;
}

function withoutLastMember(plan: Plan): Plan {
  const members = plan.members.slice(0, -1);
  const isLeft = (action: Action) =>
    !('at' in action && action.at >= members.length) && !(action.do === 'cut' && action.to >= members.length);
  return withActions({ ...plan, members }, plan.actions.filter(isLeft));
}

/** Ever smaller parts of the actions are left out, as long as what remains fails. */
function shrinkActions(plan: Plan, attempt: (plan: Plan) => boolean): void {
  let { actions } = plan;
  for (let size = Math.ceil(actions.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < actions.length; ) {
      const rest = actions.slice(0, from).concat(actions.slice(from + size));
      if (attempt(withActions(plan, rest))) actions = rest;
      else from += size;
    }
  }
}

/** The plan with other actions: calm begins behind the last of them. */
function withActions(plan: Plan, actions: readonly Action[]): Plan {
  const ends = actions.map((action) => action.atMs + ('forMs' in action ? action.forMs : 0));
  const starts = plan.members.map(({ startMs }) => startMs);
  return { ...plan, actions, calmMs: Math.max(1, ...ends, ...starts) + 1 };
}
