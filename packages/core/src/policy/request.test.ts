import { expect, test } from 'vitest';
import { readRequest } from './request.ts';

const good = {
  subject: { type: 'user', id: 'alice', properties: { role: 'admin' }, extra: 1 },
  action: { name: 'read' },
  resource: { type: 'record', id: 'r1' },
};

function messageOf(value: unknown): string {
  const read = readRequest(value);
  return read.ok ? 'ok' : read.problem.message;
}

test('a request is read with properties and context filled in and unknown members left out', () => {
  const read = readRequest({ ...good, more: true });
  expect(read).toEqual({
    ok: true,
    request: {
      subject: { type: 'user', id: 'alice', properties: { role: 'admin' } },
      action: { name: 'read', properties: {} },
      resource: { type: 'record', id: 'r1', properties: {} },
      context: {},
    },
  });
});

test.each([
  [null, 'expected an object, got null'],
  [[good], 'expected an object, got an array'],
  [{}, '`subject` is missing'],
  [{ action: good.action, sbject: {} }, '`subject` is missing; `sbject` was given'],
  [{ ...good, subject: 'alice' }, 'expected `subject` to be an object, got a string'],
  [{ ...good, subject: { type: 'user' } }, '`subject.id` is missing'],
  [{ ...good, subject: { type: 'user', id: 7 } }, 'expected `subject.id` to be a string, got a number'],
  [{ ...good, subject: { type: '', id: 'a' } }, '`subject.type` is empty'],
  [{ ...good, action: {} }, '`action.name` is missing'],
  [
    { ...good, resource: { ...good.resource, properties: [] } },
    'expected `resource.properties` to be an object, got an array',
  ],
  [{ ...good, context: 'x' }, 'expected `context` to be an object, got a string'],
  [{ ...good, context: { a: '\ud800' } }, 'a string of the request holds a lone surrogate'],
])('%j is answered with %s', (value, message) => {
  expect(messageOf(value)).toBe(message);
});

test('members of the prototype do not count as given', () => {
  expect(messageOf(Object.create(good))).toBe('`subject` is missing');
});

test('depth, number of values and text are bounded, however the request is built', () => {
  let deep: unknown = 1;
  for (let i = 0; i < 100_000; i++) deep = { a: deep };
  expect(messageOf({ ...good, context: deep })).toContain('nested deeper');
  expect(messageOf({ ...good, context: { list: Array.from({ length: 30_000 }, () => 0) } })).toContain('values');
  expect(messageOf({ ...good, context: { text: 'x'.repeat(2_000_000) } })).toContain('characters');
});
