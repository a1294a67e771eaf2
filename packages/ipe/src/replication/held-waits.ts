import { IpeError } from '@ipe/core';
import type { Heads, Source } from '@ipe/core/replica';

interface Wait {
  readonly source: Source;
  readonly seq: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Those who wait until durable heads reach a record. */
export class HeldWaits {
  readonly #waits = new Map<string, Set<Wait>>();

  /** Resolves at `moved` past the record; rejects at `refused` of its source, or when the signal aborts. */
  until(namespace: string, source: Source, seq: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waits = this.#waits.get(namespace) ?? new Set();
      this.#waits.set(namespace, waits);
      const end = () => {
        waits.delete(wait);
        signal.removeEventListener('abort', aborted);
      };
      const wait: Wait = {
        source,
        seq,
        resolve: () => {
          end();
          resolve();
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      const aborted = () =>
        wait.reject(
          new IpeError('unavailable', `records of ${source.id} in \`${namespace}\` did not get durable in time`),
        );
      waits.add(wait);
      signal.addEventListener('abort', aborted, { once: true });
      if (signal.aborted) aborted();
    });
  }

  moved(namespace: string, heads: Heads): void {
    for (const wait of this.#waits.get(namespace) ?? []) {
      if ((heads.get(wait.source) ?? 0) >= wait.seq) wait.resolve();
    }
  }

  refused(namespace: string, source: Source, message: string): void {
    for (const wait of this.#waits.get(namespace) ?? []) {
      if (wait.source === source) wait.reject(new IpeError('unavailable', message));
    }
  }
}
