import { createHmac } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import type { Mirror } from '@ipe/client/protocol';
import { afterAll, expect, test } from 'vitest';
import { ask } from '../src/testkit/door.ts';
import { type NodeProcess, startProcess } from '../src/testkit/process.ts';
import { exampleRepository } from './support/example-repository.ts';
import { runProgram } from './support/run-program.ts';
import { Cleanups } from './support/scratch.ts';

const cleanups = new Cleanups();
afterAll(() => cleanups.run());

const secret = 'what only the hosting service knows';

/** Sends a webhook to the control socket, without a token. */
function webhook(directory: string, body: string, signedWith: string): Promise<{ status: number; body: string }> {
  const signature = createHmac('sha256', signedWith).update(body).digest('hex');
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        socketPath: join(directory, 'run', 'control.sock'),
        method: 'POST',
        path: '/webhooks/git',
        headers: {
          'content-type': 'application/json',
          'x-github-event': 'push',
          'x-hub-signature-256': `sha256=${signature}`,
        },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

/** The node's only mirror, once it fulfils `wanted`; told of by updates, asked again after each. */
async function mirrorThat(node: NodeProcess, wanted: (mirror: Mirror) => boolean): Promise<Mirror> {
  for (let attempt = 0; ; attempt++) {
    const [mirror] = (await node.control.call('get-sync-status', {})).mirrors ?? [];
    if (mirror !== undefined && wanted(mirror)) return mirror;
    if (attempt > 600) throw new Error(`the mirror stays as it is: ${JSON.stringify(mirror)}\n${node.log()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test('a configured repository is mirrored at the start and by webhook, survives a restart, and is held by a rollback', async () => {
  const repository = exampleRepository();
  cleanups.add(() => repository.destroy());
  const directory = await cleanups.folder();
  const config = join(await cleanups.folder(), 'ipe.toml');
  await writeFile(join(directory, 'webhook-secret'), `${secret}\n`);
  await writeFile(
    config,
    `[control_plane.git_sync]
repository = ${JSON.stringify(repository.directory)}
branch = "main"
directory = "policies"
prefix = "team"
interval = "1h"
webhook_secret_path = "webhook-secret"
`,
  );
  let node = await startProcess(directory, { args: ['--config', config] });
  const ipe = (...argv: string[]) => runProgram(argv, { environment: { IPE_DIR: directory } });
  const approval = 'team.prod.deployment.approval';
  try {
    const first = await mirrorThat(node, ({ commit }) => commit === repository.head);
    expect(first).toMatchObject({ configured: true, status: 'synced', owned: ['team'], drift: [] });
    const { version } = await node.control.call('get-policy', { path: approval });

    const put = node.control.call('put-policy', { path: approval, source: 'validations: [{expression: "true"}]' });
    await expect(put).rejects.toMatchObject({ reason: 'forbidden', details: { repository: repository.directory } });
    const standing = async () => ((await node.control.status())['mirrors'] as { drift: number }[])[0];
    expect(await standing()).toMatchObject({ drift: 0, error: null });
    const forced = { path: 'team.prod.forced', source: 'validations: [{expression: "true"}]', force: true };
    await node.control.call('put-policy', forced);
    expect(await standing()).toMatchObject({ drift: 1 });
    const metrics = await ask(join(directory, 'run', 'control.sock'), { path: '/metrics' });
    expect(metrics.text).toMatch(/^ipe_mirror_drift_policies\{[^}]*prefix="team"\} 1$/m);
    await node.control.call('delete-policy', { path: 'team.prod.forced', force: true });

    const push = JSON.stringify({ ref: 'refs/heads/main' });
    expect(await webhook(directory, push, 'a guess')).toMatchObject({ status: 401 });
    const second = repository.commit({ 'policies/prod/freeze.policy.yaml': 'validations:\n  - expression: "true"\n' });
    expect(await webhook(directory, push, secret)).toMatchObject({ status: 202 });
    await mirrorThat(node, ({ commit }) => commit === second);
    expect(await node.control.call('get-policy', { path: 'team.prod.freeze' })).toMatchObject({
      path: 'team.prod.freeze',
    });

    await node.stop();
    node = await startProcess(directory, { args: ['--config', config] });
    expect(await ipe('sync', '--rollback', repository.head.slice(0, 10))).toMatchObject({
      code: 0,
      out: expect.stringContaining('removed team.prod.freeze'),
    });
    // Not before: the sync of the start would take it, and leave the rollback nothing to remove.
    const third = repository.commit({ 'policies/prod/freeze.policy.yaml': null });
    expect(await webhook(directory, push, secret)).toMatchObject({ status: 202 });
    const held = await mirrorThat(node, ({ seen_commit }) => seen_commit === third);
    expect(held).toMatchObject({ status: 'pinned', commit: repository.head, behind: true });
    expect((await ipe('sync', '--status')).out).toContain('ipe sync --resume');
    expect(await node.control.call('get-policy', { path: approval })).toMatchObject({ version });
    expect(await ipe('sync', '--resume')).toMatchObject({ code: 0 });
    await mirrorThat(node, ({ commit, pin }) => commit === third && pin === null);
  } finally {
    await node.stop();
  }
});
