import type { LogRecord } from '@ipe/core/replica';
import { pause } from '../planes/deliveries.ts';

export interface BacklogOptions {
  /** Bytes that may be delivered before what was delivered must be on disk here. */
  readonly bytesMax: number;
  /** Longest wait: a record behind a gap gets to disk only once anti-entropy has filled the gap. */
  readonly waitMsMax: number;
  readonly isDurable: (record: LogRecord) => boolean;
}

/**
 * Holds a message plane back while too much of what it delivered is not on disk here, so that a receiver that is slower
 * than the senders fills the broker's disk, which is bounded, and not its own memory.
 */
export class Backlog {
  readonly #options: BacklogOptions;
  #bytes = 0;
  #last: LogRecord | undefined;
  #wake: () => void = () => {};

  constructor(options: BacklogOptions) {
    this.#options = options;
  }

  /** Counts a delivery and the last record that was taken of it. */
  taken(bytes: number, last: LogRecord): void {
    this.#bytes += bytes;
    this.#last = last;
  }

  /** Something got to disk. */
  moved(): void {
    this.#wake();
  }

  /** Resolves once the plane may deliver more. */
  async ready(signal: AbortSignal): Promise<void> {
    const last = this.#last;
    if (this.#bytes < this.#options.bytesMax || last === undefined) return;
    const given = new AbortController();
    const giveUp = () => given.abort();
    signal.addEventListener('abort', giveUp, { once: true });
    this.#wake = () => {
      if (this.#options.isDurable(last)) given.abort();
    };
    this.#wake();
    await pause(this.#options.waitMsMax, given.signal);
    signal.removeEventListener('abort', giveUp);
    this.#wake = () => {};
    this.#bytes = 0;
  }
}
