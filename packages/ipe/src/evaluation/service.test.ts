import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { fakeSession } from '../testkit/control.ts';
import { applicationCaller, compiled, evaluationFixture } from '../testkit/evaluation.ts';

const approval = `matchConditions:
  - expression: resource.properties.environment in ["production", "staging"]
variables:
  - name: approvers
    expression: 'resource.id in data.approvals ? data.approvals[resource.id].approvers : []'
validations:
  - expression: size(variables.approvers.filter(a, a.role == "senior_engineer")) >= params.required
    messageExpression: '"has " + string(size(variables.approvers)) + " approvals"'
    reason: approvals_missing
params: {required: 2}
`;
const hours = 'validations: [{expression: now.getHours() >= 6, reason: at_night}]\n';
const policies = {
  'prod.deployment.approval': approval,
  'prod.deployment.hours': hours,
  'staging.any': 'validations: [{expression: "true"}]',
};

const senior = { name: 'bo', role: 'senior_engineer' };
const ask = (id: string, more: object = {}) => ({
  path: 'prod.deployment.approval',
  subject: { type: 'user', id: 'alice' },
  action: { name: 'deploy' },
  resource: { type: 'deployment', id, properties: { environment: 'production' } },
  ...more,
});
const open = () =>
  evaluationFixture({
    policies,
    facts: [
      ['approvals.d1', { approvers: [senior] }],
      ['approvals.d2', { approvers: [senior, senior] }],
    ],
  });
const admin = { caller: { kind: 'admin', tokenId: 't', name: 'ada' } } as const;

describe('evaluate', () => {
  test('answers a decision with reasons and a receipt that names its root, commit and reads', async () => {
    const { call, store, nowMs, source } = await open();
    const answer = await call('evaluate', ask('d1'));
    expect(answer).toMatchObject({
      decision: 'deny',
      reasons: [{ path: 'prod.deployment.approval', reason: 'approvals_missing', message: 'has 1 approvals' }],
      warnings: [],
      errors: [],
      receipt: { root: store.current().root, commit: store.current().commit, now: nowMs / 1000, instance: 'test' },
    });
    expect(answer.receipt.scope.id).toBe((await store.current().lookup('prod.deployment.approval'))!.hash);
    expect(answer.receipt.applied[0].id).toBe(answer.receipt.scope.id);
    expect((await call('evaluate', ask('d2', { receipt: 'none' }))).receipt).toBeNull();
    expect(source.openViews, 'every view was released').toBe(0);
  });

  test('a directory is decided by every policy below it', async () => {
    const { call } = await open();
    const at = (now: number) => call('evaluate', ask('d2', { path: 'prod', now }), admin);
    expect((await at(1_767_250_000)).decision).toBe('allow');
    const night = await at(1_767_225_600);
    expect(night).toMatchObject({ decision: 'deny', reasons: [{ path: 'prod.deployment.hours', reason: 'at_night' }] });
    expect(night.receipt.scope.kind).toBe('directory');
    expect(night.receipt.applied.map((a: { path: string }) => a.path)).toEqual([
      'prod.deployment.approval',
      'prod.deployment.hours',
    ]);
    expect((await call('evaluate', ask('d2', { path: '' }))).decision).toBe('deny');
  });

  test('what needs no disk is answered without a promise; cold policies and facts give the same answer later', async () => {
    const { service, source, call } = await open();
    const context = { caller: admin.caller, signal: new AbortController().signal };
    const first = service.handlers['evaluate']!(ask('d1', { path: 'prod' }), context);
    expect(first).toBeInstanceOf(Promise);
    const { receipt: cold, ...firstAnswer } = (await first) as { receipt: object };
    const second = service.handlers['evaluate']!(ask('d1', { path: 'prod' }), context) as { receipt: object };
    expect(second).not.toBeInstanceOf(Promise);
    const { receipt: hot, ...secondAnswer } = second;
    expect(secondAnswer).toEqual(firstAnswer);
    expect({ ...hot, id: '' }).toEqual({ ...cold, id: '' });
    source.cold.add('approvals.d1');
    const third = await call('evaluate', ask('d1', { path: 'prod' }));
    expect({ ...third.receipt, id: '' }).toEqual({ ...hot, id: '' });
    expect(source.loads).toBe(1);
    expect(source.openViews).toBe(0);
  });

  test('a misspelt path is answered with the nearest, a bad request with the field', async () => {
    const { call, source } = await open();
    await expect(call('evaluate', ask('d1', { path: 'prod.deploymnt.approval' }))).rejects.toMatchObject({
      reason: 'not_found',
      details: { nearest: 'prod.deployment.approval' },
    });
    const refused = (params: object) => expect(call('evaluate', params)).rejects;
    await refused({ ...ask('d1'), subject: { type: 'user' } }).toMatchObject({
      reason: 'invalid_params',
      details: { field: 'subject.id' },
    });
    await refused({ ...ask('d1'), reciept: 'none' }).toMatchObject({
      reason: 'invalid_params',
      details: { nearest: 'receipt' },
    });
    await refused({ ...ask('d1'), receipt: 'some' }).toMatchObject({ reason: 'invalid_params' });
    await refused({ ...ask('d1'), context: { a: { b: '\ud800' } } }).toMatchObject({ reason: 'invalid_params' });
    await refused({ ...ask('d1'), path: undefined }).toMatchObject({ details: { field: 'path' } });
    await refused({ ...ask('d1'), receipt: 'signed' }).toMatchObject({ reason: 'evaluation_error' });
    expect(source.openViews).toBe(0);
  });

  test('time and root are for admins', async () => {
    const { call, store } = await open();
    for (const extra of [{ now: 1 }, { root: store.current().root }, { explain: true }])
      await expect(call('evaluate', ask('d1', extra))).rejects.toMatchObject({ reason: 'forbidden' });
    expect((await call('evaluate', ask('d1', { now: 12.5 }), admin)).receipt.now).toBe(12.5);
  });

  test('an explanation is given to admins and to applications that were granted it', async () => {
    const { call } = await open();
    const granted = { caller: { ...applicationCaller, grants: ['explain'] } };
    const answer = await call('evaluate', ask('d1', { path: 'prod', explain: true }), granted);
    const { receipt: plain, ...same } = await call('evaluate', ask('d1', { path: 'prod' }));
    expect(answer).toMatchObject(same);
    expect({ ...answer.receipt, id: '' }).toEqual({ ...plain, id: '' });
    expect(answer.explain.policies.map((p: { path: string; outcome: string }) => [p.path, p.outcome])).toEqual([
      ['prod.deployment.approval', 'deny'],
      ['prod.deployment.hours', 'deny'],
    ]);
    expect(answer.explain.policies[0].variables[0]).toMatchObject({ label: 'variables.approvers', value: [senior] });
    expect((await call('evaluate', ask('d1', { explain: true }), admin)).explain.policies).toHaveLength(1);
  });

  test('an older root answers as it did then', async () => {
    const { call, store, put } = await open();
    const before = store.current().root;
    await put({ 'prod.deployment.approval': approval.replace('required: 2', 'required: 1') });
    expect((await call('evaluate', ask('d1'))).decision).toBe('allow');
    expect((await call('evaluate', ask('d1', { root: before }), admin)).decision).toBe('deny');
  });
});

