import { fromHex } from '@ipe/core/bytes';
import { verifyProof } from '@ipe/core/tree';
import { afterEach, describe, expect, test } from 'vitest';
import { nodePrimitives } from '../repository/primitives.ts';
import { type ControlFixture, controlFixture, memoryState } from '../testkit/control.ts';
import { fakeTime } from '../testkit/time.ts';
import { createUpkeep, type UpkeepEvent, type UpkeepJob } from './upkeep.ts';

const open: ControlFixture[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((fixture) => fixture.close()));
});

async function control(): Promise<ControlFixture> {
  const made = await controlFixture();
  open.push(made);
  return made;
}

describe('proofs, checks and collection over the wire', () => {
  test('a proof of a policy, a directory and an absence is checked without the store', async () => {
    const { call } = await control();
    const { commit, root } = await call('put-policy', { path: 'prod.deploy.a', source: '1' });
    for (const [path, kind] of [
      ['prod.deploy.a', 'policy'],
      ['prod', 'directory'],
      ['prod.deploy.b', 'absent'],
    ] as const) {
      const proof = await call('prove', { path });
      expect(proof).toMatchObject({ kind, path, commit, root });
      const nodes = proof.nodes.map((node: string) => new Uint8Array(Buffer.from(node, 'base64')));
      expect(verifyProof(nodePrimitives, { path, commit, nodes }, { rootCommit: commit })).toMatchObject({
        kind,
        root,
      });
      const forged = nodes.map((node: Uint8Array, i: number) =>
        i === 1 ? node.with(node.length - 1, node.at(-1)! ^ 1) : node,
      );
      expect(() => verifyProof(nodePrimitives, { path, commit, nodes: forged }, { rootCommit: commit })).toThrow();
    }
    expect(fromHex(root)).toHaveLength(32);
  });

  test('verify reports a sound store, and gc says what it would delete before it does', async () => {
    const { call, registry } = await control();
    const first = await call('put-policy', { path: 'a', source: '1' });
    await call('put-policy', { path: 'a', source: '2' });
    await call('put-policy', { path: 'a', source: '3' });
    for (const level of ['quick', 'connectivity', 'full'])
      expect(await call('verify', { level })).toMatchObject({ ok: true, level, problems: [] });
    const dry = await call('gc', { retention_days: 0, dry_run: true, grace_seconds: 0 });
    expect(dry).toMatchObject({ dry_run: true });
    expect(dry.unreachable).toBeGreaterThan(0);
    expect(await call('get-policy', { path: 'a', root: first.commit, source: true })).toMatchObject({ source: '1' });
    await call('gc', { retention_days: 0, grace_seconds: 0 });
    await call('gc', { retention_days: 0, grace_seconds: 0 });
    await expect(call('get-policy', { path: 'a', root: first.commit, source: true })).rejects.toMatchObject({
      reason: 'not_found',
    });
    expect(await call('get-policy', { path: 'a', source: true })).toMatchObject({ source: '3' });
    expect(await call('verify')).toMatchObject({ ok: true });
    expect(registry.list()).toEqual([]);
    await expect(call('gc', {})).rejects.toThrow('`retention_days` is missing');
    await expect(call('gc', { retention_days: -1 })).rejects.toMatchObject({ reason: 'invalid_params' });
    expect((await call('status')).upkeep.map(({ job }: { job: string }) => job)).toEqual(['gc', 'scrub', 'verify']);
  });

  test('a scrub goes through all objects', async () => {
    const { call, upkeep } = await control();
    await call('apply', { changes: Array.from({ length: 200 }, (_, i) => ({ path: `p${i}`, source: `${i}` })) });
    expect(await upkeep.run('scrub')).toMatchObject({ complete: true, problems: [] });
  });
});

describe('background jobs', () => {
  const hour = 3_600_000;

  function counted(name: string, everyMs?: number): UpkeepJob & { runs: number } {
    return {
      name,
      runs: 0,
      ...(everyMs !== undefined && { everyMs }),
      async run() {
        this.runs++;
        return { runs: this.runs };
      },
    };
  }

  test('run on their schedule, also one that began before a restart', async () => {
    const time = fakeTime();
    const state = memoryState();
    const job = counted('backup', 24 * hour);
    job.run = job.run.bind(job);
    const first = createUpkeep({ jobs: [job], state, ...time, random: () => 0.5 });
    await first.start();
    await time.advance(hour);
    expect(job.runs).toBe(1);
    await time.advance(20 * hour);
    await first.stop();
    const second = createUpkeep({ jobs: [job], state, ...time, random: () => 0.5 });
    await second.start();
    await time.advance(2 * hour);
    expect(job.runs).toBe(1);
    await time.advance(2 * hour);
    expect(job.runs).toBe(2);
    expect(second.status()[0]).toMatchObject({
      job: 'backup',
      every: 86_400,
      running: false,
      last_result: { runs: 2 },
    });
    await second.stop();
  });

  test('never run twice at a time, show their progress, and tell how they ended', async () => {
    const time = fakeTime();
    const events: UpkeepEvent[] = [];
    let finish: (() => void) | undefined;
    const job: UpkeepJob = {
      name: 'gc',
      async run(_signal, report) {
        report({ phase: 'mark', done: 7 });
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        throw new Error('disk full');
      },
    };
    const upkeep = createUpkeep({
      jobs: [job],
      state: memoryState(),
      ...time,
      random: () => 0.5,
      onEvent: (event) => events.push(event),
    });
    const running = upkeep.run('gc');
    expect(upkeep.status()[0]).toMatchObject({ running: true, progress: { phase: 'mark', done: 7 } });
    await expect(upkeep.run('gc')).rejects.toMatchObject({ reason: 'unavailable' });
    finish?.();
    await expect(running).rejects.toThrow('disk full');
    expect(events).toMatchObject([{ kind: 'failed', job: 'gc' }]);
    expect(upkeep.status()[0]).toMatchObject({ running: false, last_error: 'disk full' });
    await expect(upkeep.run('gcc')).rejects.toThrow('did you mean `gc`?');
    await upkeep.stop();
    await expect(upkeep.run('gc')).rejects.toMatchObject({ reason: 'unavailable' });
  });
});
