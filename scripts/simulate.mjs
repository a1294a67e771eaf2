// Runs simulated clusters from seeds and prints what they found; a failing seed is replayed by the command it prints.
//
//   node scripts/simulate.mjs                      100 fresh seeds
//   node scripts/simulate.mjs --seeds 10000        more of them
//   node scripts/simulate.mjs --from 17 --seeds 1  one seed again
//   node scripts/simulate.mjs --mutant gap-passed-over --seeds 40   whether a known bug would be noticed
import process from 'node:process';
import { parseArgs } from 'node:util';
import { mutants, simulate } from '@ipe/core/testkit';

const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '100' }, from: { type: 'string' }, mutant: { type: 'string' } },
});
if (values.mutant !== undefined && !Object.hasOwn(mutants, values.mutant)) {
  console.error(`no mutant \`${values.mutant}\`; there are ${Object.keys(mutants).join(', ')}`);
  process.exit(2);
}
const from = values.from === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.from);
const count = Number(values.seeds);
const started = Date.now();
const totals = { events: 0, virtualMs: 0, acknowledged: 0, crashes: 0 };
const failed = [];
for (let seed = from; seed < from + count; seed++) {
  const result = simulate({ seed, ...(values.mutant === undefined ? {} : { mutant: values.mutant }) });
  for (const name of Object.keys(totals)) totals[name] += result[name];
  if (result.problems.length > 0) {
    failed.push(seed);
    if (failed.length <= 5) {
      console.log(`seed ${seed} (${result.instances} instances, trace ${result.traceHash}):`);
      for (const problem of result.problems.slice(0, 10)) console.log(`  ${problem}`);
      console.log(`  again: node scripts/simulate.mjs --from ${seed} --seeds 1`);
    }
  }
  if ((seed - from + 1) % 500 === 0) console.log(`${seed - from + 1} of ${count} seeds, ${failed.length} failed`);
}
const hours = (totals.virtualMs / 3_600_000).toFixed(1);
console.log(
  `seeds ${from} to ${from + count - 1}: ${failed.length} failed; ${hours} simulated hours, ${totals.events} events, ` +
    `${totals.acknowledged} acknowledged writes, ${totals.crashes} crashes in ${((Date.now() - started) / 1000).toFixed(0)} s`,
);
process.exitCode = failed.length > 0 ? 1 : 0;
