import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { readPolicyDirectory } from './directory.ts';
import { readLimits } from './git/index.ts';

const made: string[] = [];
afterEach(() => {
  for (const path of made.splice(0)) rmSync(path, { recursive: true, force: true });
});

function folder(files: Readonly<Record<string, string | Uint8Array>>): string {
  const root = mkdtempSync(join(tmpdir(), 'ipe-directory-'));
  made.push(root);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
  }
  return root;
}

test('a folder is read into policies with their tests', async () => {
  const root = folder({ 'prod/a.policy.yaml': 'source', 'prod/a.test.yaml': 'tests', 'README.md': 'x' });
  expect(await readPolicyDirectory(root)).toEqual({
    policies: [
      {
        path: 'prod.a',
        sourceFile: 'prod/a.policy.yaml',
        testFile: 'prod/a.test.yaml',
        source: 'source',
        test: 'tests',
      },
    ],
    problems: [],
    ignored: ['README.md'],
  });
});

test('one policy file is read with the tests beside it', async () => {
  const root = folder({ 'prod/a.policy.yaml': 'source', 'prod/a.test.yaml': 'tests', 'prod/b.policy.yaml': 'other' });
  const { policies } = await readPolicyDirectory(join(root, 'prod/a.policy.yaml'));
  expect(policies.map(({ path, test: tests }) => [path, tests])).toEqual([['a', 'tests']]);
});

test('links, bytes that are not text and files over the limit are problems; the rest is still read', async () => {
  const root = folder({
    'a.policy.yaml': 'a',
    'b.policy.yaml': new Uint8Array([0xff, 0xfe]),
    'c.policy.yaml': 'x'.repeat(50),
  });
  symlinkSync('/etc/passwd', join(root, 'd.policy.yaml'));
  symlinkSync('/', join(root, 'e'));
  const { policies, problems } = await readPolicyDirectory(root, { ...readLimits, fileMaxBytes: 40 });
  expect(policies.map(({ path }) => path)).toEqual(['a']);
  expect(problems.map(({ file }) => file)).toEqual(['b.policy.yaml', 'c.policy.yaml', 'd.policy.yaml', 'e']);
});

test('a folder that is not there, or too large, is an error', async () => {
  await expect(readPolicyDirectory('/nowhere/at/all')).rejects.toMatchObject({ reason: 'not_found' });
  const root = folder({ 'a.policy.yaml': 'aa', 'b.policy.yaml': 'bb' });
  await expect(readPolicyDirectory(root, { ...readLimits, entriesMax: 1 })).rejects.toMatchObject({
    reason: 'too_large',
  });
  await expect(readPolicyDirectory(root, { ...readLimits, totalMaxBytes: 3 })).rejects.toMatchObject({
    reason: 'too_large',
  });
});
