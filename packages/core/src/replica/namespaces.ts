import { StatesAhead } from './ahead.ts';
import type { Cell } from './cell.ts';
import type { Source } from './dot.ts';
import { isFolded } from './fold.ts';
import { isReserved } from './key.ts';
import type { NamespaceRow } from './metadata.ts';
import type { RecoveredNamespace } from './recovery.ts';
import { isTombstone, type View } from './resolve.ts';
import { type Head, type Strategy, strategyText } from './state.ts';
import type { Failure } from './write.ts';

/** Namespaces that clients may create (DESIGN §4). */
export const namespacesMax = 64;

/** Numbers about a namespace that commits keep exact. */
export interface NamespaceStats {
  readonly entries: number;
  readonly tombstones: number;
  /** Bytes of keys and values. */
  readonly bytes: number;
}

const nothingRecovered: RecoveredNamespace = { row: undefined, heads: new Map() };

/** What a replica knows of one namespace. */
export class Namespace {
  readonly name: string;
  readonly strategy: Strategy;
  /** Why it can be neither read nor written, where it cannot. */
  readonly problem: Failure | undefined;
  /** Highest version purged. */
  floor: number;
  /** Latest hybrid milliseconds of what was purged. */
  purgedMs: number;
  /** First commit behind the states that last came in without records, whether or not there is one yet; 0: none came in. */
  joined: number;
  /** How often states came in since the start. */
  joins = 0;
  /** As of the last batch that is committed. */
  committed: NamespaceStats;
  /** As of the last batch that was handed out. */
  sealed: NamespaceStats;
  /** By source: the record up to which all are committed. */
  readonly heads: Map<Source, number>;
  /** By source: the record up to which all are admitted, committed or not. */
  readonly admitted: Map<Source, number>;
  /** What states show beyond the vector. Nothing that was admitted is taken back: told in excess, it does no harm. */
  readonly ahead = new StatesAhead();

  constructor(name: string, strategy: Strategy, { row, heads, ahead }: RecoveredNamespace = nothingRecovered) {
    this.name = name;
    this.strategy = strategy;
    this.floor = row?.floor ?? 0;
    this.purgedMs = row?.purgedMs ?? 0;
    this.joined = row?.joined ?? 0;
    this.committed = this.sealed = {
      entries: row?.entries ?? 0,
      tombstones: row?.tombstones ?? 0,
      bytes: row?.bytes ?? 0,
    };
    this.heads = new Map(heads);
    this.admitted = new Map(heads);
    if (ahead !== undefined) this.ahead.add(ahead, this.heads);
    if (row !== undefined && row.strategy !== strategyText(strategy) && row.strategy.split('/')[0] !== strategy.kind)
      this.problem = {
        reason: 'unavailable',
        message: `namespace \`${name}\` holds \`${row.strategy}\` facts, but \`${strategyText(strategy)}\` is configured; set \`conflict_strategy\` back, or export and import it`,
        details: { namespace: name, stored: row.strategy, configured: strategyText(strategy) },
      };
  }

  /** Folded entries of the vector. */
  folds(): readonly Head[] {
    const folds: Head[] = [];
    for (const [source, seq] of this.heads) if (isFolded(seq)) folds.push({ source, seq });
    return folds;
  }

  row(): NamespaceRow {
    return {
      strategy: strategyText(this.strategy),
      floor: this.floor,
      purgedMs: this.purgedMs,
      joined: this.joined,
      ...this.sealed,
    };
  }

  /** Goes on from what the store holds: nothing is admitted beyond it. */
  adopt({ row, heads, ahead }: RecoveredNamespace): void {
    if (row !== undefined) {
      this.floor = row.floor;
      this.purgedMs = row.purgedMs;
      this.joined = row.joined;
      this.committed = { entries: row.entries, tombstones: row.tombstones, bytes: row.bytes };
    }
    this.heads.clear();
    for (const [source, seq] of heads) this.heads.set(source, seq);
    if (ahead !== undefined) this.ahead.add(ahead, this.heads);
    this.rollBack();
  }

  /** Forgets what was admitted and not committed. */
  rollBack(): void {
    this.sealed = this.committed;
    this.admitted.clear();
    for (const [source, seq] of this.heads) this.admitted.set(source, seq);
  }
}

/** The namespaces of a replica, created by the first write. */
export class Namespaces {
  readonly #byName = new Map<string, Namespace>();
  readonly #strategyOf: (namespace: string) => Strategy;

  constructor(strategyOf: (namespace: string) => Strategy) {
    this.#strategyOf = strategyOf;
  }

  get(name: string): Namespace | undefined {
    return this.#byName.get(name);
  }

  strategyOf(name: string): Strategy {
    return this.#byName.get(name)?.strategy ?? this.#strategyOf(name);
  }

  restore(name: string, recovered: RecoveredNamespace): void {
    this.#byName.set(name, new Namespace(name, this.#strategyOf(name), recovered));
  }

  /** Brings a namespace to what the store holds of it. */
  adopt(name: string, recovered: RecoveredNamespace): void {
    const known = this.#byName.get(name);
    if (known === undefined) this.restore(name, recovered);
    else known.adopt(recovered);
  }

  /** The namespace, made if there is room for it. */
  open(name: string): Namespace | Failure {
    const known = this.#byName.get(name);
    if (known !== undefined) return known.problem ?? known;
    if (!isReserved(name) && this.names().filter((each) => !isReserved(each)).length >= namespacesMax)
      return {
        reason: 'too_large',
        message: `there are ${namespacesMax} namespaces already, and \`${name}\` would be one more; use segments of the key instead`,
        details: { namespace: name, max_namespaces: namespacesMax },
      };
    const made = new Namespace(name, this.#strategyOf(name));
    this.#byName.set(name, made);
    return made;
  }

  names(): string[] {
    return [...this.#byName.keys()].sort();
  }

  [Symbol.iterator](): Iterator<Namespace> {
    return this.#byName.values();
  }
}

/** Statistics of a namespace while a batch is sealed. */
export class Tally implements NamespaceStats {
  entries: number;
  tombstones: number;
  bytes: number;

  constructor({ entries, tombstones, bytes }: NamespaceStats) {
    this.entries = entries;
    this.tombstones = tombstones;
    this.bytes = bytes;
  }

  /** A cell took another's place. */
  change(key: string, before: Cell, after: Cell): void {
    this.#count(key, before, -1);
    this.#count(key, after, 1);
  }

  #count(key: string, cell: Cell, sign: 1 | -1): void {
    const { state } = cell;
    if (state === undefined) return;
    // A single version reads as it stands: no view is made, and then kept, for every write.
    const shown = state.kind === 'version' ? state : cell.view!;
    const isAbsent = shown.kind === 'version' ? isTombstone(shown) : shown.kind === 'absent';
    if (isAbsent) this.tombstones += sign;
    else this.entries += sign;
    this.bytes += sign * (key.length + contentBytes(shown));
    if ('siblings' in shown) for (const sibling of shown.siblings) this.bytes += sign * contentBytes(sibling);
  }
}

function contentBytes({ json, bytes }: Pick<View, 'json' | 'bytes'>): number {
  return json?.length ?? bytes?.length ?? 0;
}
