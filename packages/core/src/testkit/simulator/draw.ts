import { drawRot } from './bit-rot.ts';
import { drawChurn } from './churn.ts';
import { drawFarAhead } from './far-ahead.ts';
import { drawFolding } from './folding.ts';
import { drawFollowers } from './followers.ts';
import { type Action, type BrokerFault, clockOffsetMaxMs, type MemberPlan, type Plan, wholeLog } from './plan.ts';
import { Random } from './random.ts';
import { type Workload, workloads } from './workloads.ts';

/** The least time between the end of a fault and that of the turmoil. */
const turmoilMinMs = 20_000;
const turmoilMaxMs = 60_000;

/**
 * What a seed does. Swarm testing: each seed draws few kinds of faults and of writes, and so goes deeper into each than
 * one that tries all at once.
 */
export function drawPlan(seed: number): Plan {
  const random = new Random(seed);
  const count = random.int(2, 4);
  const endMs = random.int(turmoilMinMs, turmoilMaxMs);
  const offered = random.chance(0.15) ? workloads.filter(({ forgets }) => !forgets) : workloads;
  const chosen = offered.filter(() => random.chance(0.5));
  const used = chosen.length > 0 ? chosen : [random.pick(offered)];
  const members = drawMembers(random, count, endMs, used);
  const plane = random.pick(['none', 'direct', 'direct', 'broker', 'broker'] as const);
  const actions = [
    ...drawClients(random, members, endMs, used),
    ...drawFaults(random, count, endMs, plane === 'broker'),
  ];
  // Two that run as one member speak for each other, so nothing can be known to be held by both: no purge is safe then.
  const isLasting = used.every(({ forgets }) => !forgets) && members.every(({ interest }) => interest === 'all');
  const hasClone = isLasting && random.chance(0.5);
  if (hasClone) actions.push({ do: 'clone', at: random.int(0, count - 1), atMs: random.int(1_000, endMs) });
  const rot = drawRot(seed, members, endMs, actions);
  actions.push(...rot);
  // Sorting is stable: what is drawn first comes first.
  actions.sort((a, b) => a.atMs - b.atMs);
  // Old copies and disks that lie have limits of their own where logs are short: see docs/replication.md.
  const isRolledBack = actions.some((action) => action.do === 'restore' || action.do === 'lie');
  // What a damaged row held is mended from elsewhere, where its record must have come by the log.
  const isRotten = rot.length > 0;
  const calmMs = Math.max(endMs, ...actions.map((action) => action.atMs + ('forMs' in action ? action.forMs : 0)));
  const plan: Plan = {
    seed,
    members,
    network: {
      lossRate: random.chance(0.6) ? random.next() * 0.4 : 0,
      repeatRate: random.chance(0.4) ? 0.2 : 0,
      delayMaxMs: random.chance(0.4) ? 4_000 : 60,
    },
    plane,
    durability: random.chance(0.8) ? 'fsync' : 'wal',
    logCommitsMax: isRolledBack || isRotten ? wholeLog : random.pick([60, 200, wholeLog]),
    sliceBytes: random.pick([200, 2_000, 100_000]),
    calmMs,
    actions,
  };
  return drawFolding(
    drawFarAhead(
      drawFollowers(isRolledBack || hasClone || rot.length > 0 ? plan : drawChurn(plan, endMs), endMs),
      endMs,
    ),
    endMs,
  );
}

function drawMembers(random: Random, count: number, endMs: number, used: readonly Workload[]): MemberPlan[] {
  const isLate = random.chance(0.4);
  const isFiltered = random.chance(0.2);
  return Array.from({ length: count }, (_, i): MemberPlan => {
    const isLast = i === count - 1;
    return {
      startMs: isLast && isLate ? random.int(1_000, endMs) : 0,
      interest: isLast && isFiltered ? used.filter(() => random.chance(0.5)).map(({ namespace }) => namespace) : 'all',
    };
  });
}

function drawClients(
  random: Random,
  members: readonly MemberPlan[],
  endMs: number,
  used: readonly Workload[],
): Action[] {
  const actions: Action[] = [];
  const pauseMaxMs = random.pick([40, 120, 400]);
  const writesMax = 500;
  let serial = 0;
  for (let atMs = 0; atMs < endMs && actions.length < writesMax; atMs += random.int(1, pauseMaxMs)) {
    const at = random.int(0, members.length - 1);
    const { interest } = members[at]!;
    const { namespace, writes, reads } = random.pick(used);
    if (interest !== 'all' && !interest.includes(namespace)) continue;
    if (random.chance(0.2)) actions.push({ atMs, do: 'read', at, keys: reads(random) });
    else {
      actions.push({ atMs, do: 'write', at, writes: writes(random, ++serial) });
      // Two instances, the same millisecond, the same keys: the hardest tie.
      const other = random.int(0, members.length - 1);
      if (random.chance(0.1) && members[other]!.interest === 'all')
        actions.push({ atMs, do: 'write', at: other, writes: writes(random, ++serial) });
    }
  }
  return actions;
}

type Drawer = (random: Random, count: number) => readonly Undated[];
/** An action without its time. */
type Undated = Action extends infer Each ? (Each extends Action ? Omit<Each, 'atMs'> : never) : never;

function drawFaults(random: Random, count: number, endMs: number, hasBroker: boolean): Action[] {
  const drawers = Object.entries(faults)
    .filter(([name]) => name !== 'broker' || hasBroker)
    .filter(() => random.chance(0.4))
    .map(([, drawer]) => drawer);
  const actions: Action[] = [];
  if (drawers.length === 0) return actions;
  for (let atMs = random.int(200, 3_000); atMs < endMs; atMs += random.int(200, 4_000)) {
    for (const action of random.pick(drawers)(random, count)) actions.push({ ...action, atMs } as Action);
  }
  return actions;
}

const faults: Readonly<Record<string, Drawer>> = {
  crash: (random, count) => [{ do: 'crash', at: random.int(0, count - 1), forMs: random.int(100, 8_000) }],
  fill: (random, count) => [{ do: 'fill', at: random.int(0, count - 1), forMs: random.int(100, 3_000) }],
  lie: (random, count) =>
    random.chance(0.3) ? [{ do: 'lie', at: random.int(0, count - 1), forMs: random.int(200, 5_000) }] : [],
  copies: (random, count) => [{ do: random.chance(0.5) ? 'copy' : 'restore', at: random.int(0, count - 1) }],
  clocks: (random, count) => [
    { do: 'clock', at: random.int(0, count - 1), offsetMs: random.int(-clockOffsetMaxMs, clockOffsetMaxMs) },
  ],
  cuts: (random, count) => {
    const at = random.int(0, count - 1);
    const to = random.int(0, count - 1);
    const forMs = random.int(500, 15_000);
    const oneWay: Undated = { do: 'cut', at, to, forMs };
    return random.chance(0.3) ? [oneWay] : [oneWay, { do: 'cut', at: to, to: at, forMs }];
  },
  /** Ways that come and go faster than heartbeats notice. */
  flaps: (random, count) => [
    { do: 'cut', at: random.int(0, count - 1), to: random.int(0, count - 1), forMs: random.int(50, 600) },
    { do: 'cut', at: random.int(0, count - 1), to: random.int(0, count - 1), forMs: random.int(50, 600) },
  ],
  broker: (random) => [
    { do: 'broker', what: random.pick<BrokerFault>(['down', 'lie', 'purge', 'reset']), forMs: random.int(100, 6_000) },
  ],
};
