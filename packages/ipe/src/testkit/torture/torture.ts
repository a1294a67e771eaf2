import { setTimeout as sleep } from 'node:timers/promises';
import { checkCounters, checkHistory, Random, type Shown } from '@ipe/core/testkit';
import type { TestCluster } from './cluster.ts';
import { type Scenario, scenarios } from './scenarios.ts';
import { Subscriber } from './subscriber.ts';
import { Workload } from './workload.ts';

/** What came of one scenario. */
export interface TortureRow {
  readonly scenario: string;
  /** Why it was not run, where it was not. */
  readonly skipped?: string;
  readonly acknowledged: number;
  /** Writes of which nobody knows whether they stand: their connection broke. */
  readonly unknown: number;
  /** Writes of a returned member that an operator had to decide about. */
  readonly parked: number;
  /**
   * Acknowledged writes that some instance does not show, nor anything later; what was deleted and is back; and counters
   * that show less than was added.
   */
  readonly lost: number;
  /** From the moment when all was mended and nobody wrote any more until every instance had seen every acknowledged write. */
  readonly convergedMs: number;
  readonly problems: readonly string[];
}

export interface TortureOptions {
  readonly seed: number;
  /** How long a fault is held. */
  readonly holdMs: number;
  /** Names; default: all that fit the cluster. */
  readonly only?: readonly string[];
  readonly convergeTimeoutMs?: number;
  readonly onRow?: (row: TortureRow) => void;
}

/**
 * Writes to a cluster through one fault after the other, and after each one checks everything that was ever written:
 * the same checks as the simulator's. Chance (victims, writes) comes from the seed; the times of real processes do not.
 */
export async function torture(cluster: TestCluster, options: TortureOptions): Promise<TortureRow[]> {
  const random = new Random(options.seed);
  const workload = new Workload(cluster.members, random);
  const subscribers = cluster.members.map((member) => new Subscriber(member, 'shared.*'));
  const rows: TortureRow[] = [];
  try {
    for (const scenario of scenarios) {
      if (options.only && !options.only.includes(scenario.name)) continue;
      const skipped = scenario.missing?.(cluster);
      const none = { acknowledged: 0, unknown: 0, parked: 0, lost: 0, convergedMs: 0, problems: [] };
      const row =
        skipped === undefined
          ? await runScenario(scenario, { cluster, workload, subscribers, random, options })
          : { scenario: scenario.name, skipped, ...none };
      rows.push(row);
      options.onRow?.(row);
    }
  } finally {
    await Promise.all(subscribers.map((subscriber) => subscriber.stop()));
  }
  return rows;
}

interface Run {
  readonly cluster: TestCluster;
  readonly workload: Workload;
  readonly subscribers: readonly Subscriber[];
  readonly random: Random;
  readonly options: TortureOptions;
}

async function runScenario(scenario: Scenario, run: Run): Promise<TortureRow> {
  const { cluster, workload, subscribers, random, options } = run;
  const before = { acknowledged: workload.acknowledged, unknown: workload.unknown, parked: workload.parked };
  workload.start();
  await sleep(options.holdMs / 4);
  const problems: string[] = [];
  await scenario.run(cluster, { random, holdMs: options.holdMs, workload }).catch((error: Error) => {
    problems.push(`the scenario did not come to its end: ${error.message}`);
  });
  await workload.stop();
  const mended = performance.now();
  const timeoutMs = options.convergeTimeoutMs ?? 20_000;
  await workload.untilSeen(timeoutMs).catch((error: Error) => problems.push(error.message));
  const convergedMs = performance.now() - mended;
  problems.push(...(await checkAll(run, timeoutMs)));
  problems.push(...workload.problems.splice(0), ...subscribers.flatMap((each) => each.problems.splice(0)));
  return {
    scenario: scenario.name,
    acknowledged: workload.acknowledged - before.acknowledged,
    unknown: workload.unknown - before.unknown,
    parked: workload.parked - before.parked,
    lost: problems.filter((problem) => / is lost|is back|that were acknowledged/.test(problem)).length,
    convergedMs,
    problems: [...new Set(problems)],
  };
}

/** Checks again until all holds or the time is over: a write whose connection broke may come to be after all others. */
async function checkAll(run: Run, timeoutMs: number): Promise<string[]> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const problems = await checkOnce(run);
    if (problems.length === 0 || performance.now() > deadlineMs) return problems;
    await sleep(100);
  }
}

async function checkOnce({ cluster, workload, subscribers }: Run): Promise<string[]> {
  const facts = new Map<string, Map<string, Shown>>();
  const counts = new Map<string, Map<string, Shown>>();
  for (const member of cluster.members) {
    const view = await workload.view(member).catch((error: Error) => error);
    if (view instanceof Error) return [`${member.name} cannot be read: ${view.message}`];
    facts.set(member.name, view.facts);
    counts.set(member.name, view.counts);
  }
  const problems = [...checkHistory(workload.writes, facts), ...checkCounters(workload.adds, counts)];
  for (const { member, copy } of subscribers) {
    const held = new Map([...facts.get(member.name)!].filter(([key]) => key.startsWith('shared.')));
    for (const key of new Set([...held.keys(), ...copy.keys()])) {
      if (held.get(key)?.value === copy.get(key)) continue;
      problems.push(`a subscriber of ${member.name} holds ${key} = ${copy.get(key)}, not ${held.get(key)?.value}`);
    }
  }
  return problems;
}
