import type { KvRange } from '@ipe/core/store';

/** A range as half-open bounds in byte order; undefined `to` is open. */
export interface Bounds {
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
}

/** Half-open bounds of a range; the successor of a key is that key with a zero byte. */
export function boundsOf(range: KvRange): Bounds {
  const lower = [range.gte, range.gt && successor(range.gt)].filter((bound) => bound !== undefined);
  const upper = [range.lt, range.lte && successor(range.lte)].filter((bound) => bound !== undefined);
  lower.sort(Buffer.compare);
  upper.sort(Buffer.compare);
  return { from: lower.at(-1) ?? new Uint8Array(0), to: upper[0] };
}

export function isEmpty({ from, to }: Bounds): boolean {
  return to !== undefined && Buffer.compare(from, to) >= 0;
}

/** Whether the bounds enclose `from` and nothing else. */
export function isOneKey({ from, to }: Bounds): boolean {
  return to !== undefined && to.length === from.length + 1 && to.at(-1) === 0 && startsWith(to, from);
}

export function isWithin({ from, to }: Bounds, key: Uint8Array): boolean {
  return Buffer.compare(key, from) >= 0 && (to === undefined || Buffer.compare(key, to) < 0);
}

/** The longest beginning that all keys within the bounds share. */
export function commonPrefix({ from, to }: Bounds): Uint8Array {
  if (to === undefined) return from.subarray(0, 0);
  let n = 0;
  while (n < from.length && n < to.length && from[n] === to[n]) n++;
  // `a.` up to `a/` is everything that begins with `a.`, though the bounds share `a` only.
  if (to.length === n + 1 && from.length > n && from[n]! + 1 === to[n]) n++;
  return from.subarray(0, n);
}

export function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  return key.length >= prefix.length && Buffer.compare(key.subarray(0, prefix.length), prefix) === 0;
}

/** The smallest key above all that begin with `prefix`; undefined when there is none. */
export function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 255) length--;
  if (length === 0) return undefined;
  const end = prefix.slice(0, length);
  end[length - 1]!++;
  return end;
}

export function successor(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}
