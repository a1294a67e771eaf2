import type { Source } from '../dot.ts';
import type { Missing } from './vectors.ts';

interface Wait {
  /** The last record that was missing when the wait began. */
  readonly upTo: number;
  readonly sinceMs: number;
}

/**
 * What a message plane is expected to bring. While one delivers, a record that a peer reports is mostly on its way here
 * already, and pulling it would have it carried, checked and joined twice. So it is pulled once it has been missing for
 * a grace period, or at once where the plane is known to have left it out.
 */
export class Awaited {
  readonly #graceMs: number;
  /** By namespace and source. */
  readonly #waits = new Map<string, Map<Source, Wait>>();
  /** Namespaces and origins of which the plane has left something out. */
  readonly #leftOut = new Set<string>();
  /** Whether a plane is there and in reach. */
  isDelivering = false;

  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /** Records of an origin do not come over the plane. */
  leftOut(namespace: string, origin: string): void {
    this.#leftOut.add(`${namespace}/${origin}`);
  }

  /** Something of an origin was pulled. */
  pulled(namespace: string, origin: string): void {
    this.#leftOut.delete(`${namespace}/${origin}`);
  }

  /** The record up to which what is missing of a source is to be pulled now; `after` where nothing is. */
  due(namespace: string, { source, after, upTo }: Missing, nowMs: number): number {
    if (!this.isDelivering || this.#leftOut.has(`${namespace}/${source.origin}`)) return upTo;
    let waits = this.#waits.get(namespace);
    if (waits === undefined) this.#waits.set(namespace, (waits = new Map()));
    const wait = waits.get(source);
    // What came meanwhile ends the wait for it, and a clock that has stepped back begins it anew.
    if (wait === undefined || wait.upTo <= after || wait.sinceMs > nowMs) {
      waits.set(source, { upTo, sinceMs: nowMs });
      return after;
    }
    return wait.sinceMs + this.#graceMs <= nowMs ? Math.min(upTo, wait.upTo) : after;
  }
}
