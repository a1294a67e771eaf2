import { IpeError } from '@ipe/core';
import type { KvEntry, KvRange, KvRead } from '@ipe/core/store';
import type { KeyLayout, PrefixParts } from './layout.ts';
import { splitPrefix } from './layout.ts';
import { type Bounds, boundsOf, commonPrefix, isEmpty, isOneKey, isWithin, prefixEnd, startsWith } from './range.ts';
import type { RowSealer } from './row.ts';

/** Reads through a seal, from the live store or a snapshot. */
export class SealedReader<Family extends string> implements KvRead<Family> {
  readonly #inner: KvRead<Family>;
  readonly #sealer: RowSealer;
  readonly #layouts: Readonly<Record<Family, KeyLayout>>;
  /** Sorted rows may outlive what they were read from; handing them out must not. */
  readonly #assertOpen: () => void;

  constructor(
    inner: KvRead<Family>,
    sealer: RowSealer,
    layouts: Readonly<Record<Family, KeyLayout>>,
    assertOpen: () => void,
  ) {
    this.#assertOpen = assertOpen;
    this.#inner = inner;
    this.#sealer = sealer;
    this.#layouts = layouts;
  }

  async get(family: Family, key: Uint8Array): Promise<Uint8Array | undefined> {
    const storedKey = this.#sealer.sealKey(this.layout(family), key);
    return this.#open(family, key, storedKey, await this.#inner.get(family, storedKey));
  }

  async getMany(family: Family, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const layout = this.layout(family);
    const storedKeys = keys.map((key) => this.#sealer.sealKey(layout, key));
    const values = await this.#inner.getMany(family, storedKeys);
    return values.map((stored, i) => this.#open(family, keys[i]!, storedKeys[i]!, stored));
  }

  entries(family: Family, range: KvRange = {}): AsyncIterable<KvEntry> {
    const layout = this.layout(family);
    const bounds = boundsOf(range);
    if (isOneKey(bounds)) return this.#one(family, bounds.from, range);
    const prefix = commonPrefix(bounds);
    const parts = splitPrefix(layout, prefix);
    if (range.order === 'store') return this.#inStoreOrder(family, layout, range, bounds, prefix, parts);
    return this.#inByteOrder(family, layout, range, bounds, prefix, parts);
  }

  /** @throws TypeError for a family without a layout. */
  layout(family: Family): KeyLayout {
    const layout = this.#layouts[family] as KeyLayout | undefined;
    if (layout === undefined)
      throw new TypeError(`no family \`${family}\` in this store; it has ${Object.keys(this.#layouts).join(', ')}`);
    return layout;
  }

  #open(family: Family, key: Uint8Array, storedKey: Uint8Array, stored: Uint8Array | undefined) {
    if (stored === undefined) return undefined;
    const row = this.#sealer.open(family, storedKey, stored);
    if (Buffer.compare(row.key, key) !== 0)
      throw new IpeError('corrupt', `a sealed row of \`${family}\` holds another key`, { details: { family } });
    return row.value;
  }

  async *#one(family: Family, key: Uint8Array, range: KvRange): AsyncGenerator<KvEntry, void, undefined> {
    const value = (range.limit ?? 1) > 0 ? await this.get(family, key) : undefined;
    if (value !== undefined) yield [Uint8Array.from(key), value];
  }

