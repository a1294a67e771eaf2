// Real instances, a real broker, and one fault after the other while clients write: prints what was acknowledged, what
// of it was lost, and how long it took until every instance had all of it.
import process from 'node:process';
import { missingBroker } from '../packages/ipe/dist/testkit/brokers.js';
import { clusterPlanes, scenarios, TestCluster, torture } from '../packages/ipe/dist/testkit/torture/index.js';
import { readOptions, refuseUnknown, wholeNumber } from './options.mjs';

const scenarioNames = scenarios.map(({ name }) => name);
const help = `usage: node scripts/torture.mjs [options]      (after \`npm run build\`)

  --plane NAME       ${clusterPlanes.join(', ')}; repeatable; default: all
  --instances N      members of the cluster; default: 3
  --scenario NAME    repeatable; default: all that fit the plane
                     ${scenarioNames.slice(0, 9).join(', ')},
                     ${scenarioNames.slice(9).join(', ')}
  --seed N           victims and writes; default: any
  --hold MS          how long each fault is held; default: 4000
  --network KIND     namespaces, or proxies where those are not allowed; default: what is possible

  node scripts/torture.mjs --plane nats --instances 5
  node scripts/torture.mjs --plane redis --scenario "kill -9" --seed 7

It ends with 1 where anything was lost, did not converge, came back or was seen in part.`;

const values = readOptions(
  {
    plane: { type: 'string', multiple: true, default: [...clusterPlanes] },
    instances: { type: 'string', default: '3' },
    scenario: { type: 'string', multiple: true, default: scenarioNames },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    hold: { type: 'string', default: '4000' },
    network: { type: 'string' },
  },
  help,
);
refuseUnknown('plane', values.plane, clusterPlanes);
refuseUnknown('scenario', values.scenario, scenarioNames);
refuseUnknown('network', values.network === undefined ? [] : [values.network], ['namespaces', 'proxies']);
const seed = wholeNumber('seed', values.seed, 0);
const instances = wholeNumber('instances', values.instances, 3);
const holdMs = wholeNumber('hold', values.hold, 100);

let running;
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, async () => {
    await running?.close();
    process.exit(1);
  });

const summaries = [];
for (const plane of values.plane) {
  const broker = { nats: 'nats', hybrid: 'nats', redis: 'redis', kafka: 'kafka' }[plane];
  const missing = broker && missingBroker(broker);
  if (missing) {
    summaries.push(`${plane}: not run, ${missing}`);
    continue;
  }
  const started = performance.now();
  const cluster = await TestCluster.start({
    plane,
    instances,
    smallDiskMegabytes: 96,
    ...(values.network === undefined ? {} : { network: values.network }),
  });
  running = cluster;
  console.log(`\n${plane}, ${instances} instances, network of ${cluster.network.kind}, seed ${seed}`);
  console.log(row('scenario', 'acknowledged', 'unknown', 'parked', 'lost', 'converged', 'problems'));
  let rows;
  try {
    rows = await torture(cluster, { seed, holdMs, only: values.scenario, onRow: report });
  } finally {
    await cluster.close();
  }
  summaries.push(summaryOf(plane, rows, performance.now() - started));
}
console.log(`\n${summaries.join('\n')}`);

function report({ scenario, skipped, acknowledged, unknown, parked, lost, convergedMs, problems }) {
  if (skipped !== undefined) {
    console.log(`${scenario.padEnd(24)} not run: ${skipped}`);
    return;
  }
  console.log(row(scenario, acknowledged, unknown, parked, lost, `${convergedMs.toFixed(0)} ms`, problems.length));
  if (problems.length > 0) process.exitCode = 1;
  for (const problem of problems.slice(0, 10)) console.log(`  ${problem}`);
}

function summaryOf(plane, rows, tookMs) {
  const run = rows.filter(({ skipped }) => skipped === undefined);
  const sum = (count) => run.reduce((total, each) => total + count(each), 0);
  const slowestMs = Math.max(...run.map(({ convergedMs }) => convergedMs));
  return [
    `${plane}: ${instances} instances, seed ${seed}, ${run.length} scenarios in ${(tookMs / 1e3).toFixed(0)} s`,
    `${sum(({ acknowledged }) => acknowledged)} acknowledged, ${sum(({ parked }) => parked)} parked`,
    `${sum(({ lost }) => lost)} lost, ${sum(({ problems }) => problems.length)} problems`,
    `converged in ${slowestMs.toFixed(0)} ms at most`,
  ].join('; ');
}

function row(scenario, ...cells) {
  return scenario.padEnd(24) + cells.map((cell) => String(cell).padStart(13)).join('');
}
