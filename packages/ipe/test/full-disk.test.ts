import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { startProcess } from '../src/testkit/process.ts';
import { Cleanups, repositoryRoot } from './support/scratch.ts';

const cleanups = new Cleanups();
afterAll(() => cleanups.run());

/** A file system of a few megabytes; undefined where this user may not mount one. */
async function smallDisk(): Promise<string | undefined> {
  const folder = join(await cleanups.folder(), 'disk');
  await mkdir(folder);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', folder]).status === 0;
  if (mounted) cleanups.add(() => spawnSync('umount', [folder]));
  return mounted ? folder : undefined;
}

test('on a full disk writes are refused with `unavailable`, reads and decisions go on, and nothing acknowledged is lost (skipped without the right to mount)', {
  timeout: 180_000,
}, async ({ skip }) => {
  const disk = await smallDisk();
  if (disk === undefined) return skip('this user may not mount a file system');
  const directory = join(disk, 'ipe');
  const node = await startProcess(directory, { args: ['--apply', `${repositoryRoot}/examples/policies`] });
  cleanups.add(() => node.kill());
  const value = 'x'.repeat(100_000);
  const written: string[] = [];
  let refusal: unknown;
  while (refusal === undefined && written.length < 2000) {
    const key = `fill.k${written.length}`;
    await node.data.put(key, value + written.length).then(
      () => written.push(key),
      (error: unknown) => {
        refusal = error;
      },
    );
  }
  expect(refusal).toMatchObject({ reason: 'unavailable' });
  expect(written.length).toBeGreaterThan(10);
  expect(await node.data.get(written[3]!)).toMatchObject({ value: `${value}3` });
  const decision = await node.evaluation.evaluate('prod.deployment', {
    subject: { type: 'user', id: 'carol' },
    action: { name: 'deploy' },
    resource: { type: 'deployment', id: 'd1', properties: { environment: 'production' } },
  });
  expect(decision.decision).toBe('deny');
  await node.kill();

  // With room again, everything acknowledged is there.
  spawnSync('mount', ['-o', 'remount,size=256m', disk]);
  const again = await startProcess(directory);
  cleanups.add(() => again.kill());
  for (const [index, key] of written.entries()) expect((await again.data.get(key))?.value).toBe(value + index);
});
