import type { Cell } from './cell.ts';
import type { ReplicaEffect } from './events.ts';
import type { States } from './states.ts';
import type { Failure } from './write.ts';

interface PendingRead {
  readonly keys: readonly string[];
  readonly cells: Map<string, Cell>;
}

const noCells: ReadonlyMap<string, Cell> = new Map();

/** Readers that wait for rows which are not in memory. Each is answered once, with all its keys or a failure. */
export class PendingReads {
  readonly #states: States;
  readonly #emit: (effect: ReplicaEffect) => void;
  readonly #waiting = new Map<number, PendingRead>();

  constructor(states: States, emit: (effect: ReplicaEffect) => void) {
    this.#states = states;
    this.#emit = emit;
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  /** Answers at once where all is in memory; else wants the rows that are not. */
  ask(id: number, keys: readonly string[]): void {
    this.#waiting.set(id, { keys, cells: new Map() });
    this.#answer(id, noCells);
  }

  /** @param fresh what was just loaded, which memory may have had no room for */
  loaded(fresh: ReadonlyMap<string, Cell>): void {
    for (const id of [...this.#waiting.keys()]) this.#answer(id, fresh);
  }

  /** The store could not be read: all that wait are told. */
  fail(failure: Failure): void {
    for (const id of this.#waiting.keys()) this.#emit({ type: 'fetched', id, cells: noCells, failure });
    this.#waiting.clear();
  }

  #answer(id: number, fresh: ReadonlyMap<string, Cell>): void {
    const { keys, cells } = this.#waiting.get(id)!;
    let isWhole = true;
    for (const key of keys) {
      if (cells.has(key)) continue;
      const failure = this.#states.refusalOf(key);
      if (failure !== undefined) {
        this.#waiting.delete(id);
        this.#emit({ type: 'fetched', id, cells, failure });
        return;
      }
      const cell = this.#states.peek(key) ?? fresh.get(key);
      if (cell !== undefined) cells.set(key, cell);
      else {
        isWhole = false;
        this.#states.loads.want(key);
      }
    }
    if (!isWhole) return;
    this.#waiting.delete(id);
    this.#emit({ type: 'fetched', id, cells });
  }
}
