// Fails on an import against the arrows of docs/architecture.md: packages, strata inside core, planes inside ipe,
// undeclared dependencies, and clocks, randomness or `node:` modules in core.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Which strata of core a stratum may import, besides itself. `errors.ts` is open to all. */
const coreStrata = {
  bytes: [],
  store: ['bytes'],
  plane: ['bytes'],
  git: ['bytes'],
  tree: ['bytes', 'git', 'store'],
  policy: ['bytes', 'git', 'tree'],
  eval: ['bytes', 'git', 'tree', 'policy'],
  replica: ['bytes', 'store', 'plane'],
  testkit: ['bytes', 'store', 'plane', 'git', 'tree', 'policy', 'eval', 'replica'],
};

/** Which folders of ipe a folder may not import: the planes know nothing of each other; adapters nothing of servers. */
const ipeForbidden = {
  control: ['data', 'evaluation', 'cli'],
  data: ['control', 'evaluation', 'cli', 'gitops'],
  evaluation: ['cli', 'gitops'],
  stores: ['control', 'data', 'evaluation', 'cli', 'gitops', 'api'],
  planes: ['control', 'evaluation', 'cli', 'gitops'],
  security: ['control', 'data', 'evaluation', 'cli', 'gitops'],
  config: ['control', 'data', 'evaluation', 'cli', 'gitops'],
  telemetry: ['control', 'data', 'evaluation', 'cli', 'gitops'],
};

const packageArrows = {
  client: [],
  core: [],
  ipe: ['@ipe/client', '@ipe/core'],
  console: ['@ipe/client', '@ipe/core', 'ipe'],
};

const problems = [];
for (const pkg of Object.keys(packageArrows)) {
  const manifest = JSON.parse(readFileSync(join(root, 'packages', pkg, 'package.json'), 'utf8'));
  const declared = new Set(
    ['dependencies', 'optionalDependencies', 'peerDependencies'].flatMap((field) => Object.keys(manifest[field] ?? {})),
  );
  for (const file of sources(join(root, 'packages', pkg, 'src'))) check(pkg, file, declared);
}
if (problems.length > 0) {
  console.error(problems.join('\n'));
  console.error(`\n${problems.length} import(s) against the arrows; docs/architecture.md has the graph`);
  process.exit(1);
}
console.log('imports follow the arrows');

function* sources(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.tsx?$/.test(entry.name)) yield path;
  }
}

function check(pkg, file, declared) {
  const text = readFileSync(file, 'utf8');
  const isTest = file.endsWith('.test.ts');
  const src = join(root, 'packages', pkg, 'src');
  const say = (index, message) => {
    const line = text.slice(0, index).split('\n').length;
    problems.push(`${relative(root, file)}:${line}: ${message}`);
  };
  const importPattern =
    /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s+['"]([^'"]+)['"]/g;
  for (const match of text.matchAll(importPattern)) {
    const target = match[1] ?? match[2] ?? match[3];
    if (target.startsWith('.')) {
      const to = relative(src, resolve(dirname(file), target)).split(sep);
      const isTestSupport = isTest && to[0] === '..' && to[1] === 'test';
      if (to[0] === '..' && !isTestSupport) say(match.index, `\`${target}\` leaves the package; import it by name`);
      else if (!isTest) checkFolders(pkg, relative(src, file).split(sep), to, match.index, say);
      continue;
    }
    const name = target.startsWith('@') ? target.split('/').slice(0, 2).join('/') : target.split('/')[0];
    if (target.startsWith('node:')) {
      if ((pkg === 'core' || pkg === 'console') && !isTest) say(match.index, `${pkg} may not import \`${target}\``);
    } else if (name.startsWith('@ipe/') || name === 'ipe') {
      if (!packageArrows[pkg].includes(name)) say(match.index, `${pkg} may not import \`${name}\``);
    } else if (!isTest && !declared.has(name)) say(match.index, `\`${name}\` is not a dependency of packages/${pkg}`);
  }
  if (pkg === 'core' && !isTest) {
    const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, (comment) => comment.replace(/[^\n]/g, ' '));
    for (const match of code.matchAll(
      /\b(?:Date\.now|new Date\(\)|Math\.random|performance\.now|setTimeout|setInterval|queueMicrotask|process\.)/g,
    ))
      say(match.index, `core has no clock, randomness or process: \`${match[0]}\``);
  }
}

function checkFolders(pkg, from, to, index, say) {
  if (from.length < 2 || to.length < 2 || from[0] === to[0]) return;
  if (pkg === 'core' && !(coreStrata[from[0]] ?? []).includes(to[0]))
    say(index, `core/${from[0]} may not import core/${to[0]}`);
  if (pkg === 'ipe' && (ipeForbidden[from[0]] ?? []).includes(to[0]))
    say(index, `ipe/${from[0]} may not import ipe/${to[0]}`);
}
