import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NodeProcess, startProcess } from '../src/testkit/process.ts';
import { Cleanups, repositoryRoot } from './support/scratch.ts';

const cleanups = new Cleanups();
let node: NodeProcess;
beforeAll(async () => {
  node = await startProcess(await cleanups.folder(), {
    args: ['--apply', join(repositoryRoot, 'examples', 'policies')],
  });
  cleanups.add(() => node.stop());
});
afterAll(() => cleanups.run());

async function run(example: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(repositoryRoot, 'examples', example), ...args], {
    env: { ...process.env, IPE_DIR: node.directory },
  });
  return stdout;
}

test('approvals: two people who approve at once are both counted', async () => {
  const lines = (await run('approvals.mjs')).split('\n').map((line) => line.trim());
  expect(lines[0]).toBe('deny  has 0 of 2 senior approvals');
  expect(lines).toContain('deny  has 1 of 2 senior approvals');
  expect(lines.filter((line) => line.endsWith('approves'))).toHaveLength(3);
  expect(lines.at(-2)).toBe('allow');
});

test('relationships: membership opens and closes the door, and the changes are followed', async () => {
  const out = await run('relationships.mjs');
  const answers = out
    .split('\n')
    .filter((line) => /^(read|write)/.test(line))
    .map((line) => line.split(/\s+/).slice(0, 2).join(' '));
  expect(answers).toEqual(['read deny', 'read allow', 'write deny', 'write allow', 'read deny']);
  expect(out).toContain('update relationships.user-user-');
});

test('rate limiting: users are limited at about 300 requests', async () => {
  const out = await run('rate-limiting.mjs', '20000');
  const allowed = Number(/allowed (\d+)/.exec(out)?.[1]);
  const limited = Number(/limited (\d+)/.exec(out)?.[1]);
  expect(allowed + limited).toBe(20_000);
  expect(allowed).toBeGreaterThanOrEqual(50 * 300);
  expect(limited).toBeGreaterThan(0);
});
