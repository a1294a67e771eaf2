import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeFrame, type Frame, FrameReader } from './frames.ts';

function read(chunks: readonly (string | Buffer)[], maxBytes = 1000): Frame[] {
  const reader = new FrameReader(maxBytes);
  const frames: Frame[] = [];
  for (const chunk of chunks) reader.push(Buffer.from(chunk as string), (frame) => frames.push(frame));
  return frames;
}

test('fields, comments, several data lines, missing spaces and CRLF are read as the standard says', () => {
  expect(read(['event: put\nid: 1\ndata: {"a":\ndata: 1}\n\n'])).toEqual([
    { event: 'put', id: '1', data: '{"a":\n1}' },
  ]);
  expect(read([': hello\r\nevent:put\r\ndata\r\n\r\n'])).toEqual([{ event: 'put', id: undefined, data: '' }]);
  expect(read(['\n\nid: 9\n\nretry: 5\ndatax: y\ndata:  two\n\n'])).toEqual([
    { event: '', id: undefined, data: ' two' },
  ]);
  expect(read(['event: a\nevent: b\n\nid\n\nunfinished: x'])).toEqual([{ event: 'b', id: undefined, data: '' }]);
});

test('however the bytes are cut, the frames are the same', () => {
  const field = fc
    .string({ unit: 'grapheme', maxLength: 20 })
    .filter((text) => !/[\r\n]/.test(text) && !text.startsWith(' '));
  const frame = fc.record({ event: field.filter((text) => text !== ''), id: field, data: fc.jsonValue() });
  fc.assert(
    fc.property(
      fc.array(frame, { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(400), { maxLength: 8 }),
      (frames, cuts) => {
        const bytes = Buffer.from(frames.map(({ event, id, data }) => encodeFrame(event, id, data)).join(''));
        const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
        const chunks = places.slice(1).map((end, i) => bytes.subarray(places[i], end));
        expect(read(chunks, 100_000)).toEqual(
          frames.map(({ event, id, data }) => ({ event, id, data: JSON.stringify(data) })),
        );
      },
    ),
  );
});

test('a frame over the limit is refused, in one piece or in many, counted in bytes', () => {
  const large = `data: ${'x'.repeat(1000)}`;
  expect(() => read([`${large}\n\n`])).toThrow(/at most 1000 bytes/);
  expect(() => read(large.split(''))).toThrow(/at most 1000 bytes/);
  expect(() => read([`${'data: 12345678901234567890\n'.repeat(50)}\n`])).toThrow(/at most 1000 bytes/);
  expect(() => read([`data: ${'é'.repeat(600)}\n\n`])).toThrow(/at most 1000 bytes/);
  expect(read([`data: ${'x'.repeat(900)}\n\n`, `data: ${'x'.repeat(900)}\n\n`])).toHaveLength(2);
});

test('what is not UTF-8 is refused', () => {
  expect(() => read([Buffer.from([0x64, 0x61, 0x74, 0x61, 0x3a, 0xff, 0x0a, 0x0a])])).toThrow(/not UTF-8/);
});
