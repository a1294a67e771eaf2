import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { runCli } from '../testkit/cli.ts';

const repository = fileURLToPath(new URL('../../../..', import.meta.url));
const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

async function folderOf(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ipe-cli-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  return folder;
}

const owner = 'validations:\n  - {expression: subject.id == resource.properties.owner, reason: not_owner}\n';
const question = (user: string) =>
  JSON.stringify({
    subject: { type: 'user', id: user },
    action: { name: 'read' },
    resource: { type: 'doc', id: 'd', properties: { owner: 'alice' } },
  });
const ownerTest = (expected: string) =>
  `request: ${question('alice')}\ntests:\n  - {name: the owner reads, expect: {decision: ${expected}}}\n`;

test('the example policies are right, tested, covered and formatted', async () => {
  const run = (...argv: string[]) => runCli(argv, { workingDirectory: repository });
  expect(await run('check', 'examples/policies')).toMatchObject({ code: 0, err: '' });
  const tested = await run('test', 'examples/policies', '--coverage', '--json');
  const result = JSON.parse(tested.out);
  expect(tested.code).toBe(0);
  expect(result.tests.length).toBeGreaterThan(10);
  expect(result.coverage.seen / result.coverage.all).toBeGreaterThan(0.85);
  expect(await run('fmt', '--check', 'examples/policies')).toMatchObject({ code: 0 });
});

test('every mistake of a folder is reported at once, with file, line and what was probably meant', async () => {
  const workingDirectory = await folderOf({
    'a/foo.yaml': owner,
    'a/b.policy.yaml': 'validation: []\n',
    'a/c.policy.yaml': 'validations:\n  - expression: size(resource.id\n',
  });
  const { code, out } = await runCli(['check'], { workingDirectory });
  expect(code).toBe(1);
  expect(out).toContain('a/foo.yaml: error: ');
  expect(out).toContain('`foo.policy.yaml`');
  expect(out).toContain('a/b.policy.yaml:1:1: error: a policy has no field `validation`');
  expect(out).toContain('did you mean `validations`?');
  expect(out).toMatch(/a\/c\.policy\.yaml:2:\d+: error: /);
  expect(out).toMatch(/^ *\^/m);
});

test('a failing test is reported with what was expected and what came, in every format, exit code 1', async () => {
  const workingDirectory = await folderOf({ 'x.policy.yaml': owner, 'x.test.yaml': ownerTest('deny') });
  const run = (...argv: string[]) => runCli(['test', ...argv], { workingDirectory });
  const text = await run();
  expect(text).toMatchObject({ code: 1 });
  expect(text.out).toContain('✗ the owner reads');
  expect(text.out).toContain('expected deny, got allow');
  expect(text.out).toContain('0 passed, 1 failed');
  const junit = await run('--format', 'junit');
  expect(junit.code).toBe(1);
  expect(junit.out).toContain('<testsuites name="ipe" tests="1" failures="1"');
  expect(junit.out).toContain('<testcase classname="x.test.yaml" name="the owner reads">');
  const { runs } = JSON.parse((await run('--format', 'sarif')).out);
  expect(runs[0].results).toMatchObject([
    {
      ruleId: 'test_failed',
      level: 'error',
      locations: [{ physicalLocation: { artifactLocation: { uri: 'x.test.yaml' } } }],
    },
  ]);
  expect(JSON.parse((await run('--json')).out)).toMatchObject({ tests: [{ passed: false, path: 'x' }] });
});

test('--watch runs again when a file changes, until interrupted', async () => {
  const workingDirectory = await folderOf({ 'x.policy.yaml': owner, 'x.test.yaml': ownerTest('deny') });
  let isMended = false;
  const { code, out } = await runCli(['test', '--watch'], {
    workingDirectory,
    onOutput: (printed, interrupt) => {
      if (printed.includes('1 passed')) return interrupt();
      if (!printed.includes('1 failed') || isMended) return;
      isMended = true;
      void writeFile(join(workingDirectory, 'x.test.yaml'), ownerTest('allow'));
    },
  });
  expect(code).toBe(0);
  expect(out.indexOf('0 passed, 1 failed')).toBeLessThan(out.indexOf('1 passed, 0 failed'));
});

