import { IpeError } from '@ipe/core';

/**
 * Whether a client has gone away before its answer was sent. Nearly every request is answered without anyone asking, and
 * an AbortController costs more than the rest of a small request: it is made when first looked at.
 */
export class Departure {
  #controller: AbortController | undefined;
  #isGone = false;

  /** Aborted when the client goes away. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isGone) this.#controller.abort(goneAway());
    }
    return this.#controller.signal;
  }

  /** The client is gone. */
  leave(): void {
    this.#isGone = true;
    this.#controller?.abort(goneAway());
  }
}

const goneAway = () => new IpeError('unavailable', 'the client is gone');
