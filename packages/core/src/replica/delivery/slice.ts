import type { Source } from '../dot.ts';
import type { Head } from '../state.ts';

/** A part of a source's log: encoded records in order, contiguous from the one asked for. */
export interface LogSlice {
  readonly records: readonly Uint8Array[];
  /** Sequence number of the last one; `after` where there are none. */
  readonly upTo: number;
  /** The log does not hold the record after `after` any more, or not yet. */
  readonly isTrimmed: boolean;
}

/** Records `after < seq <= upTo` of a source. */
export interface LogRange {
  readonly namespace: string;
  readonly source: Source;
  readonly after: number;
  readonly upTo: number;
}

/** Gathers a slice from rows of the log, up to about `bytesMax` (one record at least). A hole ends it. */
export class SliceGatherer {
  readonly #range: Pick<LogRange, 'after' | 'upTo'>;
  readonly #bytesMax: number;
  readonly #records: Uint8Array[] = [];
  #seq: number;
  #bytes = 0;

  constructor(range: Pick<LogRange, 'after' | 'upTo'>, bytesMax: number) {
    this.#range = range;
    this.#bytesMax = bytesMax;
    this.#seq = range.after;
  }

  /** Takes the next row in order. @returns whether another may follow */
  take(seq: number, record: Uint8Array): boolean {
    if (seq !== this.#seq + 1) return false;
    this.#records.push(record);
    this.#seq = seq;
    this.#bytes += record.length;
    return this.#bytes < this.#bytesMax && seq < this.#range.upTo;
  }

  slice(): LogSlice {
    const { after, upTo } = this.#range;
    return { records: this.#records, upTo: this.#seq, isTrimmed: this.#records.length === 0 && upTo > after };
  }
}

/** States of a namespace, a page of them, as another member joins them in. */
export interface SnapshotPage {
  /** What the states of this page and all later ones hold at least, and the highest version purged. */
  readonly heads: readonly Head[];
  readonly floor: number;
  /**
   * Records that the giver holds back for their time: what the heads say is in the states or among them. All of them come
   * before any row, so that one that is applied meanwhile is in the rows.
   */
  readonly held: readonly Uint8Array[];
  /** Place of the last of those, where more follow. */
  readonly heldUpTo: string | undefined;
  /** Rows of `live`, in order of their keys. */
  readonly rows: readonly SnapshotRow[];
  readonly isLast: boolean;
  /** Where a page of chosen rows goes on: behind this key. Absent: behind its last row. */
  readonly next?: string;
}

export interface SnapshotRow {
  readonly key: string;
  readonly row: Uint8Array;
}

/**
 * Gathers a page from rows of `live`. Heads must have been read before the first row is: what they say is in the rows. The
 * floor is read behind the last: what was purged meanwhile is not in them.
 */
export class PageGatherer {
  readonly #heads: readonly Head[];
  readonly #floorOf: () => number;
  readonly #bytesMax: number;
  readonly #rows: SnapshotRow[] = [];
  readonly #held: readonly Uint8Array[];
  #bytes = 0;
  #isLast = true;

  /** @param held what is left of the giver's held-back records, where no row was asked for yet */
  constructor(
    heads: ReadonlyMap<Source, number>,
    floorOf: () => number,
    bytesMax: number,
    held: readonly Uint8Array[] = [],
  ) {
    this.#held = held;
    this.#heads = [...heads].map(([source, seq]) => ({ source, seq }));
    this.#floorOf = floorOf;
    this.#bytesMax = bytesMax;
  }

  /** A page of held-back records alone, more of which follow behind `upTo`. */
  pageOfHeld(upTo: string): SnapshotPage {
    return { ...this.page(), heldUpTo: upTo, isLast: false };
  }

  /** Takes the next row in order. @returns whether it was taken; if not, the page is full */
  take(key: string, row: Uint8Array): boolean {
    if (this.#bytes >= this.#bytesMax) {
      this.#isLast = false;
      return false;
    }
    this.#rows.push({ key, row });
    this.#bytes += key.length + row.length;
    return true;
  }

  page(): SnapshotPage {
    return {
      heads: this.#heads,
      floor: this.#floorOf(),
      rows: this.#rows,
      held: this.#held,
      heldUpTo: undefined,
      isLast: this.#isLast,
    };
  }
}
