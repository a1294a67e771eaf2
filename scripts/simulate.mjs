// Runs simulated clusters from seeds and prints what they found. A failing seed is shrunk, and replayed by the command
// that is printed.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { drawPlan, mutants, shrink, simulate } from '@ipe/core/testkit';
import { readOptions, refuseUnknown, wholeNumber } from './options.mjs';

/** Seeds that a worker is given at once. */
const chunk = 20;
const progressMs = 20_000;
/** Failing seeds that are shrunk and shown whole; of more only the number is told. */
const shownMax = 5;
/** Plans up to this size are printed, longer ones are written to a file. */
const printedBytesMax = 2_000;

const help = `usage: node scripts/simulate.mjs [options]      (after \`npm run build\`)

  --count N        how many seeds; default: 100
  --from SEED      the first of them, and where to go on after a run that stopped; default: any
  --jobs N         worker threads; default: 1
  --mutant NAME    puts a known bug in, to see whether it is noticed:
                   ${Object.keys(mutants).join(',\n                   ')}
  --replay PLAN    runs a shrunk plan again, from a file or as JSON text

  node scripts/simulate.mjs --count 10000 --jobs 2
  node scripts/simulate.mjs --from 17 --count 1
  node scripts/simulate.mjs --mutant dot-reused --count 40

It ends with 1 where a seed failed.`;

if (isMainThread) await main();
else work();

/** A worker: runs the seeds that it is sent, one chunk after the other. */
function work() {
  parentPort.on('message', (seeds) =>
    parentPort.postMessage(seeds.map((seed) => simulate({ seed }, workerData.mutant))),
  );
}

async function main() {
  const values = readOptions(
    {
      count: { type: 'string', default: '100' },
      from: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      jobs: { type: 'string', default: '1' },
      mutant: { type: 'string' },
      replay: { type: 'string' },
    },
    help,
  );
  const { mutant } = values;
  refuseUnknown('mutant', mutant === undefined ? [] : [mutant], Object.keys(mutants));
  if (values.replay !== undefined) {
    const text = existsSync(values.replay) ? readFileSync(values.replay, 'utf8') : values.replay;
    const result = simulate({ plan: JSON.parse(text) }, mutant);
    tell(result);
    process.exitCode = result.problems.length > 0 ? 1 : 0;
    return;
  }
  const [from, count, jobs] = [
    wholeNumber('from', values.from, 0),
    wholeNumber('count', values.count, 1),
    wholeNumber('jobs', values.jobs, 1),
  ];
  await runSeeds(from, count, jobs, mutant);
}

async function runSeeds(from, count, jobs, mutant) {
  const started = Date.now();
  const totals = { events: 0, virtualMs: 0, acknowledged: 0, crashes: 0 };
  const failed = [];
  let next = from;
  /** The first seed of each chunk that is being run. */
  const underWay = new Set();
  let done = 0;
  let toldMs = started;
  const take = (results) => {
    for (const result of results) {
      for (const name of Object.keys(totals)) totals[name] += result[name];
      if (result.problems.length > 0) failed.push(result);
      if (result.problems.length > 0 && failed.length <= shownMax) tell(result);
    }
    done += results.length;
    if (Date.now() - toldMs < progressMs) return;
    toldMs = Date.now();
    // Seeds end out of order: what is below this one has been run.
    console.log(`${done} of ${count} seeds, ${failed.length} failed, next ${Math.min(next, ...underWay)}`);
  };
  await Promise.all(
    Array.from(
      { length: jobs },
      () =>
        new Promise((resolve, reject) => {
          const worker = new Worker(new URL(import.meta.url), { workerData: { mutant } });
          const hand = () => {
            if (next >= from + count) return worker.terminate().then(resolve);
            const seeds = Array.from({ length: Math.min(chunk, from + count - next) }, (_, i) => next + i);
            next += seeds.length;
            underWay.add(seeds[0]);
            worker.postMessage(seeds);
          };
          worker.on('message', (results) => {
            underWay.delete(results[0].seed);
            take(results);
            hand();
          });
          worker.on('error', reject);
          hand();
        }),
    ),
  );
  const seconds = (Date.now() - started) / 1000;
  console.log(
    `seeds ${from} to ${from + count - 1}: ${failed.length} failed; ${(totals.virtualMs / 3_600_000).toFixed(1)} simulated hours, ` +
      `${totals.events} events, ${totals.acknowledged} acknowledged writes, ${totals.crashes} crashes in ${seconds.toFixed(0)} s`,
  );
  if (failed.length === 0) return;
  process.exitCode = 1;
  for (const { seed, problems } of failed) console.log(`failed: ${seed}, ${problems[0]}`);
  if (mutant === undefined) for (const { seed } of failed.slice(0, shownMax)) tellShrunk(seed);
}

function tell({ seed, instances, traceHash, problems }) {
  console.log(`seed ${seed} (${instances} instances, trace ${traceHash}): ${problems.length} problems`);
  for (const problem of problems.slice(0, 10)) console.log(`  ${problem}`);
  if (problems.length > 0) console.log(`  again: node scripts/simulate.mjs --from ${seed} --count 1`);
}

function tellShrunk(seed) {
  const drawn = drawPlan(seed);
  // A smaller plan may fail in a way of its own.
  const kinds = (plan) => simulate({ plan }).problems.map((problem) => problem.split(':')[0]);
  const wanted = new Set(kinds(drawn));
  const plan = shrink(drawn, (candidate) => kinds(candidate).some((kind) => wanted.has(kind)));
  let text = JSON.stringify(plan);
  if (text.length > printedBytesMax) {
    const file = join(tmpdir(), `ipe-simulation-${seed}.json`);
    writeFileSync(file, JSON.stringify(plan, undefined, 1));
    text = file;
  }
  console.log(`seed ${seed} shrunk to ${plan.members.length} members and ${plan.actions.length} actions:`);
  console.log(`  node scripts/simulate.mjs --replay '${text}'`);
}
