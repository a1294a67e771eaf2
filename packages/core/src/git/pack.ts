import type { ObjectType } from './object.ts';

/** Types of a pack's entries. */
export const packTypes = { commit: 1, tree: 2, blob: 3, tag: 4, offsetDelta: 6, refDelta: 7 } as const;

/** First bytes of a pack: `PACK`, version 2, how many entries follow. Source: gitformat-pack. */
export function packHeader(count: number): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x5041434b);
  view.setUint32(4, 2);
  view.setUint32(8, count);
  return bytes;
}

/** Type and inflated size before an entry's zlib data: 4 bits of size with the type, then 7 a byte. */
export function packEntryHeader(type: ObjectType, size: number): Uint8Array {
  const bytes = [(packTypes[type] << 4) | (size & 15)];
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
    bytes[bytes.length - 1]! |= 0x80;
    bytes.push(rest & 0x7f);
  }
  return Uint8Array.from(bytes);
}

/** Applies a delta to its base. @throws RangeError for one that does not fit. Source: gitformat-pack, "Deltified representation". */
export function applyDelta(base: Uint8Array, delta: Uint8Array): Uint8Array {
  let at = 0;
  const byte = (): number => {
    const value = delta[at++];
    if (value === undefined) throw new RangeError('a delta ends early');
    return value;
  };
  const size = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const next = byte();
      value += (next & 0x7f) * 2 ** shift;
      if ((next & 0x80) === 0) return value;
      if (shift > 42) throw new RangeError('a delta has a size out of range');
    }
  };
  if (size() !== base.length) throw new RangeError('a delta is for another base');
  const resultBytes = size();
  if (resultBytes > 64 * 1024 * 1024) throw new RangeError('a delta makes too large an object');
  const result = new Uint8Array(resultBytes);
  let written = 0;
  while (at < delta.length) {
    const code = byte();
    let part: Uint8Array;
    if ((code & 0x80) !== 0) {
      let offset = 0;
      let length = 0;
      for (let i = 0; i < 4; i++) if ((code & (1 << i)) !== 0) offset += byte() * 2 ** (8 * i);
      for (let i = 0; i < 3; i++) if ((code & (0x10 << i)) !== 0) length += byte() * 2 ** (8 * i);
      if (length === 0) length = 0x10000;
      if (offset + length > base.length) throw new RangeError('a delta copies past its base');
      part = base.subarray(offset, offset + length);
    } else {
      if (code === 0 || at + code > delta.length) throw new RangeError('a delta has an unknown instruction');
      part = delta.subarray(at, (at += code));
    }
    if (written + part.length > result.length) throw new RangeError('a delta makes more than it says');
    result.set(part, written);
    written += part.length;
  }
  if (written !== result.length) throw new RangeError('a delta makes less than it says');
  return result;
}
