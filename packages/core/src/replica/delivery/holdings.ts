import type { Ahead } from '../ahead.ts';
import type { Source } from '../dot.ts';
import type { Commit } from '../events.ts';
import { type Interest, isOfInterest, type NamespaceVector, type VectorReport } from '../exchange/index.ts';
import { headOf } from '../fold.ts';
import type { NamespaceReport } from '../replica.ts';
import { type Head, type Strategy, strategyText } from '../state.ts';
import { DurableHeads } from './durable-heads.ts';

export interface HoldingsOptions {
  readonly origin: string;
  readonly interest: Interest;
  readonly strategyOf: (namespace: string) => Strategy;
  readonly purgedMsOf: (namespace: string) => number;
  /** Whether records of a namespace are held back here for their time. */
  readonly isHoldingBack: (namespace: string) => boolean;
  readonly aheadOf: (namespace: string) => Ahead | undefined;
  /** Whether this instance held all of its interest whole when it stopped, or is alone. */
  readonly isSettled: boolean;
  /** Namespaces that it held whole when it stopped, though others were missing. Default: none. */
  readonly whole?: Iterable<string> | undefined;
  /** Namespaces of which it knew when it stopped that its store is an old copy (`Holdings.goneBack`). Default: none. */
  readonly goneBack?: Iterable<string> | undefined;
  /** As recovered at start, when all that is known is on disk. */
  readonly recovered: readonly Pick<NamespaceReport, 'name' | 'heads'>[];
}

/** What keeps an instance from speaking for a namespace. */
export type Lack = 'not-held' | 'loading';

/**
 * What one instance holds and may tell others: durable heads, which namespaces are whole, and whether all are. Reports
 * are bounded by what is durable, since a crash may take back what is not.
 */
export class Holdings {
  readonly #options: HoldingsOptions;
  readonly #heads: DurableHeads;
  readonly #whole: Set<string>;
  readonly #goneBack: Set<string>;
  #isSettled: boolean;

  constructor(options: HoldingsOptions) {
    this.#options = options;
    this.#heads = new DurableHeads(options.recovered);
    this.#isSettled = options.isSettled;
    this.#whole = new Set(options.isSettled ? this.#heads.names() : options.whole);
    this.#goneBack = new Set(options.goneBack);
  }

  get origin(): string {
    return this.#options.origin;
  }

  /** Whether all of the interest is held whole: then what is absent here is known to be absent. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  names(): readonly string[] {
    return this.#heads.names();
  }

  headsOf(namespace: string): ReadonlyMap<Source, number> {
    return this.#heads.get(namespace);
  }

  holds(namespace: string, source: Source, seq: number): boolean {
    return headOf(this.#heads.get(namespace), source) >= seq;
  }

  isOfInterest(namespace: string): boolean {
    return isOfInterest(this.#options.interest, namespace);
  }

  isWhole(namespace: string): boolean {
    return this.#isSettled || this.#whole.has(namespace);
  }

  /**
   * Why this instance cannot speak for a namespace, where it cannot: it is outside the interest, or some of it is still
   * missing. Then it is not read, since what looks absent may be there; and not written, since a write that has not seen
   * a deletion that all others have forgotten would stand where it lost.
   */
  lackOf(namespace: string): Lack | undefined {
    if (!this.isOfInterest(namespace)) return 'not-held';
    return this.isWhole(namespace) ? undefined : 'loading';
  }

  /**
   * Namespaces that are whole, for the next start: others may wait to load them from here, and nobody else may hold them
   * whole.
   */
  whole(): readonly string[] {
    return this.names().filter((name) => this.isOfInterest(name) && this.isWhole(name));
  }

  /** Namespaces that may not be read yet. */
  loading(): readonly string[] {
    return this.names().filter((name) => !this.isWhole(name));
  }

  /** Commits that readers see. */
  applied(commits: readonly Commit[]): void {
    this.#heads.applied(commits);
  }

  /** Everything up to this commit is on disk. @returns the commits that became durable, in order */
  durable(commit: number): readonly Commit[] {
    return this.#heads.durable(commit);
  }

  /** States came in that reach up to these heads, durably. */
  advanced(namespace: string, heads: readonly Head[]): void {
    this.#heads.advanced(namespace, heads);
  }

  /** All that existed of the namespace when a whole member was asked is here. */
  becameWhole(namespace: string): void {
    this.#whole.add(namespace);
    this.#goneBack.delete(namespace);
  }

  /** This store is an old copy, as a peer knows: what others deleted and forgot since may be in the namespace. */
  wentBack(namespace: string): void {
    if (this.#isSettled) for (const name of this.names()) this.#whole.add(name);
    this.#isSettled = false;
    this.#whole.delete(namespace);
    this.#goneBack.add(namespace);
  }

  /**
   * Namespaces that were whole here until this store was found to be an old copy, and are not whole again. Where nobody
   * holds one whole any more, this instance may speak for it: unlike one that joins, it had all of it once.
   */
  goneBack(): readonly string[] {
    return [...this.#goneBack];
  }

  /** All of the interest is whole. */
  settle(): void {
    this.#isSettled = true;
    this.#goneBack.clear();
  }

  vectorOf(namespace: string): NamespaceVector {
    const strategy = strategyText(this.#options.strategyOf(namespace));
    const purgedMs = this.#options.purgedMsOf(namespace);
    const heads = new Map(this.headsOf(namespace));
    const ahead = this.#options.aheadOf(namespace);
    return {
      strategy,
      isWhole: this.isWhole(namespace),
      heads,
      ...(purgedMs > 0 && { purgedMs }),
      ...(this.#options.isHoldingBack(namespace) && { isHoldingBack: true }),
      ...(ahead && { ahead: copyOf(ahead) }),
    };
  }

  report(): VectorReport {
    const { origin, interest } = this.#options;
    const names = this.names().filter((name) => this.isOfInterest(name));
    const namespaces = new Map(names.map((name) => [name, this.vectorOf(name)]));
    return { origin, interest, isSettled: this.#isSettled, namespaces };
  }

  /** Namespaces that a report names and that are new here: from now on their heads, none yet, are ours to fill. */
  newIn(report: VectorReport): { readonly namespace: string; readonly vector: NamespaceVector }[] {
    const found = [];
    for (const [namespace, { strategy }] of report.namespaces) {
      if (this.headsOf(namespace).size > 0 || !this.isOfInterest(namespace)) continue;
      found.push({ namespace, vector: { strategy, isWhole: false, heads: new Map() } });
    }
    return found;
  }
}

const copyOf = ({ heads, joinedMs }: Ahead): Ahead => ({ heads: new Map(heads), joinedMs: new Map(joinedMs) });
