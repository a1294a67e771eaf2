import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { partition, rejoin } from '../network/network.ts';
import { patience } from '../patience.ts';
import type { Member, TestCluster } from './cluster.ts';
import type { Turn } from './scenarios.ts';

const leaseMs = 4_000;

/** A member is cut off and written to for longer than its lease, and is heard again. */
export function evictWhileCutOff(cluster: TestCluster, turn: Turn): Promise<void> {
  return evict(cluster, turn, { until: async () => {}, back: async () => {} });
}

/** A member is cut off and written to, is killed, and comes back when its lease has run out. */
export function evictWhileDown(cluster: TestCluster, turn: Turn): Promise<void> {
  return evict(cluster, turn, { until: (victim) => victim.kill(), back: (victim) => victim.start() });
}

/**
 * Lets the lease of a member run out that has written what nobody else has, and lets it return. What it offers again
 * takes part by itself; what is parked is decided about. The holder of the cluster key, which evicts, is never hit.
 */
async function evict(
  cluster: TestCluster,
  { random, holdMs, workload }: Turn,
  steps: { until(victim: Member): Promise<void>; back(victim: Member): Promise<void> },
): Promise<void> {
  const [holder, ...others] = cluster.members as [Member, ...Member[]];
  const victim = random.pick(others);
  const reach = async (what: string, isSo: () => Promise<boolean>) => {
    for (const end = performance.now() + patience.timeout; !(await isSo().catch(() => false)); await sleep(50)) {
      if (performance.now() < end) continue;
      const log = victim.node?.log().trimEnd().split('\n').slice(-5).join('\n');
      throw new Error(`${victim.name} is not ${what} within ${patience.timeout} ms; it says\n${log}`);
    }
  };
  const stateOf = async (member: Member) => {
    const { members } = await holder.running.control.call('members', {});
    return members.find(({ peer }) => peer === member.address);
  };
  // The lease that counts is the one that the holder of the cluster key goes by.
  await restart(holder, { IPE_CLUSTER__MEMBER_LEASE: `${leaseMs}ms` });
  partition(cluster.network, victim.place, cluster.placesBesides(victim));
  await sleep(holdMs);
  await steps.until(victim);
  await reach('evicted', async () => (await stateOf(victim))?.state === 'evicted');
  // Time for the others to delete, and to forget what they deleted.
  await sleep(holdMs);
  rejoin(cluster.network, victim.place, cluster.placesBesides(victim));
  await steps.back(victim);
  await reach('taken back', async () => (await stateOf(victim))?.state === 'active');
  await reach('done with offering', async () => !existsSync(join(victim.directory, 'return.json')));
  // Of what it offered the dots are new: nobody will have seen the old ones.
  workload.forgetTokens(victim);
  await workload.decideParked(victim);
  await restart(holder);
}

async function restart(member: Member, environment: Readonly<Record<string, string>> = {}): Promise<void> {
  await member.kill();
  await member.start([], environment);
}