test('coverage names the outcomes that no test brought about', async () => {
  const workingDirectory = await folderOf({ 'x.policy.yaml': owner, 'x.test.yaml': ownerTest('allow') });
  const { code, out } = await runCli(['test', '--coverage'], { workingDirectory });
  expect(code).toBe(0);
  expect(out).toContain('never false  x validations[0]');
  expect(out).toContain('coverage 50%');
});

test('eval decides from a folder, with exit codes on request', async () => {
  const workingDirectory = await folderOf({ 'docs/owner.policy.yaml': owner });
  const run = (user: string, ...argv: string[]) =>
    runCli(['eval', 'docs', '--policies', '.', '--input', '-', ...argv], { workingDirectory, stdin: question(user) });
  expect(await run('alice', '--exit-code')).toMatchObject({ code: 0, out: expect.stringContaining('allow') });
  expect(await run('bob', '--exit-code')).toMatchObject({ code: 3, out: expect.stringContaining('not_owner') });
  expect(await run('bob')).toMatchObject({ code: 0 });
  expect(JSON.parse((await run('bob', '--json')).out)).toMatchObject({
    decision: 'deny',
    reasons: [{ path: 'docs.owner', reason: 'not_owner' }],
  });
});

test('eval reads facts from a file, and options on top of the input', async () => {
  const workingDirectory = await folderOf({
    'p/x.policy.yaml': 'validations:\n  - expression: subject.id in data.members && context.level == 3.0\n',
    'facts.yaml': 'members.alice: {}\n',
  });
  const argv = [
    'eval',
    'x',
    '--policies',
    'p',
    '-s',
    'user:alice',
    '-a',
    'read',
    '-r',
    'doc:1',
    '-p',
    'context.level=3',
    '--exit-code',
  ];
  expect(await runCli([...argv, '--data', 'facts.yaml'], { workingDirectory })).toMatchObject({ code: 0 });
  expect(await runCli(argv, { workingDirectory })).toMatchObject({ code: 3 });
});

test('eval --explain shows what every expression gave, and why a condition did not hold', async () => {
  const workingDirectory = await folderOf({ 'docs/owner.policy.yaml': owner });
  const argv = ['eval', 'docs', '--policies', '.', '--input', '-', '--explain'];
  const { out } = await runCli(argv, { workingDirectory, stdin: question('bob') });
  expect(out).toMatch(/validations\[0\] +false +subject\.id == resource\.properties\.owner/);
  expect(out).toMatch(/resource\.properties\.owner = "alice"/);
});

test('a misspelt policy path is answered with the nearest, and a question without a subject is a usage error', async () => {
  const workingDirectory = await folderOf({ 'docs/owner.policy.yaml': owner });
  const run = (...argv: string[]) => runCli(['eval', ...argv, '--policies', '.'], { workingDirectory, stdin: '{}' });
  expect(await run('docs.ownr', '-s', 'user:a', '-a', 'x', '-r', 'doc:1')).toMatchObject({
    code: 1,
    err: expect.stringContaining('did you mean `docs.owner`?'),
  });
  expect(await run('docs')).toMatchObject({ code: 2, err: expect.stringContaining('--subject') });
});

test('fmt rewrites only what is not formatted, and --check changes nothing', async () => {
  const workingDirectory = await folderOf({ 'x.policy.yaml': `${owner}description: d\n`, 'y.policy.yaml': owner });
  const run = (...argv: string[]) => runCli(['fmt', ...argv], { workingDirectory });
  expect(await run('--check')).toMatchObject({ code: 1, out: 'not formatted  x.policy.yaml\n' });
  expect(await run('--check')).toMatchObject({ code: 1 });
  expect(await run()).toMatchObject({ code: 0, out: 'formatted  x.policy.yaml\n' });
  expect(await run('--check')).toMatchObject({ code: 0 });
});

test('init begins with a configuration that is right and a policy whose tests pass, and overwrites nothing', async () => {
  const workingDirectory = await folderOf({});
  const run = (...argv: string[]) => runCli(argv, { workingDirectory });
  expect(await run('init', 'mine')).toMatchObject({ code: 0 });
  expect(await run('test', 'mine')).toMatchObject({ code: 0, out: expect.stringContaining('4 passed, 0 failed') });
  expect(await run('fmt', '--check', 'mine')).toMatchObject({ code: 0 });
  expect(await run('config', 'check', 'mine/ipe.toml')).toMatchObject({ code: 0 });
  expect(await run('init', 'mine')).toMatchObject({ code: 1, err: expect.stringContaining('nothing was written') });
});
