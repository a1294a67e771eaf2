import type { Batch } from './batch.ts';
import { CellCache } from './cache.ts';
import type { Cell } from './cell.ts';
import type { Source } from './dot.ts';
import { type Held, joinHeld } from './forgotten.ts';
import { namespaceOf } from './key.ts';
import { Loads } from './loads.ts';
import type { Namespace } from './namespaces.ts';
import type { LogRecord } from './record.ts';
import type { Failure } from './write.ts';

/** A key whose write is not committed yet. */
interface Pending {
  /** What readers see until it is; undefined where the row that it mends is damaged. */
  readonly committed: Cell | undefined;
  /** What the next write is judged against. */
  latest: Cell;
  /** The last batch that touches the key. */
  batch: number;
  /** The record of the last write, while a later one may join it. */
  record: LogRecord | undefined;
}

/**
 * The cells of a replica: committed ones in a bounded cache, pending ones above them, and those that waiting arrivals
 * need held in between.
 */
export class States {
  readonly loads = new Loads();
  readonly #cache: CellCache;
  readonly #pending = new Map<string, Pending>();
  readonly #held = new Map<string, Cell>();
  /** What readers see of keys whose write failed, while the store may hold the failed write. */
  readonly #shadowed = new Map<string, Cell>();
  readonly #damaged = new Map<string, Failure>();
  /** By damaged key: records that wrote to it since and were left out there, the last of each source. */
  readonly #leftOut = new Map<string, Map<Source, number>>();
  /** By damaged key: what transfers of states have shown of it since. It does not come again, also after a failed write. */
  readonly #aside = new Map<string, Held>();

  constructor(cacheBytesMax: number) {
    this.#cache = new CellCache(cacheBytesMax);
  }

