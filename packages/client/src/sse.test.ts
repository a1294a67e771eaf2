import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeSse, type SseEvent, SseParser } from './sse.ts';

function parse(pieces: readonly string[]): SseEvent[] {
  const events: SseEvent[] = [];
  const parser = new SseParser((event) => events.push(event));
  for (const piece of pieces) parser.push(piece);
  return events;
}

test('an event is delivered at its blank line, with name, id and data', () => {
  expect(parse(['event: result\nid: 7\ndata: {"a":1}\n\n'])).toEqual([{ event: 'result', id: '7', data: '{"a":1}' }]);
});

test('an unnamed event is a message, data lines are joined, comments and events without data are passed over', () => {
  expect(parse([': hello\n\nevent: empty\n\ndata: a\ndata:b\n\n'])).toEqual([{ event: 'message', data: 'a\nb' }]);
});

test('the end of a line may be \\n, \\r or \\r\\n, also when split between pieces', () => {
  expect(parse(['data: a\r', '\ndata: b\r\r', 'data: c\r\n', '\r\n'])).toEqual([
    { event: 'message', data: 'a\nb' },
    { event: 'message', data: 'c' },
  ]);
});

test('wherever the text is split, the same events come out', () => {
  const text = `${encodeSse('result', '1', '{"x":"é"}')}: ping\n\n${encodeSse('error', '2', '{}')}data: last\r\n\r\n`;
  const whole = parse([text]);
  fc.assert(
    fc.property(fc.array(fc.nat(text.length), { maxLength: 8 }), (cuts) => {
      const places = [0, ...cuts.sort((a, b) => a - b), text.length];
      const pieces = places.slice(1).map((end, index) => text.slice(places[index], end));
      expect(parse(pieces)).toEqual(whole);
    }),
  );
});

test('an event that never ends is refused once it is over the bound', () => {
  const parser = new SseParser(() => {}, 100);
  expect(() => parser.push(`data: ${'x'.repeat(200)}`)).toThrow(RangeError);
});
