/** How an `LruCache` is bounded. */
export interface LruOptions<Value> {
  /** Sum of `sizeOf` over all entries; 0 keeps nothing. */
  readonly maxBytes: number;
  /** Entries unused for longer are dropped. */
  readonly maxAgeMs: number;
  /** Bytes an entry counts for. */
  readonly sizeOf: (value: Value) => number;
  /** Monotonic clock, milliseconds. */
  readonly now: () => number;
}

/** What a cache has done so far. */
export interface LruCounters {
  readonly entries: number;
  readonly bytes: number;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
}

interface Slot<Value> {
  readonly value: Value;
  readonly bytes: number;
  usedAtMs: number;
}

/**
 * Least-recently-used cache, bounded by bytes and by age since last use.
 *
 * Ages are looked at when the cache is touched; it owns no timer. Values are shared with the caller, never copied.
 *
 * @example
 * const plans = new LruCache<string, Plan>({ maxBytes: 10_000_000, maxAgeMs: 300_000, sizeOf: (plan) => plan.bytes, now });
 */
export class LruCache<Key, Value> {
  readonly #options: LruOptions<Value>;
  /** In order of last use, oldest first: a `Map` iterates as it was inserted. */
  readonly #slots = new Map<Key, Slot<Value>>();
  #bytes = 0;
  #hits = 0;
  #misses = 0;
  #evictions = 0;

  constructor(options: LruOptions<Value>) {
    this.#options = options;
  }

  get(key: Key): Value | undefined {
    const slot = this.#slots.get(key);
    const nowMs = this.#options.now();
    if (slot === undefined || nowMs - slot.usedAtMs > this.#options.maxAgeMs) {
      if (slot !== undefined) this.#expire(nowMs);
      this.#misses++;
      return undefined;
    }
    this.#hits++;
    slot.usedAtMs = nowMs;
    this.#slots.delete(key);
    this.#slots.set(key, slot);
    return slot.value;
  }

  /** Keeps a value, dropping older ones to make room. One larger than the whole cache is not kept. */
  set(key: Key, value: Value): void {
    this.delete(key);
    const nowMs = this.#options.now();
    this.#expire(nowMs);
    const bytes = this.#options.sizeOf(value);
    if (bytes > this.#options.maxBytes || this.#options.maxBytes === 0) return;
    this.#slots.set(key, { value, bytes, usedAtMs: nowMs });
    this.#bytes += bytes;
    for (const [oldest, slot] of this.#slots) {
      if (this.#bytes <= this.#options.maxBytes) break;
      this.#drop(oldest, slot);
    }
  }

  delete(key: Key): boolean {
    const slot = this.#slots.get(key);
    if (slot === undefined) return false;
    this.#slots.delete(key);
    this.#bytes -= slot.bytes;
    return true;
  }

  clear(): void {
    this.#slots.clear();
    this.#bytes = 0;
  }

  counters(): LruCounters {
    this.#expire(this.#options.now());
    const { maxBytes, maxAgeMs } = this.#options;
    return {
      entries: this.#slots.size,
      bytes: this.#bytes,
      maxBytes,
      maxAgeMs,
      hits: this.#hits,
      misses: this.#misses,
      evictions: this.#evictions,
    };
  }

  #expire(nowMs: number): void {
    for (const [key, slot] of this.#slots) {
      if (nowMs - slot.usedAtMs <= this.#options.maxAgeMs) break;
      this.#drop(key, slot);
    }
  }

  #drop(key: Key, slot: Slot<Value>): void {
    this.#slots.delete(key);
    this.#bytes -= slot.bytes;
    this.#evictions++;
  }
}
