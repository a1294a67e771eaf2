import type { FileHandle } from 'node:fs/promises';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Where the store writes now. */
export interface WalPosition {
  /** Number of the newest write-ahead log file, `<number, six digits>.log` in the store's directory. */
  readonly number: number;
}

/**
 * Makes write-ahead logs durable from outside the store, which has no option for it.
 *
 * Each log is held open from its first sight, so that one rotated away, or deleted once its content is in table files,
 * can still be synced. Logs are synced oldest first: recovery reads them in order, and a hole in an older one would
 * hide a newer one. A log's directory entry is synced before the log counts as durable.
 *
 * Calls share syncs: one that arrives while a sync runs waits for the next, which covers what it must cover.
 */
export class WalSyncer {
  readonly #directory: string;
  readonly #position: () => Promise<WalPosition>;
  /** Open logs by number, ascending. The last is the one being written. */
  readonly #logs = new Map<number, FileHandle>();
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(directory: string, position: () => Promise<WalPosition>) {
    this.#directory = directory;
    this.#position = position;
  }

  /** Resolves when all that was in the logs at the call is durable. */
  sync(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    if (this.#running === undefined) return this.#start();
    const start = () => this.#start();
    this.#next = this.#running.then(start, start);
    return this.#next;
  }

  /** Waits for syncs under way and gives the descriptors back. */
  async close(): Promise<void> {
    await (this.#next ?? this.#running)?.catch(() => undefined);
    for (const log of this.#logs.values()) await log.close();
    this.#logs.clear();
  }

  #start(): Promise<void> {
    this.#next = undefined;
    const running = this.#syncLogs().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }

  async #syncLogs(): Promise<void> {
    // The log known to be current is synced while the store is asked whether it still is.
    const known = [...this.#logs];
    const [{ number: current }] = await Promise.all([this.#position(), syncInOrder(known)]);
    if (known.at(-1)?.[0] === current) return;
    await this.#openUpTo(current);
    await syncInOrder(this.#logs);
    for (const [number, log] of this.#logs) {
      if (number === current) continue;
      this.#logs.delete(number);
      await log.close();
    }
  }

  /** Opens the logs that appeared since the last look, which may be several. */
  async #openUpTo(current: number): Promise<void> {
    const last = [...this.#logs.keys()].at(-1) ?? -1;
    const numbers = (await readdir(this.#directory))
      .map((name) => /^(\d+)\.log$/.exec(name)?.[1])
      .filter((digits) => digits !== undefined)
      .map(Number)
      .filter((number) => number > last && number <= current)
      .sort((a, b) => a - b);
    for (const number of numbers) {
      const log = await openIfThere(join(this.#directory, `${String(number).padStart(6, '0')}.log`));
      if (log !== undefined) this.#logs.set(number, log);
    }
    const directory = await open(this.#directory, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}

async function syncInOrder(logs: Iterable<readonly [number, FileHandle]>): Promise<void> {
  for (const [, log] of logs) await log.datasync();
}

/** A log deleted between listing and opening has its content in synced table files: nothing is left to sync. */
async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
