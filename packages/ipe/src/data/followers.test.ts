import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Followers } from './followers.ts';
import { readPattern } from './pattern.ts';

const segment = fc.constantFrom('a', 'b', 'c');
const path = (of: fc.Arbitrary<string>) =>
  fc.tuple(segment, fc.array(of, { minLength: 1, maxLength: 3 })).map(([first, rest]) => [first, ...rest].join('.'));
const pattern = path(fc.oneof(segment, fc.constant('*')));

test('who follows a key is whoever has a pattern that matches it, each once', () => {
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 20 }), fc.array(path(segment), { maxLength: 5 }), (texts, keys) => {
      const followers = new Followers<number>();
      texts.forEach((text, i) => void followers.add(readPattern(text), i));
      for (const namespace of ['a', 'b', 'c']) {
        const own = keys.filter((key) => key.startsWith(`${namespace}.`));
        const expected = texts.flatMap((text, i) => (own.some((key) => readPattern(text).matches(key)) ? [i] : []));
        expect([...followers.matching(namespace, own)].sort((x, y) => x - y)).toEqual(expected);
      }
    }),
  );
});

test('who stopped following is not found any more, and others of the same pattern are', () => {
  const followers = new Followers<string>();
  const all = readPattern('a.*');
  followers.add(all, 'first');
  followers.add(all, 'second');
  followers.add(readPattern('a.b'), 'third');
  followers.delete(all, 'first');
  followers.delete(readPattern('a.c'), 'nobody');
  expect([...followers.of('a')].sort()).toEqual(['second', 'third']);
  expect([...followers.matching('a', ['a.b', 'a.c'])].sort()).toEqual(['second', 'third']);
  followers.delete(all, 'second');
  expect([...followers.matching('a', ['a.c'])]).toEqual([]);
});
