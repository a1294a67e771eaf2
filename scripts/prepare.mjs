// Installs and builds when missing or stale. Staleness costs a walk over the sources' times, so a second start is cheap.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');

const lockfile = join(root, 'package-lock.json');

/** Holds the digest of the lockfile that was installed. */
const installStamp = join(root, 'node_modules', '.ipe-installed');

/** Written after a build that succeeded; younger than every source means that nothing needs building. */
const buildStamp = join(root, 'node_modules', '.ipe-built');

/** Runs `npm ci` and `tsc -b` where they are due. Exits the process with their code when one of them fails. */
export function prepare() {
  if (installIsStale()) {
    step('installing', process.platform === 'win32' ? 'npm.cmd' : 'npm', [
      'ci',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
    ]);
    writeFileSync(installStamp, lockfileDigest());
  }
  if (buildIsStale()) {
    step('building', process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b']);
    writeFileSync(buildStamp, '');
  }
}

/**
 * npm rewrites its own lockfile in `node_modules` on every install, so one younger than ours is current. A checkout may
 * touch ours without changing it: then the digest kept at the last install decides.
 */
function installIsStale() {
  const installed = modifiedMs(join(root, 'node_modules', '.package-lock.json'));
  if (installed === undefined) return true;
  if (installed >= modifiedMs(lockfile)) return false;
  return !existsSync(installStamp) || readFileSync(installStamp, 'utf8') !== lockfileDigest();
}

function lockfileDigest() {
  return createHash('sha256').update(readFileSync(lockfile)).digest('hex');
}

function buildIsStale() {
  const built = modifiedMs(buildStamp);
  if (built === undefined) return true;
  const inputs = ['tsconfig.base.json', 'tsconfig.json'].map((file) => join(root, file));
  for (const name of readdirSync(join(root, 'packages'))) {
    const folder = join(root, 'packages', name);
    inputs.push(join(folder, 'package.json'), join(folder, 'tsconfig.json'));
    if (youngerThan(join(folder, 'src'), built)) return true;
  }
  return inputs.some((file) => (modifiedMs(file) ?? 0) > built);
}

/** Whether anything below the folder, or the folder itself (a file removed), changed after `timeMs`. */
function youngerThan(folder, timeMs) {
  if ((modifiedMs(folder) ?? 0) > timeMs) return true;
  if (!existsSync(folder)) return false;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() ? youngerThan(path, timeMs) : statSync(path).mtimeMs > timeMs) return true;
  }
  return false;
}

function modifiedMs(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

function step(what, command, args) {
  const started = Date.now();
  process.stderr.write(`${what} ... `);
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8', shell: false });
  if (status === 0) {
    process.stderr.write(`done in ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
    return;
  }
  process.stderr.write('failed\n');
  process.stderr.write(error === undefined ? `${stdout}${stderr}` : `${command}: ${error.message}\n`);
  process.exit(status ?? 1);
}
