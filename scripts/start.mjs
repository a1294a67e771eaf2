// `npm start`: prepares, then runs a node on ./.ipe with the example policies and says what to try.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { prepare, root } from './prepare.mjs';
import { nameMissingForRunning } from './system.mjs';

/** @param args passed on to `ipe serve`, such as `--config` or `--dir`. */
export async function start(args) {
  nameMissingForRunning();
  prepare();
  const main = join(root, 'packages', 'ipe', 'dist', 'cli', 'main.js');
  if (!existsSync(main)) {
    console.error('the build has no command line; run `npm run build` and read what it says');
    process.exit(1);
  }
  process.chdir(root);
  const { main: run } = await import(pathToFileURL(main).href);
  process.exitCode = await run(['serve', '--example', join('examples', 'policies'), ...args]);
}