  /** Streams everything that begins as asked; `gt` and `lt` are places in the order that the store has. */
  async *#inStoreOrder(
    family: Family,
    layout: KeyLayout,
    range: KvRange,
    bounds: Bounds,
    prefix: Uint8Array,
    parts: PrefixParts,
  ): AsyncGenerator<KvEntry, void, undefined> {
    let left = range.limit ?? Number.POSITIVE_INFINITY;
    if (left <= 0 || isEmpty(bounds)) return;
    const within = this.#storedBounds(layout, bounds, prefix, parts);
    const after = range.gt === undefined ? undefined : this.#sealer.sealKey(layout, range.gt);
    const stored = { ...within, ...(after && { gt: after }), reverse: range.reverse === true };
    for await (const entry of this.#rows(family, stored, range)) {
      // Within a whole text the stored order is the byte order and the bounds hold as they are.
      if (parts.textComplete ? !isWithin(bounds, entry[0]) : !startsWith(entry[0], prefix)) continue;
      yield entry;
      if (--left <= 0) return;
    }
  }

  /**
   * Byte order. Rows with equal clear bytes lie in the order of their names' HMACs and are sorted here; where the text is
   * whole, or there is none, they come sorted.
   */
  async *#inByteOrder(
    family: Family,
    layout: KeyLayout,
    range: KvRange,
    bounds: Bounds,
    prefix: Uint8Array,
    parts: PrefixParts,
  ): AsyncGenerator<KvEntry, void, undefined> {
    let left = range.limit ?? Number.POSITIVE_INFINITY;
    if (left <= 0 || isEmpty(bounds)) return;
    const reverse = range.reverse === true;
    const sign = reverse ? -1 : 1;
    let group: KvEntry[] = [];
    const sorted = () => group.sort(([a], [b]) => sign * Buffer.compare(a, b)).slice(0, left);
    const stored = this.#storedBounds(layout, bounds, prefix, parts);
    for await (const entry of this.#rows(family, { ...stored, reverse }, range)) {
      if (!isWithin(bounds, entry[0])) {
        if (parts.textComplete && isBehind(bounds, entry[0], reverse)) break;
        continue;
      }
      if (group.length > 0 && (parts.textComplete || !sameClear(layout, group[0]![0], entry[0]))) {
        const ready = sorted();
        group = [];
        left -= ready.length;
        yield* this.#whileOpen(ready);
        if (left <= 0) return;
      }
      group.push(entry);
      if (group.length >= 2 * left + 1000) group = sorted();
    }
    yield* this.#whileOpen(sorted());
    this.#assertOpen();
  }

  *#whileOpen(ready: readonly KvEntry[]): Generator<KvEntry, void, undefined> {
    for (const entry of ready) {
      this.#assertOpen();
      yield entry;
    }
  }

  async *#rows(family: Family, range: KvRange, { onDamaged }: KvRange): AsyncGenerator<KvEntry, void, undefined> {
    for await (const [storedKey, stored] of this.#inner.entries(family, range)) {
      let row: { readonly key: Uint8Array; readonly value: Uint8Array };
      try {
        row = this.#sealer.open(family, storedKey, stored);
      } catch (error) {
        if (onDamaged === undefined) throw error;
        onDamaged(error);
        continue;
      }
      yield [row.key, row.value];
    }
  }

  /** The narrowest range of stored keys that holds all keys within the bounds. */
  #storedBounds(layout: KeyLayout, bounds: Bounds, prefix: Uint8Array, parts: PrefixParts): KvRange {
    const { from, to } = bounds;
    // Bounds that part within the clear bytes are bounds of the stored keys too, as far as the clear bytes go.
    if (!parts.textComplete && prefix.length < layout.clearBytes)
      return range(from.subarray(0, layout.clearBytes), to && clearEnd(to, layout.clearBytes));
    const start = this.#sealer.sealParts(parts);
    if (!parts.textComplete) return range(start, prefixEnd(start));
    const after = (bound: Uint8Array) => Buffer.concat([start, bound.subarray(prefix.length)]);
    const end = to !== undefined && startsWith(to, prefix) ? after(to) : prefixEnd(start);
    return range(startsWith(from, prefix) ? after(from) : start, end);
  }
}

function range(gte: Uint8Array, lt: Uint8Array | undefined): KvRange {
  return lt === undefined ? { gte } : { gte, lt };
}

/** An upper bound as far as it lies in the clear bytes. */
function clearEnd(to: Uint8Array, clearBytes: number): Uint8Array | undefined {
  return to.length <= clearBytes ? to : prefixEnd(to.subarray(0, clearBytes));
}

function sameClear(layout: KeyLayout, a: Uint8Array, b: Uint8Array): boolean {
  if (layout.clearBytes === Number.POSITIVE_INFINITY) return false;
  return Buffer.compare(a.subarray(0, layout.clearBytes), b.subarray(0, layout.clearBytes)) === 0;
}

/** Whether nothing within the bounds can follow `key`. */
function isBehind({ from, to }: Bounds, key: Uint8Array, reverse: boolean): boolean {
  return reverse ? Buffer.compare(key, from) < 0 : to !== undefined && Buffer.compare(key, to) >= 0;
}
