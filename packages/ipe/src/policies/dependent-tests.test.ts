import { afterEach, expect, test } from 'vitest';
import { type ControlFixture, controlFixture, memoryState } from '../testkit/control.ts';
import { createAskedPathsIndex } from './asked-paths.ts';
import { createNodeCompiler } from './node-compiler.ts';

const open: ControlFixture[] = [];
afterEach(async () => {
  for (const fixture of open.splice(0)) {
    await fixture.close();
    await fixture.compiler.close();
  }
});

async function control(): Promise<ControlFixture> {
  const made = await controlFixture({ compiler: createNodeCompiler('test') });
  open.push(made);
  return made;
}

const policy = (expression: string, reason = 'no') => `validations: [{expression: '${expression}', reason: ${reason}}]`;
/** Tests that ask `path` what it says to alice. */
const asking = (path: string, decision: string, name = `${path} says ${decision}`) =>
  `path: ${path}
request: {subject: {type: user, id: alice}, action: {name: read}, resource: {type: doc, id: "1"}}
tests:
  - name: ${name}
    expect: {decision: ${decision}}
`;
const refused = (...names: string[]) => ({
  reason: 'policy_invalid',
  details: { failed_tests: names.map((name) => expect.objectContaining({ name, passed: false })) },
});

test('a change that fails the tests of another policy is refused, whether they ask it or its directory', async () => {
  const { call } = await control();
  await call('put-policy', { path: 'shop.orders.read', source: policy('true') });
  await call('put-policy', {
    path: 'checks.orders',
    source: policy('true'),
    test: asking('shop.orders.read', 'allow', 'the policy'),
  });
  await call('put-policy', { path: 'checks.shop', source: policy('true'), test: asking('shop', 'allow', 'the shop') });
  const { root } = await call('status');
  const deny = { path: 'shop.orders.read', source: policy('false') };
  await expect(call('put-policy', deny)).rejects.toMatchObject(refused('the policy', 'the shop'));
  await expect(call('delete-policy', { path: 'shop.orders.read' })).rejects.toMatchObject(
    refused('the policy', 'the shop'),
  );
  // A policy that is new below the directory asked counts too.
  await expect(call('put-policy', { path: 'shop.bills', source: policy('false') })).rejects.toMatchObject(
    refused('the shop'),
  );
  expect(await call('check', { changes: [deny] })).toMatchObject({ ok: false, refused: { reason: 'policy_invalid' } });
  expect((await call('status')).root).toBe(root);
  expect(await call('apply', { changes: [{ path: 'shop.bills', source: policy('1 < 2') }] })).toMatchObject({
    tests: 1,
  });
  expect(await call('apply', { changes: [{ path: 'elsewhere', source: policy('false') }] })).toMatchObject({
    tests: 0,
  });
});

test('the change goes through together with the tests that expect it, and once they are gone', async () => {
  const { call } = await control();
  await call('put-policy', { path: 'a.gate', source: policy('true') });
  await call('put-policy', { path: 'checks.gate', source: policy('true'), test: asking('a.gate', 'allow') });
  const deny = { path: 'a.gate', source: policy('false') };
  await expect(call('put-policy', deny)).rejects.toMatchObject({ reason: 'policy_invalid' });
  const expecting = { path: 'checks.gate', source: policy('true'), test: asking('a.gate', 'deny') };
  expect(await call('apply', { changes: [deny, expecting] })).toMatchObject({ tests: 1 });
  await call('put-policy', { path: 'checks.gate', source: policy('true') });
  await call('put-policy', { path: 'a.gate', source: policy('true') });
});

test('of two changes at once that would each pass alone, the later one meets the tests of the earlier', async () => {
  const { call } = await control();
  await call('put-policy', { path: 'a.gate', source: policy('true') });
  const both = await Promise.allSettled([
    call('put-policy', { path: 'checks.gate', source: policy('true'), test: asking('a.gate', 'allow') }),
    call('put-policy', { path: 'a.gate', source: policy('false') }),
  ]);
  expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect((both.find(({ status }) => status === 'rejected') as PromiseRejectedResult).reason).toMatchObject({
    reason: 'policy_invalid',
  });
});

