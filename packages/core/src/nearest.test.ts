import { expect, test } from 'vitest';
import { nearest } from './nearest.ts';

test('a misspelt word finds the candidate it is closest to', () => {
  expect(nearest('prod.deploymnt', ['prod.rollback', 'prod.deployment'])).toBe('prod.deployment');
  expect(nearest('flsuh', ['flush', 'fresh'])).toBe('flush');
  expect(nearest('PUT', ['get', 'put'])).toBe('put');
});

test('a word far from every candidate has no nearest', () => {
  expect(nearest('banana', ['put', 'get', 'transaction'])).toBeUndefined();
  expect(nearest('x'.repeat(300), ['x'.repeat(299)])).toBeUndefined();
});
