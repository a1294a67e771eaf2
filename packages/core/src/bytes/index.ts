export { canonicalJson } from './canonical-json.ts';

/**
 * What the core needs from its runtime and must not reach for itself: hashing and text encoding.
 * Node hands in `node:crypto`, a browser a JavaScript SHA-256; results must be identical.
 */
export interface Primitives {
  /** SHA-256 (FIPS 180-4) of `data`: 32 bytes, owned by the caller. */
  sha256(data: Uint8Array): Uint8Array;
  /** UTF-8 encoding of a well-formed string; lone surrogates become U+FFFD. */
  utf8Encode(text: string): Uint8Array;
  /** Strict UTF-8 decoding. @throws when `bytes` is not well-formed UTF-8. */
  utf8Decode(bytes: Uint8Array): string;
}

const hexDigits = '0123456789abcdef';

/** Lower-case hexadecimal text of `bytes`. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += hexDigits[byte >> 4]! + hexDigits[byte & 15]!;
  return text;
}

/** Bytes of an even-length hexadecimal text. @throws RangeError on any other character or an odd length. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) throw new RangeError('not hexadecimal text');
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** One new array holding `parts` end to end. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Byte-wise order as memcmp and RocksDB have it: negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}
