import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isIpeError } from '@ipe/core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ControlFixture, controlFixture, fakeSession } from '../testkit/control.ts';

let fixture: ControlFixture;
let stateDir: string;
beforeAll(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'ipe-fuzz-'));
  fixture = await controlFixture({ stateDir });
});
afterAll(async () => {
  await fixture.close();
  rmSync(stateDir, { recursive: true, force: true });
});

/** Parameters that each method knows, so that most of what is sent gets past the check of names. */
const known: Readonly<Record<string, string>> = {
  'put-policy': 'path source test expected_root expected_version message ref force',
  'delete-policy': 'path expected_root expected_version message ref force',
  apply: 'changes expected_root message ref dry_run force',
  check: 'changes ref',
  'get-policy': 'path root source',
  'list-policies': 'prefix limit cursor root',
  'list-children': 'path limit cursor root',
  'get-subtree': 'path depth order limit cursor root',
  history: 'path limit cursor ref',
  log: 'path ref limit cursor',
  diff: 'from to patches prefix',
  restore: 'root message ref expected_root',
  promote: 'from to message expected_root force',
  pin: 'name root',
  unpin: 'name',
  prove: 'path root',
  verify: 'level',
  gc: 'retention_days dry_run grace_seconds',
  backup: 'since cursor',
  'restore-backup': 'data upload more branch message',
  'sync-from-git': 'repository branch directory prefix dry_run allow_empty force resume detach',
  'get-sync-status': 'sync_id repository',
  'rollback-to-commit': 'commit repository dry_run allow_empty',
  subscribe: 'prefix',
  unsubscribe: 'subscription',
  refs: '',
  status: '',
};
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    'a',
    'a.b',
    'main',
    '',
    '.',
    '..',
    '*',
    '-x',
    '__proto__',
    'constructor',
    'a'.repeat(70),
    '\u0000',
    '\ud800',
    'ff'.repeat(32),
    '6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321',
    '/nowhere',
    'ext::sh -c id',
    '{',
    'AAAA',
    -1,
    0,
    1,
    1.5,
    1e308,
    10_001,
    null,
    true,
    false,
    [],
    {},
    [[]],
    [{}],
    [{ path: 'a', source: 'x' }],
    [{ path: 'a', delete: true }],
    [null],
  ),
  fc.jsonValue({ maxDepth: 2 }),
);
/** Values that are right now and then, so that the store changes under what is wrong. */
const right: Readonly<Record<string, readonly unknown[]>> = {
  path: ['a', 'a.b', 'c.d', 'c.e.f', 'c'],
  source: ['x', 'y', 'warning: w', 'error: e'],
  test: ['x', 'y'],
  expected_version: [null],
  ref: ['main', 'staging'],
  root: ['main', 'staging', 'r1'],
  from: ['staging', 'main'],
  to: ['main', 'staging', 'other'],
  name: ['r1', 'r2'],
  changes: [
    [
      { path: 'a', source: 'z' },
      { path: 'g.h', source: 'x' },
    ],
    [{ path: 'c.d', delete: true }],
    [],
  ],
  prefix: ['', 'a', 'c'],
  limit: [1, 2, 10_000],
  depth: [0, 1],
  order: ['bfs'],
  level: ['quick', 'full'],
  retention_days: [0],
  grace_seconds: [0],
};
const call = fc.constantFrom(...Object.keys(known)).chain((method) => {
  const names = known[method]!.split(' ').filter((name) => name !== '');
  const value = (name: string) =>
    fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...(right[name] ?? [undefined])) }, { weight: 1, arbitrary: odd });
  const object = fc.record(Object.fromEntries(names.map((name) => [name, value(name)])), {
    requiredKeys: names.filter((name) =>
      ['path', 'source', 'changes', 'from', 'name', 'retention_days'].includes(name),
    ),
  });
  const stray = fc.tuple(object, odd).map(([fields, unknown]) => ({ ...fields, unknown }));
  return fc.tuple(
    fc.constant(method),
    fc.oneof(
      { weight: 18, arbitrary: object as fc.Arbitrary<unknown> },
      { weight: 1, arbitrary: stray as fc.Arbitrary<unknown> },
      { weight: 1, arbitrary: odd },
    ),
  );
});

test('whatever is sent to whatever method, the answer is a result or an error of the registry, and the store stays whole', async () => {
  expect(Object.keys(fixture.service.handlers).sort()).toEqual(Object.keys(known).sort());
  const succeeded = new Set<string>();
  await fc.assert(
    fc.asyncProperty(call, fc.boolean(), async ([method, sent], streaming) => {
      const session = fakeSession();
      try {
        const answer = await fixture.call(method, sent, streaming ? { session } : {});
        expect(() => JSON.stringify(answer)).not.toThrow();
        succeeded.add(method);
      } catch (error) {
        if (!isIpeError(error) || error.reason === 'internal' || error.state !== 'unchanged') throw error;
        expect(JSON.stringify(error.details).length).toBeLessThan(100_000);
      } finally {
        session.end();
      }
    }),
    { numRuns: 1500, seed: 20261122 },
  );
  expect(succeeded.size).toBeGreaterThan(20);
  expect(await fixture.call('verify')).toMatchObject({ ok: true, problems: [] });
});