test('a batch is one snapshot; an item that cannot be evaluated leaves the others alone', async () => {
  const { call } = await open();
  const { results } = await call('evaluate-batch', {
    evaluations: [
      { id: 1, ...ask('d1') },
      { id: 'x', ...ask('d2') },
      { id: null, path: 'nowhere' },
      { id: 4, ...ask('d1', { path: 'no.such' }) },
      7,
    ],
  });
  expect(
    results.map((r: { id: unknown; decision?: string; error?: { data: { reason: string } } }) => [
      r.id,
      r.decision ?? r.error?.data.reason,
    ]),
  ).toEqual([
    [1, 'deny'],
    ['x', 'allow'],
    [null, 'invalid_params'],
    [4, 'not_found'],
    [null, 'invalid_params'],
  ]);
  expect(new Set(results.slice(0, 2).map((r: { receipt: { root: string } }) => r.receipt.root)).size).toBe(1);
});

describe('replay', () => {
  test('a full receipt is reproduced from itself, or tells what another root or other facts change', async () => {
    const { call, facts, put, store } = await open();
    const { receipt } = await call('evaluate', ask('d1', { receipt: 'full' }));
    facts.delete('approvals.d1');
    expect(await call('replay', { receipt })).toMatchObject({
      decision: 'deny',
      same: true,
      differences: [],
      facts: 'receipt',
    });
    await put({ 'prod.deployment.approval': approval.replace('required: 2', 'required: 1') });
    const other = await call('replay', { receipt, root: store.current().root });
    expect(other).toMatchObject({ decision: 'allow', same: false });
    expect(other.differences.map((d: { field: string }) => d.field)).toEqual(['applied', 'decision', 'reasons']);
    expect((await call('replay', { receipt })).same).toBe(true);
    const { value: _value, ...read } = receipt.reads[0];
    const held = await call('replay', { receipt: { ...receipt, reads: [read] } });
    expect(held).toMatchObject({ same: false, facts: 'held' });
    expect(held.differences.map((d: { field: string }) => d.field)).toContain('reads.approvals.d1.absent');
  });

  test('receipts that were tampered with are refused', async () => {
    const { call } = await open();
    const { receipt } = await call('evaluate', ask('d1', { receipt: 'full' }));
    const refused = (changed: object) =>
      expect(call('replay', { receipt: { ...receipt, ...changed } })).rejects.toMatchObject({
        reason: 'invalid_params',
      });
    await refused({ input: { ...receipt.input, sha256: '0'.repeat(64) } });
    await refused({ reads: [{ ...receipt.reads[0], value: {} }] });
    await refused({ input: { sha256: receipt.input.sha256 } });
    await refused({ v: 2 });
    await refused({ reads: 'x' });
    await expect(call('replay', {})).rejects.toMatchObject({ reason: 'invalid_params' });
  });

  test('signatures are made and checked with the key handed in', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const { call } = await evaluationFixture({
      policies,
      service: {
        signer: { key: 'k1', sign: (bytes) => sign(null, bytes, privateKey).toString('base64') },
        verifier: (key, bytes, signature) =>
          key === 'k1' ? verify(null, bytes, publicKey, Buffer.from(signature, 'base64')) : undefined,
      },
    });
    const { receipt } = await call('evaluate', ask('d1', { receipt: 'signed' }));
    const given = { ...receipt, input: (await call('evaluate', ask('d1', { receipt: 'full' }))).receipt.input };
    expect(receipt.signature).toMatchObject({ key: 'k1', algorithm: 'Ed25519' });
    expect((await call('replay', { receipt: given })).signature, 'the input was not part of it').toBe('invalid');
    const full = (await call('evaluate', ask('d1', { receipt: 'full' }))).receipt;
    expect((await call('replay', { receipt: full })).signature).toBe('valid');
    expect(
      (await call('replay', { receipt: { ...full, signature: { ...full.signature, key: 'k2' } } })).signature,
    ).toBe('unknown_key');
  });
});

