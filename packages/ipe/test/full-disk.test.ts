import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { openAuditLog, verifyAudit } from '../src/security/audit.ts';
import { type NodeProcess, startProcess } from '../src/testkit/process.ts';
import { Cleanups, repositoryRoot } from './support/scratch.ts';

const cleanups = new Cleanups();
afterAll(() => cleanups.run());

/** A file system of that size, as `mount` takes it; undefined where this user may not mount one. */
async function smallDisk(size: string): Promise<string | undefined> {
  const folder = join(await cleanups.folder(), 'disk');
  await mkdir(folder);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]).status === 0;
  if (mounted) cleanups.add(() => spawnSync('umount', [folder]));
  return mounted ? folder : undefined;
}

const decide = (node: NodeProcess) =>
  node.evaluation.evaluate('prod.deployment', {
    subject: { type: 'user', id: 'carol' },
    action: { name: 'deploy' },
    resource: { type: 'deployment', id: 'd1', properties: { environment: 'production' } },
  });

/** Writes until it is taken. Until then the reason is that there is no room. */
async function untilTaken(write: () => Promise<unknown>): Promise<void> {
  for (;;) {
    const taken = await write().then(
      () => true,
      (error: { reason?: string }) => {
        expect(error.reason).toBe('unavailable');
        return false;
      },
    );
    if (taken) return;
    await setTimeout(100);
  }
}

function fetchText(
  node: NodeProcess,
  plane: 'control' | 'data',
  path: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${node.tokens.admin}` };
    get({ socketPath: join(node.directory, 'run', `${plane}.sock`), path, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode!, text }));
    }).on('error', reject);
  });
}

test.for(['fsync', 'wal'])(
  'on a full disk writes are refused and reads and decisions go on; with room again writes are taken again by themselves, and nothing acknowledged is lost (`durability = "%s"`; skipped without the right to mount)',
  async (durability, { skip }) => {
    const disk = await smallDisk('64m');
    if (disk === undefined) return skip('this user may not mount a file system');
    const filler = join(disk, 'filler');
    await writeFile(filler, Buffer.alloc(40 * 1024 * 1024));
    const directory = join(disk, 'ipe');
    const node = await startProcess(directory, {
      args: ['--apply', `${repositoryRoot}/examples/policies`],
      environment: { IPE_PREDICATE_SERVICE__DATA_PLANE__DURABILITY: durability },
    });
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
    expect(refusal).toMatchObject({ reason: 'unavailable', message: expect.stringContaining('no space is left') });
    expect(written.length).toBeGreaterThan(10);

    expect(await node.data.get(written[3]!)).toMatchObject({ value: `${value}3` });
    expect((await decide(node)).decision).toBe('deny');
    await expect(node.data.put('fill.more', 1)).rejects.toMatchObject({ reason: 'unavailable' });
    const ready = await fetchText(node, 'data', '/readyz');
    expect(ready.status).toBe(503);
    expect(ready.text).toContain('no space is left');
    expect((await node.control.status())['data']).toMatchObject({
      refuses_writes: expect.stringContaining('no space is left'),
    });
    expect((await fetchText(node, 'control', '/metrics')).text).toContain('ipe_data_writes_refused 1');

    await rm(filler);
    await untilTaken(() => node.data.put('fill.after', 'room'));
    expect((await fetchText(node, 'data', '/readyz')).status).toBe(200);
    expect((await fetchText(node, 'control', '/metrics')).text).toContain('ipe_data_writes_refused 0');
    expect(node.log()).toContain('the fact store takes writes again');
    const expectAll = async (data: NodeProcess['data']) => {
      for (const [index, key] of written.entries()) expect((await data.get(key))?.value).toBe(value + index);
      expect((await data.get('fill.after'))?.value).toBe('room');
    };
    await expectAll(node.data);
    await node.kill();
    const again = await startProcess(directory);
    cleanups.add(() => again.kill());
    await expectAll(again.data);
  },
);

test('on a full disk changes of policies are refused and decisions go on; with room again they are taken by themselves, and nothing acknowledged is lost (skipped without the right to mount)', async ({
  skip,
}) => {
  const disk = await smallDisk('64m');
  if (disk === undefined) return skip('this user may not mount a file system');
  const filler = join(disk, 'filler');
  await writeFile(filler, Buffer.alloc(46 * 1024 * 1024));
  const directory = join(disk, 'ipe');
  const node = await startProcess(directory, { args: ['--apply', `${repositoryRoot}/examples/policies`] });
  cleanups.add(() => node.kill());
  const example = await readFile(`${repositoryRoot}/examples/policies/prod/deployment/approval.policy.yaml`, 'utf8');
  // Hardly to be compressed, and never twice the same.
  const sourceOf = (n: number) =>
    `# ${createHash('shake256', { outputLength: 45_000 }).update(`${n}`).digest('base64')}\n${example}`;
  const put = (n: number) => node.control.apply([{ path: `fill.p${n}`, source: sourceOf(n) }]);
  const storedSource = async ({ control }: NodeProcess, n: number) =>
    (await control.call('get-policy', { path: `fill.p${n}`, source: true })).source;
  let written = 0;
  let refusal: unknown;
  while (refusal === undefined && written < 2000)
    await put(written).then(
      () => written++,
      (error: unknown) => {
        refusal = error;
      },
    );
  expect(refusal).toMatchObject({ reason: 'unavailable', message: expect.stringContaining('no space is left') });
  expect(written).toBeGreaterThan(10);
  expect((await decide(node)).decision).toBe('deny');
  expect(await storedSource(node, 3)).toBe(sourceOf(3));
  await expect(put(written + 1)).rejects.toMatchObject({ reason: 'unavailable' });
  expect((await node.control.status())['tree']).toMatchObject({
    refuses_writes: expect.stringContaining('no space is left'),
  });

  await rm(filler);
  await untilTaken(() => put(1000));
  expect((await node.control.status())['tree']).toMatchObject({ refuses_writes: null });
  expect(node.log()).toContain('the policy store takes writes again');
  const expectAll = async (of: NodeProcess) => {
    for (const n of [...Array(written).keys(), 1000]) expect(await storedSource(of, n)).toBe(sourceOf(n));
  };
  await expectAll(node);
  await node.kill();
  const again = await startProcess(directory);
  cleanups.add(() => again.kill());
  await expectAll(again);
  expect(await again.control.call('verify', {})).toMatchObject({ problems: [] });
});

test('an audit trail that met a full disk goes on unbroken once there is room, with every line (skipped without the right to mount)', async ({
  skip,
}) => {
  const directory = await smallDisk('64k');
  if (directory === undefined) return skip('this user may not mount a file system');
  const filler = join(directory, 'filler');
  await writeFile(filler, Buffer.alloc(30_000));
  const refusals: unknown[] = [];
  const audit = await openAuditLog({
    directory,
    maxBytes: 1_000_000,
    keep: 10,
    now: () => 0,
    onError: (error) => refusals.push(error),
  });
  while (refusals.length < 3) {
    for (let i = 0; i < 20; i++) audit.append({ event: 'test', text: 'x'.repeat(i) });
    await audit.flush();
  }
  expect(refusals).toEqual(Array(3).fill(expect.objectContaining({ code: 'ENOSPC' })));
  await rm(filler);
  await audit.close();
  expect(await verifyAudit(directory)).toMatchObject({ problems: [], first: 1, head: audit.head });
});
