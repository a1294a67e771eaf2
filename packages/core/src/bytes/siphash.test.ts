import { expect, test } from 'vitest';
import { toHex } from './index.ts';
import { sipHash128 } from './siphash.ts';

const counting = Uint8Array.from({ length: 64 }, (_, i) => i);

function hexOf(length: number): string {
  const words = new Int32Array(4);
  sipHash128(counting.subarray(0, 16), [2, 4])(counting, length, words);
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  words.forEach((word, i) => {
    view.setInt32(4 * i, word, true);
  });
  return toHex(bytes);
}

test('SipHash-2-4 with 128 bits gives what the reference implementation gives (vectors.h)', () => {
  expect(hexOf(0)).toBe('a3817f04ba25a8e66df67214c7550293');
  expect(hexOf(1)).toBe('da87c1d86b99af44347659119b22fc45');
  expect(hexOf(15)).toBe('5493e99933b0a8117e08ec0f97cfc3d9');
});

test('each byte, the length and the key change the hash', () => {
  const seen = new Set<string>();
  const add = (key: Uint8Array, data: Uint8Array) => {
    const words = new Int32Array(4);
    sipHash128(key)(data, data.length, words);
    seen.add(words.join(' '));
  };
  const key = counting.slice(0, 16);
  for (let length = 0; length <= 40; length++) add(key, new Uint8Array(length));
  for (let at = 0; at < 40; at++) add(key, new Uint8Array(40).fill(1, at, at + 1));
  for (let at = 0; at < 16; at++)
    add(
      key.map((byte, i) => byte ^ Number(i === at)),
      new Uint8Array(40),
    );
  expect(seen.size).toBe(41 + 40 + 16);
  expect(() => sipHash128(new Uint8Array(15))).toThrow(RangeError);
});
