import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isScalar, parseDocument, type Scalar } from 'yaml';
import { scalarMap } from './scalar-map.ts';

function firstValue(source: string): Scalar {
  const value = parseDocument(source).get('e', true);
  if (!isScalar(value)) throw new Error(`no scalar in ${source}`);
  return value;
}

/** The document's text at the place where `part` of the value stands. */
function place(source: string, part: string): string {
  const scalar = firstValue(source);
  const map = scalarMap(scalar, source);
  const index = String(scalar.value).indexOf(part);
  expect(index, `${part} in ${JSON.stringify(scalar.value)}`).toBeGreaterThanOrEqual(0);
  return source.slice(map[index], map[index + part.length]);
}

test.each([
  ['plain', 'e: size(x) > 1 # why', 'x'],
  ['plain over lines', 'e: size(a) >\n   size(b) &&\n\n   zed\n', 'zed'],
  ['single quoted', "e: 'name == ''it'' && zed'", 'zed'],
  ['double quoted', 'e: "a == \\"q\\" && \\u0041 \\x41 \\U0001F600 zed"', 'zed'],
  ['double quoted over lines', 'e: "a &&\n    b \\\n    zed\n\n  yon"', 'zed'],
  ['literal', 'e: |\n  a &&\n\n  zed\n', 'zed'],
  ['literal with CRLF', 'e: |\r\n  a &&\r\n  zed\r\n', 'zed'],
  ['literal with an indentation indicator', 'e: |2\n     a &&\n   zed\n', 'zed'],
  ['folded', 'e: >-\n  a &&\n  b\n\n  c\n    more\n  zed\n', 'zed'],
  ['tagged and anchored', 'e: &x !!str |\n  zed\n', 'zed'],
])('a part of a %s scalar is found where it stands in the document', (_style, source, part) => {
  expect(place(source, part)).toBe(part);
});

test('every character of any scalar maps inside it, in order', () => {
  const piece = fc.constantFrom('a', 'b == c', '"', "'", ' ', '\\', '\n', '\n\n', 'é', '😀', '  x', '#', ':');
  const style = fc.constantFrom('PLAIN', 'QUOTE_SINGLE', 'QUOTE_DOUBLE', 'BLOCK_LITERAL', 'BLOCK_FOLDED' as const);
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), style, (pieces, type) => {
      const document = parseDocument('e: x');
      const scalar = document.get('e', true) as Scalar;
      scalar.value = pieces.join('');
      scalar.type = type as Scalar.Type;
      const source = document.toString({ lineWidth: 20 });
      const read = parseDocument(source).get('e', true);
      fc.pre(isScalar(read) && typeof read.value === 'string'); // the library's writer does not round-trip all of them
      if (!isScalar(read)) return;
      const map = scalarMap(read, source);
      const [start, end] = read.range!;
      expect(map).toHaveLength(String(read.value).length + 1);
      for (let i = 0; i < map.length; i++) {
        expect(map[i]).toBeGreaterThanOrEqual(i === 0 ? start : map[i - 1]!);
        expect(map[i]).toBeLessThanOrEqual(end);
      }
    }),
    { seed: 7, numRuns: 500 },
  );
});

test("the YAML writer's scalars are followed, not given up on", () => {
  const word = fc.constantFrom('alpha', 'beta', "it's", 'say "hi"', 'back\\slash', 'x: y');
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 12 }), fc.boolean(), (words, folded) => {
      const document = parseDocument('e: x');
      const scalar = document.get('e', true) as Scalar;
      scalar.value = `${words.join(' ')} zed`;
      scalar.type = folded ? 'QUOTE_DOUBLE' : 'PLAIN';
      const source = document.toString({ lineWidth: 24 });
      expect(place(source, 'zed')).toBe('zed');
    }),
    { seed: 7, numRuns: 300 },
  );
});
