import { readFile, rename, rm, writeFile } from 'node:fs/promises';

/** A small file that says how far long work has come, so that the next run can go on there. */
export class PlaceFile<Place extends object> {
  readonly path: string;
  readonly #format: number;

  /** @param format of what it holds: one that another version wrote is passed over */
  constructor(path: string, format: number) {
    this.path = path;
    this.#format = format;
  }

  /** What an earlier run left; undefined where there is nothing that can be gone on from. */
  async read(): Promise<Place | undefined> {
    try {
      const { format, place } = JSON.parse(await readFile(this.path, 'utf8')) as { format?: unknown; place?: Place };
      return format === this.#format ? place : undefined;
    } catch (error) {
      const isUnreadable = error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (isUnreadable) return undefined;
      throw error;
    }
  }

  /** Replaces what it says in one step: a run that is cut short leaves the place before or this one. */
  async write(place: Place): Promise<void> {
    const next = `${this.path}.new`;
    await writeFile(next, JSON.stringify({ format: this.#format, place }), { mode: 0o600 });
    await rename(next, this.path);
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
  }
}