  get cacheBytes(): number {
    return this.#cache.sizeBytes;
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** The committed cell, if it is in memory. */
  peek(key: string): Cell | undefined {
    if (this.#pending.size > 0) {
      const pending = this.#pending.get(key);
      if (pending !== undefined) return pending.committed;
    }
    if (this.#shadowed.size > 0) {
      const committed = this.#shadowed.get(key);
      if (committed !== undefined) return committed;
    }
    return this.#cache.get(key);
  }

  /** The cell that the next write of the key meets. The key must be at hand and sound. */
  latest(key: string): Cell {
    return this.#pending.get(key)?.latest ?? this.#cache.get(key) ?? this.#held.get(key)!;
  }

  pending(key: string): Readonly<Pending> | undefined {
    return this.#pending.get(key);
  }

  /** Why nothing can be judged against a key, if so: its row is damaged, and nothing that mends it is pending. */
  damageOf(key: string): Failure | undefined {
    return this.#damaged.size === 0 || this.#pending.has(key) ? undefined : this.#damaged.get(key);
  }

  /** Why readers are refused a key, if they are: until what mends its row is committed. */
  refusalOf(key: string): Failure | undefined {
    return this.#damaged.get(key);
  }

  /** Whether a row of a namespace is known to be damaged. */
  hasDamage(namespace: string): boolean {
    for (const key of this.#damaged.keys()) if (namespaceOf(key) === namespace) return true;
    return false;
  }

  /**
   * Whether the latest cell is in memory; if not, its row joins the next load.
   * @param hold keeps it until `release`: an arrival of many keys needs all of them at once, and reading one from the
   *   cache may push another out
   */
  isAtHand(key: string, hold: boolean): boolean {
    if (hold && !this.#pending.has(key) && !this.#held.has(key)) {
      const cell = this.#cache.get(key);
      if (cell !== undefined) this.#held.set(key, cell);
      else if (!this.#damaged.has(key)) {
        this.loads.want(key);
        return false;
      }
      return true;
    }
    if (this.#pending.has(key) || this.#cache.has(key) || this.#held.has(key) || this.#damaged.has(key)) return true;
    this.loads.want(key);
    return false;
  }

  /** Takes in a row that was read. @param hold keeps it until `release`, whatever the cache drops */
  install(key: string, cell: Cell, hold: boolean): void {
    this.#cache.set(key, cell);
    if (hold) this.#held.set(key, cell);
  }

  /** Remembers that a row does not decode: it is reported on every use and never taken for absent. */
  damage(key: string, failure: Failure): void {
    this.#damaged.set(key, failure);
  }

  /** A record writes to a damaged row: what it does there is to come with what mends the row. */
  leaveOut(key: string, { source, seq }: Pick<LogRecord, 'source' | 'seq'>): void {
    let records = this.#leftOut.get(key);
    if (records === undefined) this.#leftOut.set(key, (records = new Map()));
    records.set(source, Math.max(seq, records.get(source) ?? 0));
  }

  /** What was left out of a damaged row: whoever mends it must hold all that. */
  leftOutOf(key: string): ReadonlyMap<Source, number> | undefined {
    return this.#leftOut.get(key);
  }

  /** A transfer of states shows a key whose row is damaged: that is to be joined in with what mends the row. */
  setAside(key: string, shown: Held): void {
    this.#aside.set(key, this.withAside(key, shown));
  }

  /** A state for a key together with what was set aside for it. */
  withAside(key: string, shown: Held): Held {
    const aside = this.#aside.get(key);
    return aside === undefined ? shown : joinHeld(aside, shown);
  }

  release(): void {
    this.#held.clear();
  }

  /** Puts a new cell above the present one, to be committed with `batch`. In the place of a damaged row it mends that. */
  put(batch: Batch, namespace: Namespace, key: string, before: Cell, after: Cell, record: LogRecord | undefined): void {
    this.loads.strike(key);
    const pending = this.#pending.get(key);
    if (pending === undefined) {
      const committed = this.refusalOf(key) === undefined ? before : undefined;
      this.#pending.set(key, { committed, latest: after, batch: batch.number, record });
    } else {
      pending.latest = after;
      pending.batch = batch.number;
      pending.record = record;
    }
    const touched = batch.cells.get(key);
    if (touched === undefined) batch.cells.set(key, { namespace, before, after });
    else touched.after = after;
  }

  /** The batch is committed: in one go, readers see its cells. */
  commit(batch: Batch): void {
    for (const [key, { after }] of batch.cells) {
      this.#damaged.delete(key);
      this.#leftOut.delete(key);
      this.#aside.delete(key);
      const pending = this.#pending.get(key);
      if (pending !== undefined && pending.batch > batch.number)
        this.#pending.set(key, { ...pending, committed: after });
      else {
        this.#pending.delete(key);
        this.#cache.set(key, after);
        if (this.#held.has(key)) this.#held.set(key, after);
      }
    }
  }

  /** Forgets every committed cell: the store is read anew. Nothing is pending. */
  clear(): void {
    this.#shadowed.clear();
    this.#cache.clear();
    this.#held.clear();
    this.#damaged.clear();
    this.#leftOut.clear();
  }

  /** Forgets everything that is pending. Readers go on to see what it was judged against, whatever the store has. */
  rollBack(): void {
    for (const [key, { committed }] of this.#pending) if (committed !== undefined) this.#shadowed.set(key, committed);
    this.#pending.clear();
  }

  /** The store is known again: its rows count. */
  unveil(): void {
    for (const [key, committed] of this.#shadowed) this.#cache.set(key, committed);
    this.#shadowed.clear();
  }

  /**
   * Committed cells of the keys that are being written, or whose write failed and may be in the store; undefined where the
   * row that is being mended is damaged.
   */
  uncommitted(): ReadonlyMap<string, Cell | undefined> {
    const cells = new Map<string, Cell | undefined>();
    for (const [key, committed] of this.#shadowed) cells.set(key, committed);
    for (const [key, { committed }] of this.#pending) cells.set(key, committed);
    return cells;
  }
}
