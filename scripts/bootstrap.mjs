// `npm start` and `npm test`, in a fresh clone too: Node's own modules only, because nothing is installed yet.
//
//   node scripts/bootstrap.mjs start [ipe serve options]   install, build, run a node on ./.ipe with the example policies
//   node scripts/bootstrap.mjs test [vitest filters]       install, build, check and test everything
//   node scripts/bootstrap.mjs prepare                     install and build only
import process from 'node:process';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`IPE needs Node 20.19 or newer; this is ${process.versions.node}. See https://nodejs.org/en/download`);
  process.exit(1);
}

const [command, ...rest] = process.argv.slice(2);
const commands = {
  start: async () => (await import('./start.mjs')).start(rest),
  test: async () => (await import('./verify.mjs')).verify(rest),
  prepare: async () => (await import('./prepare.mjs')).prepare(),
};
if (!Object.hasOwn(commands, command)) {
  console.error(`usage: node scripts/bootstrap.mjs ${Object.keys(commands).join('|')}`);
  process.exit(2);
}
await commands[command]();
