import { describe, expect, test } from 'vitest';
import { type Mutant, mutants, simulate } from './index.ts';

/** Fresh seeds each day would make a red build of chance; these are fixed, `scripts/simulate.mjs` draws new ones. */
const seeds = Array.from({ length: 25 }, (_, i) => i + 1);

describe('simulated clusters', () => {
  test('no acknowledged write is lost, all converge on what was written, nothing deleted returns', () => {
    let events = 0;
    let virtualMs = 0;
    for (const seed of seeds) {
      const result = simulate({ seed });
      expect(result.problems, `seed ${seed}`).toEqual([]);
      events += result.events;
      virtualMs += result.virtualMs;
    }
    console.log(`${seeds.length} seeds, ${(virtualMs / 3_600_000).toFixed(1)} simulated hours, ${events} events`);
  });

  test('the same seed gives the same trace', () => {
    expect(simulate({ seed: 11 }).traceHash).toBe(simulate({ seed: 11 }).traceHash);
    expect(simulate({ seed: 11 }).traceHash).not.toBe(simulate({ seed: 12 }).traceHash);
  });
});

describe('the simulator notices', () => {
  test.each(Object.entries(mutants) as [Mutant, string][])('%s (%s)', (mutant) => {
    const caught = Array.from({ length: 40 }, (_, i) => i + 1).some(
      (seed) => simulate({ seed, mutant }).problems.length > 0,
    );
    expect(caught).toBe(true);
  });
});
