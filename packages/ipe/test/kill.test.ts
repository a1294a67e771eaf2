import { setImmediate } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { startProcess } from '../src/testkit/process.ts';
import { Cleanups, repositoryRoot } from './support/scratch.ts';

const kills = 50;
const writers = 8;
const cleanups = new Cleanups();
afterAll(() => cleanups.run());

test(`kill -9 in the middle of writes, ${kills} times: every acknowledged write is there, and the root verifies`, {
  timeout: 600_000,
}, async () => {
  const directory = await cleanups.folder();
  /** Newest acknowledged and newest attempted value of each key. */
  const acknowledged = new Map<string, number>();
  const attempted = new Map<string, number>();
  let policyRoot: unknown;
  let seed = 1;
  let count = 0;
  for (let round = 0; round <= kills; round++) {
    const node = await startProcess(
      directory,
      round === 0 ? { args: ['--apply', `${repositoryRoot}/examples/policies`] } : {},
    );
    cleanups.add(() => node.kill());
    const keys = [...attempted.keys()];
    const entries = keys.length === 0 ? [] : await node.data.getAll(keys);
    for (const [index, key] of keys.entries()) {
      const value = entries[index]?.value as number | undefined;
      const least = acknowledged.get(key);
      if (least !== undefined) expect(value, `${key} after kill ${round}`).toBeGreaterThanOrEqual(least);
      if (value !== undefined) {
        expect(value, `${key} holds what was never written`).toBeLessThanOrEqual(attempted.get(key)!);
        acknowledged.set(key, value);
      }
    }
    const status = await node.control.status();
    if (policyRoot !== undefined) expect(status['root']).toBe(policyRoot);
    expect((await node.control.call('verify', { level: 'full' }))['problems']).toEqual([]);
    if (round === kills) break;

    // A policy is written now and then too, so that the kill may fall into either store.
    if (round % 5 === 0)
      await node.control.apply([
        { path: `own.rule${round % 3}`, source: `description: round ${round}\nvalidations:\n  - expression: "true"\n` },
      ]);
    policyRoot = (await node.control.status())['root'];

    seed = (seed * 48_271) % 2_147_483_647;
    const goal = count + 20 + (seed % 200);
    const write = async (writer: number) => {
      for (;;) {
        const key = `kill.w${writer}-${count % 50}`;
        const value = ++count;
        attempted.set(key, value);
        try {
          await node.data.put(key, value);
        } catch {
          return;
        }
        acknowledged.set(key, value);
      }
    };
    const writing = Array.from({ length: writers }, (_, writer) => write(writer));
    while (count < goal) await setImmediate();
    await node.kill();
    await Promise.all(writing);
  }
  expect(count).toBeGreaterThan(kills * 20);
});
