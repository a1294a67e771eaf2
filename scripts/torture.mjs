// Real instances, a real broker, and one fault after the other while clients write: prints what was acknowledged, what
// of it was lost, and how long it took until every instance had all of it.
//
//   node scripts/torture.mjs                                    every plane, three instances
//   node scripts/torture.mjs --plane nats --instances 5         one plane, five instances
//   node scripts/torture.mjs --plane redis --only "kill -9"     one fault
//   node scripts/torture.mjs --seed 7 --hold 8000               another seed, each fault held for 8 s
//   node scripts/torture.mjs --network proxies                  without network namespaces, as where those are not allowed
import process from 'node:process';
import { parseArgs } from 'node:util';
import { missingBroker } from '../packages/ipe/dist/testkit/brokers.js';
import { clusterPlanes, scenarios, TestCluster, torture } from '../packages/ipe/dist/testkit/torture/index.js';

const { values } = parseArgs({
  options: {
    plane: { type: 'string', multiple: true },
    instances: { type: 'string', default: '3' },
    seed: { type: 'string' },
    hold: { type: 'string', default: '4000' },
    only: { type: 'string', multiple: true },
    network: { type: 'string' },
  },
});
const planes = values.plane ?? clusterPlanes;
refuseUnknown('plane', planes, clusterPlanes);
refuseUnknown(
  'scenario',
  values.only ?? [],
  scenarios.map(({ name }) => name),
);
refuseUnknown('network', values.network === undefined ? [] : [values.network], ['namespaces', 'proxies']);
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const instances = Number(values.instances);
let failures = 0;

let running;
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, async () => {
    await running?.close();
    process.exit(1);
  });

for (const plane of planes) {
  const broker = { nats: 'nats', hybrid: 'nats', redis: 'redis', kafka: 'kafka' }[plane];
  const missing = broker && missingBroker(broker);
  if (missing) {
    console.log(`\n${plane}: not run, ${missing}`);
    continue;
  }
  const cluster = await TestCluster.start({
    plane,
    instances,
    smallDiskMegabytes: 96,
    ...(values.network === undefined ? {} : { network: values.network }),
  });
  running = cluster;
  console.log(`\n${plane}, ${instances} instances, network of ${cluster.network.kind}, seed ${seed}`);
  console.log(row('scenario', 'acknowledged', 'unknown', 'lost', 'converged', 'problems'));
  try {
    await torture(cluster, {
      seed,
      holdMs: Number(values.hold),
      ...(values.only === undefined ? {} : { only: values.only }),
      onRow: report,
    });
  } finally {
    await cluster.close();
  }
}
process.exitCode = failures > 0 ? 1 : 0;

function report({ scenario, skipped, acknowledged, unknown, lost, convergedMs, problems }) {
  if (skipped !== undefined) {
    console.log(`${scenario.padEnd(24)} not run: ${skipped}`);
    return;
  }
  console.log(row(scenario, acknowledged, unknown, lost, `${convergedMs.toFixed(0)} ms`, problems.length));
  failures += problems.length;
  for (const problem of problems.slice(0, 10)) console.log(`  ${problem}`);
}

function row(scenario, ...cells) {
  return scenario.padEnd(24) + cells.map((cell) => String(cell).padStart(14)).join('');
}

function refuseUnknown(what, asked, known) {
  const unknown = asked.find((name) => !known.includes(name));
  if (unknown === undefined) return;
  console.error(`no ${what} \`${unknown}\`; there are ${known.join(', ')}`);
  process.exit(2);
}
