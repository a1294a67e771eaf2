import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openAuditLog } from '../security/audit.ts';
import { evaluationFixture } from '../testkit/evaluation.ts';
import { createDecisionLog, type DecisionLogMode, verifyDecisionLog } from './decision-log.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipe-decisions-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const signer = { key: 'k1', sign: (bytes: Uint8Array) => sign(null, bytes, privateKey).toString('base64url') };
const check = (key: string, bytes: Uint8Array, signature: string) =>
  key === 'k1' && verify(null, bytes, publicKey, Buffer.from(signature, 'base64url'));

const policies = {
  'a.strict': 'validations: [{expression: subject.id != "mallory", reason: banned}]',
  'a.watch': 'validations: [{expression: subject.id != "eve", reason: odd}]\nvalidationActions: [Audit]',
};

async function decide(mode: DecisionLogMode, subjects: readonly string[], segmentLines = 1_000) {
  const trail = await openAuditLog({ directory: folder, maxBytes: 1e6, keep: 5, now: () => 0, onError: () => {} });
  const log = createDecisionLog({ trail, mode, signer, segmentLines });
  const { call } = await evaluationFixture({ policies, service: { onDecision: (decision) => log.record(decision) } });
  for (const id of subjects)
    await call('evaluate', {
      path: 'a',
      subject: { type: 'user', id },
      action: { name: 'read' },
      resource: { type: 'r', id: '1' },
      receipt: 'none',
    });
  await log.close();
  await trail.close();
  return call;
}

async function lines() {
  const [file] = await readdir(folder);
  if (file === undefined) return [];
  return (await readFile(join(folder, file), 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

test.each([
  ['none', []],
  ['audits', ['eve']],
  ['denials', ['mallory', 'eve']],
  ['all', ['alice', 'mallory', 'eve']],
] as const)('mode %s writes down %j', async (mode, expected) => {
  await decide(mode, ['alice', 'mallory', 'eve']);
  const written = (await lines()).filter((line) => line.event === 'decision');
  expect(written.map((line) => line.receipt.input.value.subject.id)).toEqual(expected);
  for (const line of written.filter((each) => each.receipt.input.value.subject.id === 'eve'))
    expect(line.audits).toEqual([{ path: 'a.watch', reason: 'odd', message: expect.any(String) }]);
});

test('a line of the log can be replayed', async () => {
  const call = await decide('all', ['mallory']);
  const [line] = await lines();
  const admin = { caller: { kind: 'admin', tokenId: 't', name: 'ada' } } as const;
  expect(await call('replay', { receipt: line.receipt }, admin)).toMatchObject({ decision: 'deny', same: true });
});

test('segments are signed as they fill and at the end; what was changed is noticed', async () => {
  await decide('all', ['a', 'b', 'c', 'd', 'e'], 2);
  const report = await verifyDecisionLog(folder, check);
  expect(report).toMatchObject({ problems: [], keys: ['k1'], lines: 8, signedThrough: 7 });
  const [file] = await readdir(folder);
  const text = await readFile(join(folder, file!), 'utf8');
  await writeFile(join(folder, file!), text.replace('"decision":"allow"', '"decision":"deny"'));
  expect((await verifyDecisionLog(folder, check)).problems).not.toEqual([]);
  await writeFile(join(folder, file!), text);
  expect((await verifyDecisionLog(folder, () => false)).problems).toHaveLength(3);
});
