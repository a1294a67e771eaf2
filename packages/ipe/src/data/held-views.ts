import { randomBytes } from 'node:crypto';
import { IpeError } from '@ipe/core';
import type { DataFamily } from '@ipe/core/replica';
import type { KvSnapshot } from '@ipe/core/store';

interface Held<View> {
  readonly view: View;
  timer: NodeJS.Timeout;
}

/**
 * Views of the store that requests come back to by name. One that is not asked for is let go after a while, as a snapshot
 * keeps what was deleted since from leaving the disk.
 */
export class HeldViews<View extends { readonly rows: KvSnapshot<DataFamily> }> {
  readonly #held = new Map<string, Held<View>>();
  /** What people call them, such as `backups`. */
  readonly #what: string;
  readonly #idleMs: number;
  readonly #most: number;

  constructor(options: { readonly what: string; readonly idleMs: number; readonly most: number }) {
    this.#what = options.what;
    this.#idleMs = options.idleMs;
    this.#most = options.most;
  }

  /**
   * Holds the view that `take` gives.
   * @returns its name, which cannot be guessed
   * @throws IpeError `unavailable` while there are too many
   */
  hold(take: () => View): string {
    if (this.#held.size >= this.#most)
      throw new IpeError('unavailable', `${this.#most} ${this.#what} are under way already; try again later`);
    const name = randomBytes(9).toString('base64url');
    this.#held.set(name, { view: take(), timer: this.#letGoLater(name) });
    return name;
  }

  /** A view that is held, from now on for its full time again. */
  get(name: string): View | undefined {
    const held = this.#held.get(name);
    if (held === undefined) return undefined;
    clearTimeout(held.timer);
    held.timer = this.#letGoLater(name);
    return held.view;
  }

  /** Lets a view go; one that is not held is gone already. */
  release(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    this.#held.delete(name);
    clearTimeout(held.timer);
    // A store that was closed meanwhile has closed its snapshots.
    void held.view.rows.close().catch(() => {});
  }

  #letGoLater(name: string): NodeJS.Timeout {
    return setTimeout(() => this.release(name), this.#idleMs).unref();
  }
}
