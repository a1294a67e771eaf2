import type { Interest } from '@ipe/core/replica';

/** What an instance remembers of its replication between starts. */
export interface ReplicationMemory {
  /** The log of which this speaks (`Replica.logId`); absent: nothing was held. */
  readonly logId?: number;
  /** The interest that this instance held whole when it stopped; absent: it has never been whole. */
  readonly settledInterest?: Interest;
  /** The namespaces that it held whole when it stopped, though others may have been missing. */
  readonly whole?: readonly string[];
  /** The namespaces that it had held whole before it learned that its data directory is an old copy. */
  readonly goneBack?: readonly string[];
  /** Where the message plane resumes. */
  readonly planeCursor?: string;
  /** By origin, when each member was last heard; to the minute. */
  readonly heardMs?: Readonly<Record<string, number>>;
}

/** What still counts beside a log: of what another one held, as before the data directory was emptied, nothing does. */
export function memoryOf(logId: number | undefined, memory: ReplicationMemory): ReplicationMemory {
  if (memory.logId === undefined || memory.logId === logId) return memory;
  return { ...(memory.heardMs && { heardMs: memory.heardMs }) };
}

/** How often the place in the plane alone is written down: a start after a crash is given once more what came since. */
const cursorIntervalMs = 10_000;

/**
 * Writes down what has changed of an instance's memory. The place in the plane moves with each batch, and each file is
 * synced: where nothing else has changed, it is written now and then only.
 */
export class MemoryKeeper {
  readonly #save: (memory: ReplicationMemory) => Promise<void>;
  readonly #now: () => number;
  #held = '';
  #cursor: string | undefined;
  #savedMs = Number.NEGATIVE_INFINITY;

  /** @param now monotonic milliseconds */
  constructor(save: (memory: ReplicationMemory) => Promise<void>, now: () => number) {
    this.#save = save;
    this.#now = now;
  }

  /** @param isLast whether the place in the plane is written down however lately it was */
  async keep(memory: ReplicationMemory, isLast = false): Promise<void> {
    const { planeCursor, ...rest } = memory;
    const held = JSON.stringify(rest);
    const isCursorDue = isLast || this.#now() >= this.#savedMs + cursorIntervalMs;
    if (held === this.#held && (planeCursor === this.#cursor || !isCursorDue)) return;
    await this.#save(memory);
    this.#held = held;
    this.#cursor = planeCursor;
    this.#savedMs = this.#now();
  }
}
