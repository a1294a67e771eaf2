import { afterAll, expect, test } from 'vitest';
import { type NodeProcess, startProcess } from '../src/testkit/process.ts';
import { Cleanups, repositoryRoot } from './support/scratch.ts';

// A release runs this with IPE_KILLS=1000.
const kills = Math.ceil(Number(process.env['IPE_KILLS'] ?? 24) / 2);
const writers = 8;
/** Rounds between looks at every object of the policy store. */
const verifyEvery = 10;
const cleanups = new Cleanups();
afterAll(() => cleanups.run());

/** What was written to a node that is killed again and again: the number in each key only grows. */
class Ledger {
  /** Newest acknowledged and newest attempted value of each key. */
  readonly #acknowledged = new Map<string, number>();
  readonly #attempted = new Map<string, number>();
  count = 0;

  /** Writes until the node is gone. Resolves `reached` once so many writes were begun. */
  write(node: NodeProcess, goal: number): { readonly reached: Promise<void>; readonly ended: Promise<unknown> } {
    let onReached = () => {};
    const reached = new Promise<void>((resolve) => {
      onReached = resolve;
    });
    const ended = Promise.all(
      Array.from({ length: writers }, async (_, writer) => {
        for (;;) {
          const key = `kill.w${writer}-${this.count % 50}`;
          const value = ++this.count;
          if (value === goal) onReached();
          this.#attempted.set(key, value);
          try {
            await node.data.put(key, value);
          } catch {
            return;
          }
          this.#acknowledged.set(key, value);
        }
      }),
    );
    return { reached, ended };
  }

  async check(node: NodeProcess, when: string): Promise<void> {
    const keys = [...this.#attempted.keys()];
    const entries = keys.length === 0 ? [] : await node.data.getAll(keys);
    for (const [index, key] of keys.entries()) {
      const value = entries[index]?.value as number | undefined;
      const least = this.#acknowledged.get(key);
      if (least !== undefined) expect(value, `${key} ${when}`).toBeGreaterThanOrEqual(least);
      if (value === undefined) continue;
      expect(value, `${key} holds what was never written`).toBeLessThanOrEqual(this.#attempted.get(key)!);
      this.#acknowledged.set(key, value);
    }
  }
}

// Both at once: a node that starts leaves a core idle half of the time.
test.concurrent.for(['fsync', 'wal'])(
  `kill -9 in the middle of writes under \`durability = "%s"\`, ${kills} times: every acknowledged write is there, and the root verifies`,
  { timeout: 60_000 * (kills + 1) },
  async (durability) => {
    const directory = await cleanups.folder();
    const environment = { IPE_PREDICATE_SERVICE__DATA_PLANE__DURABILITY: durability };
    const ledger = new Ledger();
    const startedMs = performance.now();
    let policyRoot: unknown;
    let seed = 1;
    for (let round = 0; round <= kills; round++) {
      const args = round === 0 ? ['--apply', `${repositoryRoot}/examples/policies`] : [];
      const node = await startProcess(directory, { args, environment });
      cleanups.add(() => node.kill());
      await ledger.check(node, `after kill ${round}`);
      if (policyRoot !== undefined) expect((await node.control.status())['root']).toBe(policyRoot);
      if (round % verifyEvery === 0 || round === kills)
        expect((await node.control.call('verify', { level: 'full' }))['problems']).toEqual([]);
      if (round === kills) break;

      // A policy is written now and then too, so that the kill may fall into either store.
      if (round % 5 === 0)
        await node.control.apply([
          {
            path: `own.rule${round % 3}`,
            source: `description: round ${round}\nvalidations:\n  - expression: "true"\n`,
          },
        ]);
      policyRoot = (await node.control.status())['root'];

      seed = (seed * 48_271) % 2_147_483_647;
      const { reached, ended } = ledger.write(node, ledger.count + 20 + (seed % 200));
      await reached;
      await node.kill();
      await ended;
      if (kills >= 50 && (round + 1) % 25 === 0)
        console.log(`${durability}: ${round + 1} kills, ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
    }
    expect(ledger.count).toBeGreaterThan(kills * 20);
  },
);