test('a program that is not what its source compiles to is never used, where policies come from peers', async () => {
  const { store, service } = await evaluationFixture({ service: { verifyPrograms: true } });
  const forged = { ...compiled('a', hours), program: compiled('a', 'validations: [{expression: "true"}]').program };
  await store.update({
    changes: [
      { path: 'honest', files: compiled('a', hours) },
      { path: 'forged', files: forged },
    ],
    author: { name: 'a', email: 'a@b' },
    message: 'm',
    timeMs: 0,
  });
  const context = { caller: admin.caller, signal: new AbortController().signal };
  const at = async (path: string) => service.handlers['evaluate']!(ask('d1', { path }), context);
  await expect(at('honest')).resolves.toMatchObject({ decision: 'deny' });
  await expect(at('forged')).rejects.toMatchObject({ reason: 'corrupt' });
  await expect(at(''), 'nor is it asked when it would apply').rejects.toMatchObject({ reason: 'corrupt' });
});

test('subscribers are told of changes at or below their paths', async () => {
  const { call, put, store } = await open();
  const session = fakeSession();
  const { subscription } = await call('subscribe', { paths: ['prod.deployment'] }, { session });
  await put({ 'prod.deployment.hours': null, 'staging.any': 'validations: [{expression: "false"}]' });
  const told = session.sent ?? [];
  expect(told).toMatchObject([
    { event: 'policy-updated', data: { path: 'prod.deployment.hours', version: null, root: store.current().root } },
  ]);
  await call('unsubscribe', { subscription }, { session });
  await expect(call('unsubscribe', { subscription }, { session })).rejects.toMatchObject({ reason: 'not_found' });
  await expect(call('subscribe', { paths: ['prod'] })).rejects.toMatchObject({ reason: 'invalid_request' });
});

test('applications can list policies and look at one', async () => {
  const { call } = await open();
  const { policies: listed } = await call('list-policies', { prefix: 'prod' });
  expect(listed.map((p: { path: string }) => p.path)).toEqual(['prod.deployment.approval', 'prod.deployment.hours']);
  expect(await call('get-policy', { path: 'staging.any', source: true })).toMatchObject({
    path: 'staging.any',
    source: policies['staging.any'],
  });
  await expect(call('get-policy', { path: 'stagin.any' })).rejects.toMatchObject({
    reason: 'not_found',
    details: { nearest: 'staging.any' },
  });
});
