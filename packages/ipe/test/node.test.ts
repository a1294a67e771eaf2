import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createClient } from '@ipe/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCli } from '../src/testkit/cli.ts';
import { type NodeProcess, startProcess } from '../src/testkit/process.ts';
import { exampleRepository } from './support/example-repository.ts';
import { runProgram } from './support/run-program.ts';
import { Cleanups } from './support/scratch.ts';

const cleanups = new Cleanups();
const repository = exampleRepository();
let directory: string;
let node: NodeProcess;

beforeAll(async () => {
  cleanups.add(() => repository.destroy());
  directory = await cleanups.folder();
  node = await startProcess(directory);
  cleanups.add(() => node.stop());
});
afterAll(() => cleanups.run());

const ipe = (...argv: string[]) => runProgram(argv, { environment: { IPE_DIR: directory } });
const deploy = (id: string) => ({
  subject: { type: 'user', id: 'carol' },
  action: { name: 'deploy' },
  resource: { type: 'deployment', id, properties: { environment: 'production' } },
});

test('policies from a real Git repository, facts over the data socket, decisions over the eval socket', async () => {
  const synced = await node.control.call('sync-from-git', { repository: repository.directory, directory: 'policies' });
  expect(synced).toMatchObject({ commit: repository.head, policies_updated: 0, policies_removed: 0 });
  expect(synced.policies_added).toBeGreaterThanOrEqual(3);

  const before = await node.evaluation.evaluate('prod.deployment.approval', deploy('d1'));
  expect(before).toMatchObject({
    decision: 'deny',
    reasons: [{ path: 'prod.deployment.approval', reason: 'approvals_missing' }],
  });
  const { token } = await node.data.put('approvals.d1', {
    approvers: [
      { user: 'alice', role: 'senior_engineer' },
      { user: 'bob', role: 'senior_engineer' },
    ],
  });
  const after = await node.evaluation.evaluate('prod.deployment', { ...deploy('d1'), fresh_as_of: token });
  expect(after).toMatchObject({ decision: 'allow', reasons: [] });
  expect(after.receipt).toMatchObject({ root: synced.root, decision: 'allow' });

  const again = await node.control.call('sync-from-git', { repository: repository.directory, directory: 'policies' });
  expect(again).toMatchObject({ root: synced.root, policies_added: 0, policies_updated: 0, policies_removed: 0 });
});

test('a policy that breaks its tests keeps the whole sync out', async () => {
  const root = (await node.control.status())['root'];
  repository.commit({
    'policies/api/rate_limit.policy.yaml': 'validations:\n  - expression: "false"\n    reason: rate_limited\n',
    'policies/prod/new.policy.yaml': 'validations:\n  - expression: "true"\n',
  });
  const sync = node.control.call('sync-from-git', { repository: repository.directory, directory: 'policies' });
  await expect(sync).rejects.toMatchObject({ reason: 'policy_invalid', state: 'unchanged' });
  expect((await node.control.status())['root']).toBe(root);
});

test("the tokens file is the owner's alone, and each token opens its plane and no other", async () => {
  expect((await stat(join(directory, 'credentials.json'))).mode & 0o777).toBe(0o600);
  const wrong = createClient({ socket: join(directory, 'run', 'control.sock'), token: node.tokens.service });
  await expect(wrong.control.status()).rejects.toMatchObject({ reason: 'forbidden' });
  wrong.close();
  const none = createClient({ socket: join(directory, 'run', 'data.sock') });
  await expect(none.data.get('approvals.d1')).rejects.toMatchObject({ reason: 'unauthenticated' });
  none.close();
});

