import type { PlaneDelivery } from '@ipe/core/plane';

const retryDelayMinMs = 50;
const retryDelayMaxMs = 5_000;

/**
 * Calls a subscriber one message at a time and repeats what it rejected, with growing delay, until it takes it: the
 * part of the plane's contract that is the same for every broker.
 */
export class Deliveries {
  readonly #deliver: (delivery: PlaneDelivery) => Promise<void>;
  readonly #closing = new AbortController();
  #tail: Promise<void> = Promise.resolve();
  delivered = 0;

  constructor(deliver: (delivery: PlaneDelivery) => Promise<void>) {
    this.#deliver = deliver;
  }

  /** Resolves once the subscriber has taken the message, or the subscription closed first (false). */
  async push(delivery: PlaneDelivery): Promise<boolean> {
    const turn = this.#tail.then(() => this.#untilTaken(delivery));
    this.#tail = turn.then(() => {});
    return await turn;
  }

  /** Stops repeating; resolves when no call is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#tail;
  }

  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  async #untilTaken(delivery: PlaneDelivery): Promise<boolean> {
    for (let attempt = 0; !this.#closing.signal.aborted; attempt++) {
      try {
        await this.#deliver(delivery);
        this.delivered++;
        return true;
      } catch {
        // The subscriber logs why; here it only means "not yet".
        await pause(Math.min(retryDelayMaxMs, retryDelayMinMs * 2 ** attempt), this.#closing.signal);
      }
    }
    return false;
  }
}

/** Waits, or returns early when the signal aborts. */
export function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    signal.addEventListener('abort', done);
  });
}

/** A delay for the `attempt`-th reconnection: full jitter between 50 ms and 2 s, so that a fleet does not come at once. */
export function reconnectDelayMs(attempt: number, random: () => number = Math.random): number {
  return 50 + random() * (Math.min(2_000, 100 * 2 ** Math.min(attempt, 6)) - 50);
}
