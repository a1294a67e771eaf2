import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseJsonText } from './json.ts';
import { parseLargeJson } from './json-slices.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const sliced = (text: string, sliceChars: number, depth = 64) =>
  parseLargeJson(bytes(text), depth, { sliceChars, breathe: async () => {} });

/** What the parser of the whole makes of a text: its value, or its error. */
function whole(text: string, depth = 64): { value: unknown } | { error: string } {
  try {
    return { value: parseJsonText(text, depth) };
  } catch (error) {
    return { error: (error as Error).message };
  }
}
const outcome = (parsed: Promise<unknown>) =>
  parsed.then(
    (value) => ({ value }),
    (error: Error) => ({ error: error.message }),
  );

test('a text parsed in slices of any size is what it is parsed at once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.json({ maxDepth: 7, noUnicodeString: false }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 0, max: 2 }),
      async (text, sliceChars, indent) => {
        const spaced = indent === 0 ? text : JSON.stringify(JSON.parse(text), null, indent);
        expect(await outcome(sliced(spaced, sliceChars))).toEqual(whole(spaced));
      },
    ),
    { numRuns: 1500 },
  );
});

test('a text that is not JSON, or nested too deep, gets the error of the parser of the whole', async () => {
  const pieces = ['{', '}', '[', ']', ',', ':', '"a"', '1', 'null', ' ', '"', '\\', '"\\""', '"b":[', '{"c":1}', 'x'];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...pieces), { maxLength: 14 }),
      fc.integer({ min: 1, max: 12 }),
      async (parts, sliceChars) => {
        const text = parts.join('');
        expect(await outcome(sliced(text, sliceChars, 3))).toEqual(whole(text, 3));
      },
    ),
    { numRuns: 5000 },
  );
});

test('a member named `__proto__` is refused wherever it stands, written out or escaped', async () => {
  for (const name of ['__proto__', '\\u005f_proto__'])
    for (const text of [`{"${name}":1}`, `[1,[2,{"a":{"${name}":{"x":1}}}]]`, `{"${name}":[1,2,3,4,5,6,7,8,9]}`])
      await expect(sliced(text, 4)).rejects.toMatchObject({ reason: 'invalid_request' });
});

test('other work goes on while a large body is parsed', async () => {
  const value = {
    params: { changes: Array.from({ length: 5000 }, (_, i) => ({ path: `p${i}`, source: 'x'.repeat(99) })) },
  };
  let turns = 0;
  const breathe = async () => {
    turns++;
  };
  expect(await parseLargeJson(bytes(JSON.stringify(value)), 64, { breathe })).toEqual(value);
  expect(turns).toBeGreaterThan(3);
});
