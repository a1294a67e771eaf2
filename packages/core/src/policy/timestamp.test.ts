import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatTimestamp, parseTimestamp } from './timestamp.ts';

test('RFC 3339 timestamps agree with the platform, and print back', () => {
  fc.assert(
    fc.property(fc.date({ noInvalidDate: true, min: new Date(-62e12), max: new Date(250e12) }), (date) => {
      const seconds = parseTimestamp(date.toISOString())!;
      expect(seconds).toBeCloseTo(date.getTime() / 1000, 6);
      expect(parseTimestamp(formatTimestamp(seconds))).toBeCloseTo(seconds, 6);
    }),
    { seed: 3 },
  );
});

test.each([
  ['2026-01-01T02:00:00+02:00', 1767225600],
  ['2026-01-01T00:00:00.25Z', 1767225600.25],
  ['2024-02-29T00:00:00Z', 1709164800],
])('%s is read', (text, seconds) => expect(parseTimestamp(text)).toBe(seconds));

test.each([
  '2026-01-01',
  '2026-13-01T00:00:00Z',
  '2025-02-29T00:00:00Z',
  '2026-01-01T24:00:00Z',
  '2026-01-01T00:00:00',
  'x',
])('%s is no timestamp', (text) => expect(parseTimestamp(text)).toBeUndefined());
