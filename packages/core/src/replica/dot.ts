import { fromHex, toHex } from '../bytes/index.ts';

/**
 * Who writes: one start of one instance. An instance keeps its origin for life and draws a new epoch at every start, so
 * that a sequence number is never used twice, whatever a crash or a restored backup took away.
 *
 * Sources are interned by `Sources`: two with the same id are the same object, so they compare by identity.
 */
export interface Source {
  /** 64 random bits of the instance, 16 hexadecimal digits. */
  readonly origin: string;
  /** 48 random bits of the start. */
  readonly epoch: number;
  /** `<origin>:<epoch as 12 hexadecimal digits>`: sorts like (origin, epoch). */
  readonly id: string;
  /** Origin and epoch, 14 bytes big-endian: how a source stands in row keys and encodings. Never written to. */
  readonly bytes: Uint8Array;
  /** Two words that stand for the source in `dotsTag`. */
  readonly tagWords: readonly [number, number];
}

/** Name of one write. Its namespace is that of the key it is found at. */
export interface Dot {
  readonly source: Source;
  /** Contiguous from 1 within (namespace, source). */
  readonly seq: number;
  /** Place within the record. */
  readonly idx: number;
}

/** A dot with its hybrid time: the total order of writes is (ms, count, origin, epoch, seq, idx). */
export interface Stamp extends Dot {
  /** Milliseconds of the hybrid logical clock. */
  readonly ms: number;
  /** Counter of the hybrid logical clock. */
  readonly count: number;
}

/** The sources that a replica has met, one object each. */
export class Sources {
  readonly #byId = new Map<string, Source>();
  /** By the epoch, which is random: two origins rarely share one, and then the list tells them apart. */
  readonly #byEpoch = new Map<number, readonly Source[]>();

  /** @param origin 16 lower-case hexadecimal digits @param epoch 0 to 2^48 - 1 */
  of(origin: string, epoch: number): Source {
    return this.#byEpoch.get(epoch)?.find((source) => source.origin === origin) ?? this.#add(origin, epoch);
  }

  /** The source whose 14 bytes (`Source.bytes`) stand in a buffer at an offset. */
  at(bytes: Uint8Array, offset: number): Source {
    let epoch = 0;
    for (let i = offset + 8; i < offset + 14; i++) epoch = epoch * 256 + bytes[i]!;
    for (const source of this.#byEpoch.get(epoch) ?? []) {
      let i = 0;
      while (i < 8 && source.bytes[i] === bytes[offset + i]) i++;
      if (i === 8) return source;
    }
    return this.#add(toHex(bytes.subarray(offset, offset + 8)), epoch);
  }

  #add(origin: string, epoch: number): Source {
    const id = `${origin}:${epoch.toString(16).padStart(12, '0')}`;
    let source = this.#byId.get(id);
    if (source === undefined) {
      const bytes = fromHex(origin + id.slice(17));
      if (bytes.length !== 14) throw new RangeError(`not a source: \`${id}\``);
      source = { origin, epoch, id, bytes, tagWords: wordsOf(id) };
      this.#byId.set(id, source);
      this.#byEpoch.set(epoch, [...(this.#byEpoch.get(epoch) ?? []), source]);
    }
    return source;
  }

  /** Reads `Source.id`. Undefined for any other text. */
  parse(id: string): Source | undefined {
    const known = this.#byId.get(id);
    if (known !== undefined || !/^[0-9a-f]{16}:[0-9a-f]{12}$/.test(id)) return known;
    return this.of(id.slice(0, 16), Number.parseInt(id.slice(17), 16));
  }
}

/** Order of sources: by origin, then epoch. */
export function compareSources(a: Source, b: Source): number {
  return a === b ? 0 : a.id < b.id ? -1 : 1;
}

/** Operations of a record have smaller places than this. */
export const placesMax = 0xffff;

/** Order of dots within a namespace, for canonical lists; says nothing about time. */
export function compareDots(a: Dot, b: Dot): number {
  return compareSources(a.source, b.source) || a.seq - b.seq || a.idx - b.idx;
}

/** The total order in which writes win: later hybrid time first, then the dot. Zero only for the same write. */
export function compareStamps(a: Stamp, b: Stamp): number {
  return a.ms - b.ms || a.count - b.count || compareDots(a, b);
}

/** Text of a dot in receipts: `<origin>:<epoch>:<seq>:<idx>`. */
export function dotText(dot: Dot): string {
  return `${dot.source.id}:${dot.seq}:${dot.idx}`;
}

/**
 * Exact tag of a set of dots: 64 bits as 16 hexadecimal digits, equal for equal sets whatever their order.
 * Not cryptographic: it tells states of one key apart, among dots whose parts are random already.
 */
export function dotsTag(dots: readonly Dot[]): string {
  const sorted = dots.length < 2 ? dots : [...dots].sort(compareDots);
  let a = 0x9e3779b9;
  let b = 0x85ebca6b;
  for (const { source, seq, idx } of sorted) {
    a = mix(a ^ source.tagWords[0] ^ seq, idx + 1);
    b = mix((b ^ source.tagWords[1]) + Math.floor(seq / 0x100000000), seq ^ Math.imul(idx + 1, 0x27d4eb2f));
  }
  return hex32(mix(a, b)) + hex32(mix(b, a ^ 0x5f356495));
}

/** 32 bits that tell a write from others of its key: whether one was put over another is told by this word. */
export function dotWord({ source, seq, idx }: Dot): number {
  return mix(source.tagWords[0] ^ seq, mix(source.tagWords[1] + Math.floor(seq / 0x100000000), idx + 1)) >>> 0;
}

function wordsOf(id: string): [number, number] {
  let a = 0x811c9dc5;
  let b = 0x165667b1;
  for (let i = 0; i < id.length; i++) {
    a = Math.imul(a ^ id.charCodeAt(i), 0x01000193);
    b = Math.imul(b + id.charCodeAt(i), 0x5bd1e995);
    b ^= b >>> 13;
  }
  return [a, b];
}

function mix(a: number, b: number): number {
  let h = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 15), 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 13), 0x27d4eb2f);
  return h ^ (h >>> 16);
}

const hexBytes = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const hex32 = (word: number) =>
  hexBytes[word >>> 24]! + hexBytes[(word >>> 16) & 255]! + hexBytes[(word >>> 8) & 255]! + hexBytes[word & 255]!;
