/**
 * The ordered key-value store that both the policy tree and the facts are kept in.
 *
 * Backends are dumb on purpose: families of byte keys in byte order, one atomic batch over any of them, snapshots,
 * and durability as a step of its own, so that the callers decide what gathers behind one sync.
 * Every backend passes `runKvConformance` of `@ipe/core/testkit`.
 */
export interface Kv<Family extends string = string> extends KvRead<Family> {
  /** The families named at open; touching another is a TypeError. */
  readonly families: readonly Family[];

  /**
   * Applies all operations, or none, in order, and makes them visible to reads that start afterwards.
   * Not durable until a later `sync` resolves. Batches take effect in the order of the calls.
   * The keys and values stay the caller's, who leaves them as they are until the promise settles.
   * @throws IpeError `unavailable` when the disk is full or the store is fenced after a failed sync; nothing is applied.
   */
  write(operations: readonly KvOperation<Family>[]): Promise<void>;

  /**
   * Makes every batch whose `write` has resolved before this call durable (fdatasync of the write-ahead log; nothing to
   * do in memory). Concurrent calls may share one sync.
   * @throws IpeError `unavailable`; the store then refuses writes until reopened (state `unknown` for unsynced batches).
   */
  sync(): Promise<void>;

  /**
   * Tries to take writes again after the store ran out of room. Does nothing where it takes writes already. Batches that
   * had failed may turn out to be there, up to one of them; everything whose `write` had resolved is there, unless the
   * disk lost it, which the caller finds out by looking. Snapshots and iterations under way may end with `unavailable`.
   * @throws IpeError `unavailable` while there is no room, and for good where the disk failed otherwise: the store then
   *   waits for a restart, because somebody should look at that disk first
   */
  recover(): Promise<void>;

  /** A consistent view of all families as of now. The caller closes it. */
  snapshot(): KvSnapshot<Family>;

  /** Approximate bytes on disk (or in memory), by family where the backend can tell. */
  size(): Promise<{ readonly totalBytes: number; readonly families?: Readonly<Partial<Record<Family, number>>> }>;

  /** Asks the backend to reclaim space in a family or range; may do nothing. */
  compact(family: Family, range?: KvRange): Promise<void>;

  /** Waits for writes under way and releases the store. Idempotent. Use after close is an `unavailable` error. */
  close(): Promise<void>;
}

/** Reads, on the live store or on a snapshot. Returned arrays belong to the caller. */
export interface KvRead<Family extends string = string> {
  get(family: Family, key: Uint8Array): Promise<Uint8Array | undefined>;
  /** Values in the order of `keys`; one trip to the backend. */
  getMany(family: Family, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  /**
   * Entries of a range in byte order (or reversed), as of the first step: batches whose `write` resolved before it are
   * seen, ones written after the first entry arrived are not. Safe to write meanwhile.
   * A step after the store or snapshot was closed is an `unavailable` error.
   */
  entries(family: Family, range?: KvRange): AsyncIterable<KvEntry>;
}

export interface KvSnapshot<Family extends string = string> extends KvRead<Family> {
  /** Releases the view. Idempotent. */
  close(): Promise<void>;
}

export type KvEntry = readonly [key: Uint8Array, value: Uint8Array];

/** Bounds on byte keys; absent bounds are open. */
export interface KvRange {
  readonly gt?: Uint8Array;
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  readonly lte?: Uint8Array;
  readonly reverse?: boolean;
  /** At most this many entries. */
  readonly limit?: number;
  /**
   * `bytes`, the default, is the order of the keys. `store` is whatever order the backend keeps, for readers that only
   * need every entry once: `gt` then means behind that key in that order, and the other bounds must enclose all keys
   * with a common beginning. The two are the same but in a sealed store, where only `store` order streams a large range.
   */
  readonly order?: 'bytes' | 'store';
  /**
   * Told of each row that the store cannot make sense of, which is then passed over. Absent: the iteration ends with
   * `corrupt`. Damage that hides more than a row ends it either way.
   */
  readonly onDamaged?: (error: unknown) => void;
}

export type KvOperation<Family extends string = string> =
  | { readonly type: 'put'; readonly family: Family; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly family: Family; readonly key: Uint8Array };
