// node bench/run.mjs [filter] [--json FILE] [--quick] [--list]; bench/README.md tells how benches are written.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeMachine } from './harness/machine.mjs';
import { printRows } from './harness/report.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, quick: { type: 'boolean' }, list: { type: 'boolean' } },
});
const filter = positionals[0] ?? '';
const here = dirname(fileURLToPath(import.meta.url));
let failures = 0;

const benches = [];
for (const name of readdirSync(here).sort()) {
  if (!name.endsWith('.bench.mjs')) continue;
  const file = new URL(name, import.meta.url).href;
  try {
    for (const bench of (await import(file)).benches) if (bench.id.includes(filter)) benches.push({ file, bench });
  } catch (error) {
    fail(`bench/${name} does not load; run \`npm run build\` first`, error.message);
  }
}
if (benches.length === 0 && failures === 0) fail(`no bench matches \`${filter}\`; --list names them`);

if (options.list) for (const { bench } of benches) console.log(`${bench.id.padEnd(32)} ${bench.question}`);
else await runAll();
process.exitCode = failures === 0 ? 0 : 1;

async function runAll() {
  const machine = describeMachine();
  const command = ['node', 'bench/run.mjs', ...process.argv.slice(2)].join(' ');
  console.log(
    `${command}\n${Object.entries(machine)
      .map(([name, value]) => `${name}: ${value}`)
      .join('\n')}`,
  );
  const results = [];
  for (const { file, bench } of benches) {
    const { rows, problem } = await runInProcess(file, bench.id);
    if (rows.length > 0) printRows(bench, rows);
    if (problem !== undefined) fail(bench.id, problem);
    results.push({ id: bench.id, question: bench.question, sizes: bench.sizes, rows, ...(problem && { problem }) });
  }
  if (options.json === undefined) return;
  mkdirSync(dirname(options.json), { recursive: true });
  writeFileSync(
    options.json,
    `${JSON.stringify({ command, machine, date: new Date().toISOString(), results }, null, 2)}\n`,
  );
}

async function runInProcess(file, id) {
  const worker = fork(new URL('harness/worker.mjs', import.meta.url), [file, id, options.quick ? 'quick' : 'full'], {
    execArgv: ['--expose-gc', '--max-old-space-size=8192'],
  });
  let result;
  worker.on('message', (message) => {
    result = message;
  });
  const [code, signal] = await once(worker, 'exit');
  return result ?? { rows: [], problem: `the bench ended with ${signal ?? `code ${code}`}` };
}

function fail(what, why = '') {
  failures++;
  console.error(`\n${what}${why === '' ? '' : `\n  ${why}`}`);
}
