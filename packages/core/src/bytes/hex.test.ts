import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fromHex, toHex } from './index.ts';

test('bytes become the hexadecimal text that Node writes, and come back from either case', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.uint8Array({ maxLength: 70 }), fc.uint8Array({ minLength: 3000, maxLength: 5000 })),
      (bytes) => {
        const text = Buffer.from(bytes).toString('hex');
        expect(toHex(bytes)).toBe(text);
        expect(fromHex(text)).toEqual(bytes);
        expect(fromHex(text.toUpperCase())).toEqual(bytes);
      },
    ),
  );
});

test.each(['0', 'abc', '0g', 'g0', '0 ', '0\u0130', '/0', ':0', '`0', '@0', '\u01300'])('`%s` is refused', (text) => {
  expect(() => fromHex(text)).toThrow(RangeError);
});
