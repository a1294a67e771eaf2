import { IpeError } from '../errors.ts';
import type { Source, Sources } from './dot.ts';

/** Writes the UTF-8 of a text into an array as far as there is room: a `TextEncoder`, handed in where there is one. */
export interface Utf8Encoder {
  encodeInto(text: string, into: Uint8Array): { readonly written: number };
}

/** Shorter texts are written sooner here than a call out of the language takes. */
const shortText = 24;
/** Engines keep arrays up to this size among their objects, where they cannot share memory. */
const inlineBytesMax = 64;

/**
 * Canonical binary encodings: big-endian fixed-width numbers, minimal LEB128 lengths, length-framed UTF-8.
 * One value has one encoding, and a decoder refuses every other, so that encodings can be compared and hashed.
 *
 * What is taken shares chunks of memory with what is written next to it: an array of its own for every row of a batch
 * would cost more than filling it.
 */
export class ByteWriter {
  readonly #chunkBytes: number;
  readonly #encoder: Utf8Encoder | undefined;
  #chunk: Uint8Array;
  /** Where the bytes that are not taken yet begin and end in the chunk. */
  #start = 0;
  #end = 0;

  constructor(chunkBytes = 256, encoder?: Utf8Encoder) {
    this.#chunkBytes = chunkBytes;
    this.#encoder = encoder;
    this.#chunk = new Uint8Array(chunkBytes);
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** What was written since the last call; never written to again. It holds on to the chunk that it lies in. */
  take(): Uint8Array {
    if (this.#chunk.length <= inlineBytesMax) {
      const copy = this.#chunk.slice(this.#start, this.#end);
      this.#end = this.#start;
      return copy;
    }
    const taken = this.#chunk.subarray(this.#start, this.#end);
    this.#start = this.#end;
    return taken;
  }

  u8(value: number): void {
    this.#room(1);
    this.#chunk[this.#end++] = value;
  }

  u16(value: number): void {
    this.#room(2);
    this.#chunk[this.#end++] = value >>> 8;
    this.#chunk[this.#end++] = value;
  }

  u32(value: number): void {
    this.u16(value >>> 16);
    this.u16(value & 0xffff);
  }

  /** 0 to 2^48 - 1. */
  u48(value: number): void {
    this.#room(6);
    const high = Math.floor(value / 0x100000000);
    this.#chunk[this.#end++] = high >>> 8;
    this.#chunk[this.#end++] = high;
    this.#chunk[this.#end++] = value >>> 24;
    this.#chunk[this.#end++] = value >>> 16;
    this.#chunk[this.#end++] = value >>> 8;
    this.#chunk[this.#end++] = value;
  }

  /** A safe integer from 0 up, in 7-bit groups, least first (LEB128). */
  uint(value: number): void {
    this.#room(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#chunk[this.#end++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#chunk[this.#end++] = rest;
  }

  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#chunk.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  /** Length, then the bytes. */
  framed(bytes: Uint8Array): void {
    this.uint(bytes.length);
    this.raw(bytes);
  }

  /** Length in bytes, then UTF-8. The text must be well-formed. */
  text(text: string): void {
    const before = this.length;
    // Nearly everything that is written is ASCII: its length is known beforehand.
    this.uint(text.length);
    const size = this.utf8(text);
    if (size === text.length) return;
    this.#end = this.#start + before;
    this.uint(size);
    this.utf8(text);
  }

  /** UTF-8 without a length. @returns how many bytes */
  utf8(text: string): number {
    this.#room(text.length * 3);
    const size =
      this.#encoder === undefined || text.length < shortText
        ? writeUtf8(text, this.#chunk, this.#end)
        : this.#encoder.encodeInto(text, this.#chunk.subarray(this.#end)).written;
    this.#end += size;
    return size;
  }

  source(source: Source): void {
    this.raw(source.bytes);
  }

  #room(sizeBytes: number): void {
    if (this.#end + sizeBytes <= this.#chunk.length) return;
    const { length } = this;
    const next = new Uint8Array(Math.max(this.#chunkBytes, 2 * length + sizeBytes));
    next.set(this.#chunk.subarray(this.#start, this.#end));
    this.#chunk = next;
    this.#start = 0;
    this.#end = length;
  }
}

function writeUtf8(text: string, bytes: Uint8Array, start: number): number {
  let at = start;
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i);
    if (code < 0x80) {
      bytes[at++] = code;
      continue;
    }
    if (code < 0x800) bytes[at++] = 0xc0 | (code >> 6);
    else {
      if (code >= 0xd800 && code < 0xdc00 && i + 1 < text.length) {
        code = 0x10000 + ((code - 0xd800) << 10) + (text.charCodeAt(++i) - 0xdc00);
        bytes[at++] = 0xf0 | (code >> 18);
        bytes[at++] = 0x80 | ((code >> 12) & 0x3f);
      } else bytes[at++] = 0xe0 | (code >> 12);
      bytes[at++] = 0x80 | ((code >> 6) & 0x3f);
    }
    bytes[at++] = 0x80 | (code & 0x3f);
  }
  return at - start;
}

/** Bytes of a well-formed text in UTF-8. */
export function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    length += code < 0x800 ? 1 : 2;
    if (code >= 0xd800 && code < 0xdc00) i++;
  }
  return length;
}

/** Reads what `ByteWriter` wrote. Every method throws `IpeError` `corrupt` on anything that is not canonical. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #sources: Sources;
  #at = 0;

  constructor(bytes: Uint8Array, sources: Sources) {
    this.#bytes = bytes;
    this.#sources = sources;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** Requires that everything was read. */
  end(): void {
    if (this.remaining !== 0) throw malformed('trailing bytes');
  }

