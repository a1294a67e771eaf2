/** What a look-up of one fact gives. */
export type FactLookup =
  /** Parsed JSON (or bytes), never written to; `dots` are the ids of the writes it stems from. */
  | { readonly kind: 'value'; readonly value: unknown; readonly dots: readonly string[] }
  | { readonly kind: 'absent' }
  /** On disk: ask `load`, then look again. */
  | { readonly kind: 'cold' }
  /** The namespace is not held or still loading, or the entry has unresolved siblings. */
  | { readonly kind: 'error'; readonly message: string };

/** A fact by namespace and the rest of its key. */
export interface FactKey {
  readonly namespace: string;
  readonly key: string;
}

/**
 * One request's view of the facts: synchronous, and repeatable until released. The evaluator states here what it needs;
 * the data plane implements it.
 */
export interface Facts {
  /** @param key without the namespace */
  lookup(namespace: string, key: string): FactLookup;
  /**
   * Reads keys from disk and pins them for this request, so that the next look-up is not cold. From the first call on, in
   * whatever tick look-ups come, all of them see the moment of that call; before it they see the current tick.
   */
  load(keys: readonly FactKey[]): Promise<void>;
  /** Milliseconds since this instance last confirmed that it held all its peers held; undefined: not held. */
  stalenessMs(namespace: string): number | undefined;
  /** Ends the view. Nothing may be read from it afterwards. */
  release(): void;
}

/** One look-up as an evaluation made it. */
export interface RecordedLookup extends FactKey {
  readonly found: Exclude<FactLookup, { readonly kind: 'cold' }>;
}

/** Passes look-ups on and keeps what one pass read. */
export class RecordingFacts {
  readonly lookups: RecordedLookup[] = [];
  /** Keys met that must be loaded before the pass means anything. */
  readonly cold: FactKey[] = [];
  /** Staleness of the namespaces that the policies asked for it. */
  readonly staleness = new Map<string, number | undefined>();
  readonly #facts: Facts;
  #last: (FactKey & { readonly found: FactLookup }) | undefined;

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  lookup(namespace: string, key: string): FactLookup {
    const found = this.#find(namespace, key);
    if (found.kind === 'cold') this.cold.push({ namespace, key });
    else this.lookups.push({ namespace, key, found });
    return found;
  }

  /** Policies test for a key and read it next: the facts of a view do not change in between. */
  #find(namespace: string, key: string): FactLookup {
    const last = this.#last;
    if (last !== undefined && last.key === key && last.namespace === namespace) return last.found;
    const found = this.#facts.lookup(namespace, key);
    this.#last = { namespace, key, found };
    return found;
  }

  stalenessMs(namespace: string): number | undefined {
    const staleness = this.#facts.stalenessMs(namespace);
    this.staleness.set(namespace, staleness);
    return staleness;
  }
}

/** Facts out of a map of full keys, for tests and for deciding without a node. Every namespace is held. */
export function factsFromMap(
  entries: ReadonlyMap<string, unknown>,
  staleness: ReadonlyMap<string, number> = new Map(),
): Facts {
  return {
    lookup(namespace, key) {
      const value = entries.get(`${namespace}.${key}`);
      return value === undefined ? { kind: 'absent' } : { kind: 'value', value, dots: [] };
    },
    load: async () => {},
    stalenessMs: (namespace) => staleness.get(namespace) ?? 0,
    release() {},
  };
}