test('writes go on after the root that the index was of has been collected', async () => {
  const { call } = await control();
  await call('put-policy', { path: 'a.gate', source: policy('true') });
  await call('put-policy', { path: 'checks.gate', source: policy('true'), test: asking('a.gate', 'allow') });
  const { root } = await call('status');
  await call('put-policy', { path: 'b', source: policy('true') });
  await call('restore', { root });
  for (let i = 0; i < 2; i++) await call('gc', { retention_days: 0, grace_seconds: 0 });
  await expect(call('put-policy', { path: 'a.gate', source: policy('false') })).rejects.toMatchObject({
    reason: 'policy_invalid',
  });
  await call('put-policy', { path: 'a.gate', source: policy('1 < 2') });
});

test('on another ref the tests of that ref count', async () => {
  const { call } = await control();
  await call('put-policy', { path: 'a.gate', source: policy('true') });
  await call('put-policy', { path: 'b.other', source: policy('true'), ref: 'staging' });
  await call('put-policy', {
    path: 'checks.gate',
    source: policy('true'),
    test: asking('a.gate', 'allow'),
    ref: 'staging',
  });
  const deny = { path: 'a.gate', source: policy('false') };
  await expect(call('put-policy', { ...deny, ref: 'staging' })).rejects.toMatchObject({ reason: 'policy_invalid' });
  await call('put-policy', deny);
});

test('the index is kept over a restart, follows what changed meanwhile, and is made anew where it is lost', async () => {
  const { call, store } = await control();
  await call('put-policy', { path: 'shop.y', source: policy('true') });
  await call('put-policy', { path: 'x', source: policy('true'), test: asking('shop.y', 'allow') });
  const state = memoryState();
  const asked = async () => {
    const index = createAskedPathsIndex({
      store,
      state,
      onError: (error) => {
        throw error;
      },
    });
    return [...(await index.at(store.current()))];
  };
  expect(await asked()).toEqual([['x', ['shop.y']]]);
  await expect.poll(() => state.load()).toContain('shop.y');
  await call('put-policy', { path: 'z', source: policy('true'), test: asking('shop', 'allow') });
  await call('put-policy', { path: 'x', source: policy('true'), test: asking('x', 'allow') });
  expect(await asked()).toEqual([['z', ['shop']]]);
  for (const damage of ['', '{"version":1}', `{"version":1,"commit":"${'0'.repeat(64)}","asked":[["q",["r"]]]}`]) {
    await state.save(damage);
    expect(await asked()).toEqual([['z', ['shop']]]);
  }
});

test.each([
  ['restore', (root: string) => ({ root })],
  ['promote', (root: string) => ({ from: root, force: true })],
])('`%s` runs the tests that stand where it moves to, and moves nothing where one fails', async (method, params) => {
  const { call, store } = await control();
  await call('put-policy', { path: 'a.gate', source: policy('true') });
  const sound = await call('put-policy', {
    path: 'checks.gate',
    source: policy('true'),
    test: asking('a.gate', 'allow'),
  });
  // Content that came in untested, as from a backup of elsewhere.
  const other = await control();
  await other.call('put-policy', { path: 'a.gate', source: policy('false') });
  const { files } = (await other.store.current().readPolicy('a.gate'))!;
  const author = { name: 'Eve', email: 'eve@example.com' };
  const changes = [{ path: 'a.gate', files }];
  const broken = await store.update({ changes, author, message: 'untested', timeMs: 1_800_000_000_000, ref: 'aside' });
  await expect(call(method, params(broken.commit))).rejects.toMatchObject(refused('a.gate says allow'));
  expect((await call('status')).commit).toBe(sound.commit);
  await call('put-policy', { path: 'b', source: policy('true') });
  expect(await call(method, params(sound.commit))).toMatchObject({ root: sound.root, tests: 0 });
  await call('delete-policy', { path: 'checks.gate' });
  await call('put-policy', { path: 'a.gate', source: policy('1 < 2') });
  expect(await call(method, params(sound.commit))).toMatchObject({ root: sound.root, tests: 1 });
});
