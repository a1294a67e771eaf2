import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { startProcess } from '../src/testkit/process.ts';
import { runProgram } from './support/run-program.ts';
import { Cleanups, repositoryRoot } from './support/scratch.ts';

const cleanups = new Cleanups();
afterAll(() => cleanups.run());

test('policies move as repository, backup and increment, and stock git reads what was exported', async () => {
  const [first, second, out] = [await cleanups.folder(), await cleanups.folder(), await cleanups.folder()];
  const a = await startProcess(first, { args: ['--apply', join(repositoryRoot, 'examples', 'policies')] });
  cleanups.add(() => a.stop());
  const b = await startProcess(second);
  cleanups.add(() => b.stop());
  const ipe = (dir: string, ...argv: string[]) => runProgram([...argv, '--dir', dir]);
  const rootOf = async (node: typeof a) => (await node.control.status())['root'];
  const commit = (await a.control.status())['commit'] as string;

  expect(await ipe(first, 'export', join(out, 'policies.git'))).toMatchObject({ code: 0 });
  expect(await ipe(first, 'export', join(out, 'policies.git'))).toMatchObject({
    code: 1,
    err: expect.stringContaining('not empty'),
  });
  expect(await ipe(second, 'import', join(out, 'policies.git'))).toMatchObject({ code: 0 });
  expect(await rootOf(b)).toBe(await rootOf(a));

  await a.control.apply([{ path: 'own.rule', source: 'validations:\n  - expression: "true"\n' }]);
  expect(await ipe(first, 'backup', join(out, 'more.bundle'), '--since', commit)).toMatchObject({
    code: 0,
    out: expect.stringContaining('incremental'),
  });
  expect(await ipe(second, 'import', join(out, 'more.bundle'))).toMatchObject({
    code: 0,
    out: expect.stringContaining('continued the history'),
  });
  expect(await rootOf(b)).toBe(await rootOf(a));
  expect(await ipe(second, 'import', out)).toMatchObject({
    code: 1,
    err: expect.stringContaining('not a bare repository'),
  });
});