  u8(): number {
    this.#need(1);
    return this.#bytes[this.#at++]!;
  }

  u16(): number {
    return this.u8() * 0x100 + this.u8();
  }

  u32(): number {
    return this.u16() * 0x10000 + this.u16();
  }

  u48(): number {
    this.#need(6);
    const bytes = this.#bytes;
    const at = this.#at;
    this.#at += 6;
    const low = ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) >>> 0;
    return (bytes[at]! * 0x100 + bytes[at + 1]!) * 0x100000000 + low;
  }

  uint(): number {
    let value = 0;
    let unit = 1;
    for (;;) {
      const byte = this.u8();
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) {
        if (byte === 0 && unit > 1) throw malformed('a number that is not minimal');
        if (!Number.isSafeInteger(value)) throw malformed('a number out of range');
        return value;
      }
      unit *= 0x80;
      if (unit > 2 ** 49) throw malformed('a number out of range');
    }
  }

  /** A count of things that take at least one byte each, so that it cannot ask for more room than there are bytes. */
  count(): number {
    const count = this.uint();
    if (count > this.remaining) throw malformed('a count beyond the end');
    return count;
  }

  /** A copy, owned by the caller. */
  raw(length: number): Uint8Array {
    this.#need(length);
    const bytes = this.#bytes.slice(this.#at, this.#at + length);
    this.#at += length;
    return bytes;
  }

  framed(): Uint8Array {
    return this.raw(this.uint());
  }

  text(): string {
    return this.utf8(this.uint());
  }

  utf8(length: number): string {
    this.#need(length);
    const start = this.#at;
    this.#at += length;
    return decodeUtf8(this.#bytes, start, this.#at);
  }

  source(): Source {
    this.#need(14);
    const source = this.#sources.at(this.#bytes, this.#at);
    this.#at += 14;
    return source;
  }

  #need(length: number): void {
    if (this.#at + length > this.#bytes.length) throw malformed('an early end');
  }
}

const runMax = 4096;

/** Strict UTF-8 (RFC 3629). @throws IpeError `corrupt` */
export function decodeUtf8(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let text = '';
  let at = start;
  while (at < end) {
    let run = at;
    while (run < end && bytes[run]! < 0x80 && run - at < runMax) run++;
    if (run > at) {
      text += String.fromCharCode.apply(null, bytes.subarray(at, run) as unknown as number[]);
      at = run;
      continue;
    }
    const lead = bytes[at++]!;
    const more =
      lead >= 0xc2 && lead < 0xe0 ? 1 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xf0 && lead < 0xf5 ? 3 : 0;
    if (more === 0 || at + more > end) throw malformed('text that is not UTF-8');
    let code = lead & (0x3f >> more);
    for (let i = 0; i < more; i++) {
      const byte = bytes[at++]!;
      if ((byte & 0xc0) !== 0x80) throw malformed('text that is not UTF-8');
      code = (code << 6) | (byte & 0x3f);
    }
    if (code < [0, 0x80, 0x800, 0x10000][more]! || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
      throw malformed('text that is not UTF-8');
    text += String.fromCodePoint(code);
  }
  return text;
}

/** @internal what every decoder throws */
export function malformed(what: string): IpeError {
  return new IpeError('corrupt', `stored or received bytes do not decode: ${what}`);
}
