import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@ipe/core/testkit';
import { partition, rejoin } from '../network/network.ts';
import type { TestCluster } from './cluster.ts';
import { evictWhileCutOff, evictWhileDown } from './eviction.ts';
import type { Workload } from './workload.ts';

/** What a scenario is given besides the cluster. */
export interface Turn {
  /** Chooses the victims. */
  readonly random: Random;
  /** How long to hold a fault. */
  readonly holdMs: number;
  /** What writes meanwhile. */
  readonly workload: Workload;
}

/** A fault that a cluster goes through while it is written to: what it breaks it mends before it ends. */
export interface Scenario {
  readonly name: string;
  /** What of a cluster it needs, told in words where that is missing. */
  missing?(cluster: TestCluster): string | undefined;
  run(cluster: TestCluster, turn: Turn): Promise<void>;
}

const needsBroker = ({ broker }: TestCluster) => (broker ? undefined : 'there is no broker');
const needsBrokerPlace = ({ brokerPlace }: TestCluster) =>
  brokerPlace ? undefined : 'there is no broker whose connections can be cut';
/** The mock cluster of Kafka is in memory, and lets nobody delete records. */
const needsBrokerDisk = ({ broker, plane }: TestCluster) =>
  broker && plane !== 'kafka' ? undefined : 'there is no broker with anything on disk';

/** Every fault that real processes go through here, by name. */
export const scenarios: readonly Scenario[] = [
  { name: 'calm', run: (_, { holdMs }) => sleep(holdMs) },
  {
    name: 'partition',
    async run(cluster, { random, holdMs }) {
      const member = random.pick(cluster.members);
      partition(cluster.network, member.place, cluster.placesBesides(member));
      await sleep(holdMs);
      rejoin(cluster.network, member.place, cluster.placesBesides(member));
    },
  },
  {
    name: 'split-in-halves',
    async run({ members, network }, { random, holdMs }) {
      const turn = random.int(0, members.length - 1);
      const order = [...members.slice(turn), ...members.slice(0, turn)].map(({ place }) => place);
      const half = order.slice(0, Math.floor(order.length / 2));
      const rest = order.slice(half.length);
      for (const place of half) partition(network, place, rest);
      await sleep(holdMs);
      for (const place of half) rejoin(network, place, rest);
    },
  },
  {
    name: 'deaf',
    async run(cluster, { random, holdMs }) {
      const { place } = random.pick(cluster.members);
      const others = cluster.members.map((member) => member.place).filter((other) => other !== place);
      for (const other of others) cluster.network.cut(other, place);
      await sleep(holdMs);
      for (const other of others) cluster.network.mend(other, place);
    },
  },
  {
    name: 'mute',
    async run(cluster, { random, holdMs }) {
      const member = random.pick(cluster.members);
      for (const other of cluster.placesBesides(member)) cluster.network.cut(member.place, other);
      await sleep(holdMs);
      for (const other of cluster.placesBesides(member)) cluster.network.mend(member.place, other);
    },
  },
  {
    name: 'kill -9',
    async run({ members }, { random, holdMs }) {
      for (let i = 0; i < 2; i++) {
        const member = random.pick(members);
        await member.kill();
        await sleep(holdMs / 4);
        await member.start();
        await sleep(holdMs / 4);
      }
    },
  },
  {
    name: 'kill -9 of all',
    async run({ members }, { holdMs }) {
      await sleep(holdMs / 2);
      await Promise.all(members.map((member) => member.kill()));
      for (const member of members) await member.start();
      await sleep(holdMs / 2);
    },
  },
  {
    name: 'SIGSTOP',
    async run({ members }, { random, holdMs }) {
      const member = random.pick(members);
      member.pause(true);
      await sleep(holdMs);
      member.pause(false);
    },
  },
  {
    name: 'full disk',
    missing: ({ smallDisk }) => (smallDisk ? undefined : 'this user may not mount a file system'),
    async run({ members, smallDisk }, { holdMs }) {
      const ballast = join(smallDisk!, 'ballast');
      spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=64k'], { stdio: 'ignore' });
      await sleep(holdMs);
      rmSync(ballast);
      // With room again it takes writes by itself.
      const { data } = members.at(-1)!.running;
      while ((await data.put('disk.room', 1).catch(() => undefined)) === undefined) await sleep(50);
    },
  },
  { name: 'eviction while cut off', run: evictWhileCutOff },
  { name: 'eviction while down', run: evictWhileDown },
  {
    name: 'broker cut off',
    missing: needsBrokerPlace,
    async run({ members, network, brokerPlace }, { random, holdMs }) {
      const some = members.filter(() => random.chance(0.6));
      const places = (some.length > 0 ? some : members).map(({ place }) => place);
      partition(network, brokerPlace!, places);
      await sleep(holdMs);
      rejoin(network, brokerPlace!, places);
    },
  },
  {
    name: 'broker SIGSTOP',
    missing: needsBroker,
    async run(cluster, { holdMs }) {
      cluster.pauseBroker(true);
      await sleep(holdMs);
      cluster.pauseBroker(false);
    },
  },
  {
    name: 'broker restarted',
    missing: needsBrokerDisk,
    async run({ broker }, { holdMs }) {
      await broker!.kill();
      await sleep(holdMs);
      await broker!.restart();
    },
  },
  {
    name: 'broker emptied',
    missing: needsBrokerPlace,
    async run({ broker }, { holdMs }) {
      await broker!.kill();
      await sleep(holdMs);
      await broker!.restartEmpty();
    },
  },
  {
    name: 'broker purged',
    missing: needsBrokerDisk,
    async run(cluster, { holdMs }) {
      await sleep(holdMs / 2);
      await cluster.purgeBroker();
      await sleep(holdMs / 2);
    },
  },
  {
    name: 'broker killed for good',
    missing: needsBroker,
    async run({ broker }, { holdMs }) {
      await broker!.kill();
      await sleep(holdMs);
    },
  },
];
