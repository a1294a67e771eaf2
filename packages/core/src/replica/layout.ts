import { ByteWriter } from './codec.ts';
import type { Source } from './dot.ts';

/**
 * Families of the fact store and the keys of their rows. Integers in keys are big-endian, so that byte order is order.
 *
 * | family | key | value |
 * |---|---|---|
 * | `live` | key | cell: revision and state |
 * | `versions` | key, 0, place (u16) | when it was replaced (6), cell |
 * | `log` | namespace, 0, origin (8), epoch (6), seq (6) | record |
 * | `commits` | number (6) | namespace, source, seq, effects |
 * | `expiry` | due milliseconds (6), key | empty |
 * | `metadata` | see `metadata.ts` | |
 */
export const dataFamilies = ['live', 'versions', 'log', 'commits', 'expiry', 'metadata'] as const;
export type DataFamily = (typeof dataFamilies)[number];

export function liveKey(key: string, out = new ByteWriter(key.length * 3)): Uint8Array {
  out.utf8(key);
  return out.take();
}

export function versionsKey(key: string, place: number, out = new ByteWriter(key.length * 3 + 3)): Uint8Array {
  out.utf8(key);
  out.u8(0);
  out.u16(place);
  return out.take();
}

export function logKey(
  namespace: string,
  source: Source,
  seq: number,
  out = new ByteWriter(namespace.length + 21),
): Uint8Array {
  out.utf8(namespace);
  out.u8(0);
  out.source(source);
  out.u48(seq);
  return out.take();
}

/** The sequence number that a key of `log` ends in. */
export function seqOfLogKey(key: Uint8Array): number {
  let seq = 0;
  for (const byte of key.subarray(key.length - 6)) seq = seq * 256 + byte;
  return seq;
}

export function commitKey(number: number, out = new ByteWriter(6)): Uint8Array {
  out.u48(number);
  return out.take();
}

export function expiryKey(dueMs: number, key: string, out = new ByteWriter(key.length * 3 + 6)): Uint8Array {
  out.u48(dueMs);
  out.utf8(key);
  return out.take();
}
