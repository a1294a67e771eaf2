import type { Failure } from '@ipe/core/replica';

/** A row of `live` that does not tell what its key holds. */
export interface Damage {
  readonly namespace: string;
  /** Absent where the row does not even tell its key: a sealed one. */
  readonly key: string | undefined;
  readonly failure: Failure;
}

/**
 * Damaged rows that were met, for operators and for whoever mends them from another member. A row is told of once, and
 * forgotten when a sound one takes its place.
 */
export class DamageList {
  readonly #rows = new Map<string, Damage>();
  readonly #listeners = new Set<(damage: Damage) => void>();

  /** Damaged rows met and not mended since. */
  get count(): number {
    return this.#rows.size;
  }

  list(): readonly Damage[] {
    return [...this.#rows.values()];
  }

  /** Calls `listener` when a damaged row is met for the first time. @returns how to stop */
  onMet(listener: (damage: Damage) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  met(damage: Damage): void {
    const id = idOf(damage);
    if (this.#rows.has(id)) return;
    this.#rows.set(id, damage);
    for (const listener of this.#listeners) listener(damage);
  }

  /** A walk over all rows of a namespace has ended: of those that do not tell their keys, these are what is left. */
  walked(namespace: string, met: readonly Damage[]): void {
    const left = new Set(met.map(idOf));
    for (const [id, damage] of this.#rows)
      if (damage.namespace === namespace && damage.key === undefined && !left.has(id)) this.#rows.delete(id);
  }

  /** Sound rows took the place of whatever these keys had. */
  mended(keys: Iterable<string>): void {
    if (this.#rows.size > 0) for (const key of keys) this.#rows.delete(key);
  }
}

const idOf = ({ key, failure }: Damage) => key ?? String(failure.details?.['row']);
