import { watch } from 'node:fs';
import type { Cli } from './cli.ts';

/** Changes within this time of each other are one. */
const settleMs = 80;

/** Runs once, and with `watch` again after each change below the folder, until interrupted. */
export async function runWatching(
  cli: Cli,
  folder: string,
  options: { readonly watch?: boolean },
  run: () => Promise<void>,
): Promise<void> {
  if (!options.watch) return run();
  await cli.untilInterrupted(async (signal) => {
    while (!signal.aborted) {
      const changed = nextChange(cli.path(folder), signal);
      await run();
      cli.out.note(cli.out.errorColor.dim(`\nwatching ${folder} …`));
      await changed;
    }
  });
  cli.exitCode = 0;
}

/** Resolves after the next change, or when the signal fires. */
function nextChange(folder: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let settling = false;
    const watcher = watch(folder, { recursive: true, signal }, () => {
      if (settling) return;
      settling = true;
      setTimeout(() => {
        watcher.close();
        resolve();
      }, settleMs);
    });
    watcher.once('error', reject);
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
