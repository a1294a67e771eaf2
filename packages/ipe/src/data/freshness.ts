import { IpeError } from '@ipe/core';
import type { Engine } from './engine.ts';

/** How long a read may wait for a token to be reached. */
const waitMaxMs = 1_000;

/** Lets reads wait until this instance has seen what a freshness token names. */
export class Freshness {
  readonly #engine: Engine;
  readonly #waitMaxMs: number;

  constructor(engine: Engine, options: { readonly waitMaxMs?: number } = {}) {
    this.#engine = engine;
    this.#waitMaxMs = options.waitMaxMs ?? waitMaxMs;
  }

  /** @param tokens one token, or several joined by `,` @throws IpeError `invalid_params` */
  hasSeen(tokens: string): boolean {
    return tokens.split(',').every((token) => {
      const seen = this.#engine.replica.hasSeen(token.trim());
      if (seen === undefined)
        throw new IpeError('invalid_params', '`fresh_as_of` is not a token: use one that a write or an event gave', {
          details: { field: 'fresh_as_of' },
        });
      return seen;
    });
  }

  /**
   * Resolves once everything the tokens name is visible here.
   * @throws IpeError `unavailable` with `stale: true` when that takes longer than the bound; `invalid_params`
   */
  reached(tokens: string, signal?: AbortSignal): Promise<void> {
    if (this.hasSeen(tokens)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const end = (error?: IpeError) => {
        clearTimeout(timer);
        stop();
        signal?.removeEventListener('abort', onAbort);
        if (error === undefined) resolve();
        else reject(error);
      };
      const onAbort = () => end(new IpeError('unavailable', 'the request was given up'));
      const stop = this.#engine.onApplied(() => {
        if (this.hasSeen(tokens)) end();
      });
      const timer = setTimeout(
        () =>
          end(
            new IpeError('unavailable', `this instance has not seen \`${tokens}\` within ${this.#waitMaxMs} ms`, {
              details: { cause: 'stale', stale: true, fresh_as_of: tokens },
            }),
          ),
        this.#waitMaxMs,
      );
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