test('the command line finds the node and its tokens by itself', async () => {
  expect(await ipe('status', '--json')).toMatchObject({ code: 0 });
  const question = [
    'prod.deployment.approval',
    '-s',
    'user:carol',
    '-a',
    'deploy',
    '-r',
    'deployment:cli',
    '-p',
    'resource.environment=production',
  ];
  expect(await ipe('eval', ...question, '--exit-code')).toMatchObject({
    code: 3,
    out: expect.stringContaining('approvals_missing'),
  });
  const approvals =
    '{"approvers": [{"user": "alice", "role": "senior_engineer"}, {"user": "bob", "role": "senior_engineer"}]}';
  expect(await ipe('data', 'put', 'approvals.cli', approvals)).toMatchObject({ code: 0 });
  expect(await ipe('eval', ...question, '--exit-code')).toMatchObject({
    code: 0,
    out: expect.stringContaining('allow'),
  });
  expect((await ipe('data', 'get', 'approvals.cli')).out).toContain('senior_engineer');
  expect(await ipe('data', 'get', 'approvals.clj')).toMatchObject({
    code: 1,
    err: expect.stringContaining('did you mean `approvals.cli`?'),
  });
  expect((await ipe('data', 'ls', 'approvals')).out).toContain('approvals.cli');
  expect((await ipe('policy', 'tree')).out).toContain('deployment');
  expect((await ipe('policy', 'ls', 'prod')).out).toContain('prod.deployment.approval');
  expect(await ipe('policy', 'get', 'prod.deployment.aproval')).toMatchObject({
    code: 1,
    err: expect.stringContaining('prod.deployment.approval'),
  });
  expect((await ipe('policy', 'history', 'prod.deployment.approval')).out).toContain('Ada Lovelace');
  expect((await ipe('log')).out).toContain('Example policies');
});

test('policies can be applied, compared, restored and removed from the command line', async () => {
  const folder = await cleanups.folder();
  await mkdir(join(folder, 'own'));
  const write = (expression: string) =>
    writeFile(join(folder, 'own', 'rule.policy.yaml'), `validations:\n  - expression: ${expression}\n`);
  await write('"true"');
  expect(await ipe('apply', folder, '-m', 'a rule of my own')).toMatchObject({
    code: 0,
    out: expect.stringContaining('+ own.rule'),
  });
  const root = JSON.parse((await ipe('status', '--json')).out).root as string;
  await write('"false"');
  expect(await ipe('apply', folder, '--dry-run')).toMatchObject({
    code: 0,
    out: expect.stringContaining('would change 1 policy'),
  });
  expect(await ipe('apply', folder)).toMatchObject({ code: 0, out: expect.stringContaining('~ own.rule') });
  expect(await ipe('apply', folder)).toMatchObject({ code: 0, out: 'nothing to change\n' });
  expect((await ipe('diff', root.slice(0, 12))).out).toContain('+  - expression: "false"');
  expect(await ipe('restore', root.slice(0, 12))).toMatchObject({ code: 0 });
  expect((await ipe('policy', 'get', 'own.rule', '--source')).out).toContain('"true"');
  expect(await ipe('policy', 'rm', 'own.rule')).toMatchObject({ code: 0 });
  expect((await ipe('policy', 'history', 'own.rule')).out.match(/\n/g)).toHaveLength(5);
});

test('a token is made for a service, holds for its namespace, and ends when revoked', async () => {
  const made = JSON.parse((await ipe('token', 'create', 'gateway', '--namespace', 'rate_limits', '--json')).out);
  const client = createClient({ socket: join(directory, 'run', 'data.sock'), token: made.token });
  cleanups.add(() => client.close());
  expect(await client.data.put('rate_limits.user-a', { requests_in_window: 1 }, { ttl: 60 })).toMatchObject({
    version: 1,
  });
  await expect(client.data.put('approvals.d2', {})).rejects.toMatchObject({ reason: 'forbidden' });
  expect(await ipe('token', 'revoke', made.id)).toMatchObject({ code: 0 });
  await expect(client.data.get('rate_limits.user-a')).rejects.toMatchObject({ reason: 'unauthenticated' });
});

