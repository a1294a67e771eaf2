import { expect, test } from 'vitest';
import { readParams } from './params.ts';

const failure = (call: () => unknown): unknown => {
  try {
    return call();
  } catch (error) {
    return {
      reason: (error as { reason: string }).reason,
      message: (error as Error).message,
      details: (error as { details: unknown }).details,
    };
  }
};

test('fields come back typed, and null or nothing is absent', () => {
  const fields = readParams({ path: 'a', limit: 3, deep: true, order: 'bfs', nothing: null }, [
    'path',
    'limit',
    'deep',
    'order',
    'nothing',
  ]);
  expect([
    fields.string('path'),
    fields.integerOr('limit', 9),
    fields.boolean('deep'),
    fields.oneOf('order', ['dfs', 'bfs']),
  ]).toEqual(['a', 3, true, 'bfs']);
  expect([fields.optionalString('nothing'), fields.has('nothing'), fields.has('other')]).toEqual([
    undefined,
    true,
    false,
  ]);
  expect(readParams(undefined, []).optionalString('x')).toBeUndefined();
});

test('an unknown field is refused with the nearest known one', () => {
  expect(failure(() => readParams({ pth: 'a' }, ['path', 'root']))).toEqual({
    reason: 'invalid_params',
    message: 'unknown parameter `pth`; did you mean `path`?',
    details: { field: 'pth', nearest: 'path' },
  });
  expect(failure(() => readParams({ zzz: 1 }, []))).toMatchObject({
    message: 'unknown parameter `zzz`; none are taken',
  });
});

test.each([
  ['string', { x: 1 }, '`x` must be a string, not 1'],
  ['string', {}, '`x` is missing; expected a string'],
  ['integer', { x: 1.5 }, '`x` must be a whole number, not a number with a fraction'],
  ['integer', { x: '1' }, '`x` must be a number, not a string'],
  ['boolean', { x: [] }, '`x` must be true or false, not an array'],
] as const)('%s of %j says what was expected', (kind, params, message) => {
  expect(failure(() => readParams(params, ['x'])[kind]('x'))).toMatchObject({
    reason: 'invalid_params',
    message,
    details: { field: 'x' },
  });
});

test('limits on numbers, text and arrays hold, and items are named by place', () => {
  const fields = readParams({ n: 11, text: 'ééé', list: [{}, { other: 1 }], order: 'bsf' }, [
    'n',
    'text',
    'list',
    'order',
  ]);
  expect(failure(() => fields.integer('n', { max: 10 }))).toMatchObject({ message: '`n` must be at most 10' });
  expect(failure(() => fields.string('text', { maxBytes: 5 }))).toMatchObject({ reason: 'too_large' });
  expect(fields.string('text', { maxBytes: 6 })).toBe('ééé');
  expect(failure(() => fields.array('list', 1, () => 0))).toMatchObject({ reason: 'too_large' });
  expect(failure(() => fields.array('list', 5, (item, where) => readParams(item, ['x'], where)))).toMatchObject({
    message: 'unknown parameter `list[1].other`; known are `x`',
  });
  expect(failure(() => fields.oneOf('order', ['dfs', 'bfs']))).toMatchObject({ details: { nearest: 'bfs' } });
});

test('names from the prototype are not parameters', () => {
  expect(failure(() => readParams(JSON.parse('{"__proto__": {"path": "a"}}'), ['path']))).toMatchObject({
    reason: 'invalid_params',
  });
  expect(readParams({}, ['toString']).raw('toString')).toBeUndefined();
});

test.each([[null], [[]], ['x'], [3]])('params that are %j are refused', (params) => {
  expect(failure(() => readParams(params, []))).toMatchObject({ reason: 'invalid_params' });
});
