// npm leaves an optional package out of the lockfile when the registry it asked did not offer it (a binary for another
// platform, say), and then `npm ci` refuses that lockfile as out of step. This adds the entries that are missing, with
// the platform their names state, so that one lockfile installs everywhere.
//
//   node scripts/complete-lockfile.mjs           after `npm install` changed the lockfile
//   node scripts/complete-lockfile.mjs --check   fails when an entry is missing, or names a registry's host
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const path = join(dirname(fileURLToPath(import.meta.url)), '..', 'package-lock.json');
const lock = JSON.parse(readFileSync(path, 'utf8'));

const systems = new Set([
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
]);
const processors = new Set([
  'arm',
  'arm64',
  'ia32',
  'loong64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'x64',
  'wasm32',
]);

const added = [];
for (const [from, entry] of Object.entries(lock.packages))
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {}))
    if (/^\d+\.\d+\.\d+/.test(version) && findEntry(from, name) === undefined) {
      const place = `node_modules/${name}`;
      lock.packages[place] = { version, ...platform(name), ...(entry.dev ? { dev: true } : {}), optional: true };
      added.push(`${name}@${version}`);
    }

const hosts = Object.entries(lock.packages).filter(([, entry]) => /^https?:/.test(entry.resolved ?? ''));
if (process.argv.includes('--check')) {
  for (const name of added) console.error(`not in package-lock.json: ${name}; run node scripts/complete-lockfile.mjs`);
  for (const [name] of hosts) console.error(`package-lock.json names a registry's host for ${name}`);
  process.exitCode = added.length + hosts.length > 0 ? 1 : 0;
} else if (added.length > 0) {
  const packages = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
  writeFileSync(path, `${JSON.stringify({ ...lock, packages: Object.fromEntries(packages) }, null, 2)}\n`);
  console.log(`added ${added.length} entries`);
}

/** Looks for a package as Node would from the dependent's folder: beside it, then in each folder above. */
function findEntry(from, name) {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const entry = lock.packages[`${folder === '' ? '' : `${folder}/`}node_modules/${name}`];
    if (entry !== undefined) return entry;
    if (folder === '') return undefined;
  }
}

/** The platform in a name such as `@oxc-parser/binding-linux-arm-musleabihf`. */
function platform(name) {
  const words = name.split(/[-/]/);
  const os = words.filter((word) => systems.has(word));
  const cpu = words.filter((word) => processors.has(word));
  const libc = words.some((word) => word.startsWith('musl'))
    ? ['musl']
    : words.some((word) => word.startsWith('gnu')) && os[0] === 'linux'
      ? ['glibc']
      : [];
  return { ...(cpu.length > 0 ? { cpu } : {}), ...(os.length > 0 ? { os } : {}), ...(libc.length > 0 ? { libc } : {}) };
}