test('a second node on the same directory is refused, naming the first', async () => {
  const second = await ipe('serve', '--dir', directory);
  expect(second).toMatchObject({ code: 1, err: expect.stringContaining(String(node.child.pid)) });
});

test('an unknown configuration key is refused with the nearest', async () => {
  const folder = await cleanups.folder();
  await writeFile(join(folder, 'ipe.toml'), '[predicate_service.data_plane]\ndurabilty = "wal"\n');
  const refused = await ipe('serve', '--dir', join(folder, 'state'), '--config', join(folder, 'ipe.toml'));
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('did you mean `durability`?') });
});

test('after SIGTERM and a new start, policies, facts and history are there, and tokens can be made in between', async () => {
  const root = (await node.control.status())['root'];
  await node.data.put('approvals.kept', { approvers: [] });
  expect(await node.stop()).toBe(0);
  const made = JSON.parse((await ipe('token', 'create', 'made-offline', '--kind', 'application', '--json')).out);
  node = await startProcess(directory);
  expect((await node.control.status())['root']).toBe(root);
  expect(await node.data.get('approvals.kept')).toMatchObject({ version: 1, value: { approvers: [] } });
  const client = createClient({ socket: join(directory, 'run', 'eval.sock'), token: made.token });
  expect((await client.evaluation.evaluate('prod.deployment', deploy('d1'))).decision).toBe('allow');
  client.close();
  expect(await ipe('audit', 'verify')).toMatchObject({ code: 0, out: expect.stringContaining('unbroken') });
});

test('a branch is written, decided against, promoted and pinned by the command line, and shown where one looks', async () => {
  const environment = { IPE_DIR: directory };
  const cli = async (...argv: string[]) => {
    const { code, out, err } = await runCli(argv, { environment, workingDirectory: directory });
    return { code, text: out + err };
  };
  const folder = join(directory, 'branch');
  await mkdir(folder);
  const write = (expression: string) =>
    writeFile(join(folder, 'gate.policy.yaml'), `validations:\n  - expression: "${expression}"\n`);
  await write('true');
  expect((await cli('apply', folder)).code).toBe(0);
  await write('false');
  expect((await cli('apply', folder, '--ref', 'staging')).code).toBe(0);
  const question = ['--subject', 'user:ada', '--action', 'pass', '--resource', 'gate:g', '--exit-code'];
  const { refs } = await node.control.call('refs', {});
  const staging = refs.find(({ name }) => name === 'staging')!;
  expect((await cli('eval', 'gate', ...question)).code).toBe(0);
  for (const at of ['staging', staging.commit.slice(0, 12), staging.root.slice(0, 12)])
    expect((await cli('eval', 'gate', ...question, '--root', at)).code).toBe(3);

  expect((await cli('pin', 'before', 'main')).text).toContain('before is commit');
  expect((await cli('refs')).text).toMatch(/before +pin[\s\S]*staging +branch/);
  expect((await cli('promote', 'staging')).text).toMatch(/^main is at commit .*: 1 policy changed$/m);
  expect((await cli('eval', 'gate', ...question)).code).toBe(3);
  expect((await cli('log', '--limit', '2')).text).toMatch(/\[main\] \[staging\][\s\S]*\[before\]/);
  expect((await cli('log', '--ref', staging.commit.slice(0, 12), '--limit', '1')).text).toContain('[staging]');
  expect((await cli('status')).text).toMatch(/pin before +[0-9a-f]{12}/);
  expect(await cli('promote', 'stagin')).toMatchObject({ code: 1, text: expect.stringContaining('`staging`') });
  expect((await cli('promote', 'before', '--if-root', 'f'.repeat(64))).code).toBe(1);
  expect((await cli('apply', folder, '--ref', 'before')).text).toContain('is a pin and does not move');
  expect((await cli('unpin', 'befor')).text).toContain('did you mean `before`');
  expect((await cli('unpin', 'before')).code).toBe(0);
  expect((await cli('unpin', 'main')).text).toContain('cannot be dropped');
});
