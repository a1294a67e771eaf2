export { canonicalJson } from './canonical-json.ts';
export { type KeyedHash, sipHash128 } from './siphash.ts';

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

/** Character codes of the two digits of each byte, one after the other. */
const hexCodes = new Uint8Array(512);
/** Value of a digit by its character code; 255: not one. */
const hexValues = new Uint8Array(128).fill(255);
for (let i = 0; i < 512; i++) hexCodes[i] = '0123456789abcdef'.charCodeAt(i % 2 === 0 ? i >> 5 : (i >> 1) & 15);
for (let i = 0; i < 22; i++) hexValues['0123456789abcdefABCDEF'.charCodeAt(i)] = i < 16 ? i : i - 6;

/** One digest's digits: kept, because ids are turned into text by the million. */
const digestDigits: number[] = new Array<number>(64).fill(0);

/** Lower-case hexadecimal text of `bytes`. */
export function toHex(bytes: Uint8Array): string {
  const digits = bytes.length === 32 ? digestDigits : new Array<number>(2 * bytes.length);
  if (digits.length > 4096) return toHex(bytes.subarray(0, 1024)) + toHex(bytes.subarray(1024));
  for (let i = 0; i < bytes.length; i++) {
    const at = 2 * bytes[i]!;
    digits[2 * i] = hexCodes[at]!;
    digits[2 * i + 1] = hexCodes[at + 1]!;
  }
  return String.fromCharCode.apply(null, digits);
}

/** Bytes of an even-length hexadecimal text. @throws RangeError on any other character or an odd length. */
export function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1);
  let wrong = text.length & 1;
  for (let i = 0; i < bytes.length; i++) {
    const high = hexValues[text.charCodeAt(2 * i)] ?? 255;
    const low = hexValues[text.charCodeAt(2 * i + 1)] ?? 255;
    wrong |= (high | low) & 0xf0;
    bytes[i] = (high << 4) | low;
  }
  if (wrong !== 0) throw new RangeError('not hexadecimal text');
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
