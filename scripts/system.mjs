// Programs and libraries of the system that IPE or its tests use: which are missing, how to install them, and doing so
// on Debian as root. Nothing here is needed to build.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import process from 'node:process';

/** What IPE and its tests use beside Node: the Debian package, how to see that it is there, and what goes without it. */
const needs = [
  { debian: 'git', brew: 'git', present: () => onPath('git'), for: 'syncing policies from Git' },
  { debian: 'libatomic1', present: () => process.platform !== 'linux' || hasLibrary('libatomic.so.1'), for: 'RocksDB' },
  { debian: 'nats-server', brew: 'nats-server', present: () => onPath('nats-server'), for: 'tests of the NATS plane' },
  { debian: 'redis-server', brew: 'redis', present: () => onPath('redis-server'), for: 'tests of the Redis plane' },
  { debian: 'kcat', brew: 'kcat', present: () => onPath('kcat'), for: 'tests of the Kafka plane' },
  {
    debian: 'chromium',
    brew: 'chromium',
    present: () => ['chromium', 'chromium-browser', 'google-chrome'].some(onPath),
    for: 'tests of the web console',
  },
];

/** What running a node needs, of the list above. */
const forRunning = new Set(['git', 'libatomic1']);

/** Says on standard error which of the things a node needs are missing, with the command that installs them. */
export function nameMissingForRunning() {
  const missing = needs.filter((need) => forRunning.has(need.debian) && !need.present());
  for (const need of missing) console.error(`missing: ${need.debian} (${need.for}); ${installHint([need])}`);
}

/** Installs what is missing where it can (apt-get, as root), and names what is still missing afterwards. */
export function installForTests() {
  let missing = needs.filter((need) => !need.present());
  if (missing.length > 0 && process.getuid?.() === 0 && onPath('apt-get')) {
    aptInstall(missing.map((need) => need.debian));
    missing = missing.filter((need) => !need.present());
  }
  for (const need of missing) console.log(`missing: ${need.debian} (${need.for}); ${installHint([need])}`);
}

function aptInstall(packages) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const options = { stdio: ['ignore', 'ignore', 'inherit'], env, timeout: 300_000 };
  console.log(`installing with apt-get: ${packages.join(' ')}`);
  const install = (names) =>
    spawnSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...names], options).status === 0;
  spawnSync('apt-get', ['update', '-q'], options);
  // One unknown name fails the whole command, so what remains is tried one by one.
  if (!install(packages)) for (const name of packages) install([name]);
}

function installHint(missing) {
  const names = missing.map((need) => need.debian).join(' ');
  if (process.platform === 'darwin') return `brew install ${missing.map((need) => need.brew).join(' ')}`;
  return `on Debian: sudo apt-get install -y ${names}`;
}

function onPath(program) {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'].some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function hasLibrary(name) {
  return ['/lib', '/usr/lib', '/lib64', '/usr/lib64'].some(
    (folder) =>
      existsSync(join(folder, name)) ||
      (existsSync(folder) && readdirSync(folder).some((sub) => existsSync(join(folder, sub, name)))),
  );
}
