import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missingBroker } from '../src/testkit/brokers.ts';
import { type ClusterPlane, TestCluster, torture } from '../src/testkit/torture/index.ts';

/** A short part of what `scripts/torture.mjs` runs: each plane with the faults that are its own. */
const runs: readonly { plane: ClusterPlane; broker?: 'nats' | 'redis'; only: readonly string[] }[] = [
  { plane: 'nats', broker: 'nats', only: ['mute', 'kill -9', 'broker emptied'] },
  { plane: 'redis', broker: 'redis', only: ['broker cut off', 'broker purged'] },
  { plane: 'hybrid', broker: 'nats', only: ['broker restarted'] },
  { plane: 'gossip', only: ['partition', 'SIGSTOP', 'full disk'] },
  { plane: 'gossip', only: ['eviction while cut off'] },
];

describe.each(runs)('three instances over $plane while clients write', ({ plane, broker, only }) => {
  const missing = broker && missingBroker(broker);
  let cluster: TestCluster | undefined;

  beforeAll(async () => {
    if (missing === undefined) cluster = await TestCluster.start({ plane, instances: 3, smallDiskMegabytes: 96 });
  });
  afterAll(() => cluster?.close());

  test(`${only.join(', ')}: nothing acknowledged is lost, all converge, nothing deleted returns, transactions stay whole`, async ({
    skip,
  }) => {
    if (cluster === undefined) return skip(missing);
    const rows = await torture(cluster, { seed: 1, holdMs: 1_000, only });
    for (const { scenario, problems, acknowledged, parked, skipped } of rows) {
      expect(problems, scenario).toEqual([]);
      if (skipped === undefined) expect(acknowledged, scenario).toBeGreaterThan(0);
      if (scenario.startsWith('eviction')) expect(parked, scenario).toBeGreaterThan(0);
    }
    console.log(
      `${plane}, network of ${cluster.network.kind}: ` +
        rows.map((row) => `${row.scenario} ${row.skipped ?? `${row.convergedMs.toFixed(0)} ms`}`).join(', '),
    );
  });
});
