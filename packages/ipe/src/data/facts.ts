import type { FactKey, FactLookup, Facts } from '@ipe/core/eval';
import { type Cell, isReserved } from '@ipe/core/replica';
import type { Applied, Engine } from './engine.ts';

const absent: FactLookup = { kind: 'absent' };
const cold: FactLookup = { kind: 'cold' };

/** A value with the names of the writes it stems from made only if a receipt asks. */
class FactValue {
  readonly kind = 'value';
  readonly value: unknown;
  readonly #cell: Cell;

  constructor(cell: Cell) {
    this.#cell = cell;
    this.value = cell.value;
  }

  get dots(): readonly string[] {
    return this.#cell.dots;
  }
}

/**
 * The facts as one request sees them: all as of one moment, the one at which it first had to wait for the disk. Until
 * then it reads what is current, in one tick, which is one moment as well. From then on every commit leaves the cell it
 * replaces with the views that are open.
 */
class EngineFacts implements Facts {
  readonly #engine: Engine;
  readonly #nowMs: number;
  /** Cells as of the view's moment, where they are not current any more or not in memory. */
  #pinned: Map<string, Cell> | undefined;
  #stop: (() => void) | undefined;

  constructor(engine: Engine, nowMs: number) {
    this.#engine = engine;
    this.#nowMs = nowMs;
  }

  lookup(namespace: string, key: string): FactLookup {
    const fullKey = `${namespace}.${key}`;
    const cell = this.#pinned?.get(fullKey) ?? this.#engine.replica.peek(fullKey);
    // While a namespace is being loaded, a part of it in memory would pass for all of it.
    if (cell === undefined || this.#engine.isClustered) {
      const answer = this.#withoutCell(namespace);
      if (cell === undefined || answer.kind === 'error') return answer;
    }
    const kind = cell.kindAt(this.#nowMs);
    if (kind === 'absent') return absent;
    if (kind === 'siblings')
      return { kind: 'error', message: `\`${fullKey}\` has several values written side by side` };
    if (isReserved(namespace)) return reserved(namespace);
    return new FactValue(cell);
  }

  #withoutCell(namespace: string): FactLookup {
    if (isReserved(namespace)) return reserved(namespace);
    const problem = this.#engine.problemOf(namespace);
    return problem === undefined ? cold : { kind: 'error', message: problem.message };
  }

  async load(keys: readonly FactKey[]): Promise<void> {
    // In the tick of the pass that met the cold keys: from here on the view stands still.
    const pinned = (this.#pinned ??= new Map());
    this.#stop ??= this.#engine.onApplied((applied) => this.#keep(applied));
    const fullKeys = keys.map(({ namespace, key }) => `${namespace}.${key}`);
    const cells = await this.#engine.getMany(fullKeys);
    for (const [key, cell] of cells) if (!pinned.has(key)) pinned.set(key, cell);
  }

  #keep({ cells }: Applied): void {
    for (const [key, { before }] of cells) if (!this.#pinned!.has(key)) this.#pinned!.set(key, before);
  }

  stalenessMs(namespace: string): number | undefined {
    return this.#engine.problemOf(namespace) === undefined ? this.#engine.stalenessMs(namespace) : undefined;
  }

  release(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#pinned = undefined;
  }
}

function reserved(namespace: string): FactLookup {
  return { kind: 'error', message: `\`${namespace}\` is IPE's own` };
}

/**
 * Opens a request's view of the facts. The caller releases it.
 * @param nowMs the request's `now`: what is expired by then is absent
 */
export function openFacts(engine: Engine, nowMs: number): Facts {
  return new EngineFacts(engine, nowMs);
}
