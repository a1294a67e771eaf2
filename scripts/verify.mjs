// `npm test`: prepares, checks (format, lint, types, imports, dead code), runs every test, and closes with one line of
// totals. A check that fails counts as one failure beside the tests.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { prepare, root } from './prepare.mjs';
import { installForTests } from './system.mjs';

/** The programs of each check, in the order in which they run; paths are relative to `node_modules`. */
const checks = [
  { name: 'format and lint', program: '@biomejs/biome/bin/biome', args: ['check'] },
  { name: 'types of tests', program: 'typescript/bin/tsc', args: ['-p', 'tsconfig.tests.json'] },
  { name: 'imports', program: '../scripts/check-imports.mjs', args: [] },
  { name: 'lockfile', program: '../scripts/complete-lockfile.mjs', args: ['--check'] },
  ...['client', 'core', 'ipe'].map((name) => ({
    name: `package ${name}`,
    program: 'publint/src/cli.js',
    args: [join('packages', name)],
  })),
  { name: 'dead code', program: 'knip/bin/knip.js', args: ['--no-progress'] },
];

/** @param filters vitest's file filters; without any, everything runs, the checks too. Sets the exit code. */
export function verify(filters) {
  installForTests();
  prepare();
  const failedChecks = filters.length > 0 ? [] : checks.filter((check) => !passes(check)).map((check) => check.name);
  if (filters.length === 0) printClientSize();
  const { passed, failed, skipped } = runTests(filters);
  for (const name of failedChecks) console.log(`failed check: ${name}`);
  const failures = failed + failedChecks.length;
  console.log(`${passed} passed, ${failures} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  process.exitCode = failures > 0 || passed === 0 ? 1 : 0;
}

function passes({ name, program, args }) {
  const started = Date.now();
  const run = spawnSync(process.execPath, [join(root, 'node_modules', program), ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.log(`${run.status === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
  if (run.status !== 0) console.log(`${run.stdout}${run.stderr}`);
  return run.status === 0;
}

/** What the SDK weighs for whoever installs it. */
function printClientSize() {
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const pack = spawnSync(npm, ['pack', '-w', '@ipe/client', '--dry-run', '--json'], { cwd: root, encoding: 'utf8' });
  if (pack.status !== 0) return;
  const report = JSON.parse(pack.stdout);
  const { size, unpackedSize } = Array.isArray(report) ? report[0] : Object.values(report)[0];
  const kilobytes = (bytes) => `${(bytes / 1024).toFixed(1)} kB`;
  console.log(`@ipe/client packs to ${kilobytes(size)} (${kilobytes(unpackedSize)} unpacked), no dependencies`);
}

function runTests(filters) {
  const folder = mkdtempSync(join(tmpdir(), 'ipe-tests-'));
  const outputFile = join(folder, 'report.json');
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const args = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${outputFile}`, ...filters];
  const { status } = spawnSync(process.execPath, [vitest, ...args], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    // A log that nobody watches is read as text.
    env: process.stdout.isTTY ? process.env : { ...process.env, NO_COLOR: '1' },
  });
  try {
    return totals(JSON.parse(readFileSync(outputFile, 'utf8')), status);
  } catch (error) {
    console.error(`vitest left no report: ${error.message}`);
    return { passed: 0, failed: 1, skipped: 0 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A file that fails outside its tests (an import, a hook) has no failed test to its name, so it counts as one. */
function totals(report, status) {
  const filesFailedOutsideTests = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  let failed = report.numFailedTests + filesFailedOutsideTests;
  if (status !== 0 && failed === 0) failed = 1; // an unhandled error after the last test
  return { passed: report.numPassedTests, failed, skipped: report.numPendingTests + (report.numTodoTests ?? 0) };
}
