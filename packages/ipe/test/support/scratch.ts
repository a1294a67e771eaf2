import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Root of this repository. */
export const repositoryRoot = fileURLToPath(new URL('../../../..', import.meta.url));

/** Things to undo after a test, in the opposite order. */
export class Cleanups {
  readonly #steps: (() => unknown)[] = [];

  add(step: () => unknown): void {
    this.#steps.push(step);
  }

  async run(): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) await step();
  }

  /** A folder of its own, short enough for the sockets below it. */
  async folder(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'ipe-'));
    this.add(() => rm(path, { recursive: true, force: true }));
    return path;
  }
}
