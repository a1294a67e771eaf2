import { describe, expect, test } from 'vitest';
import type { Write } from '../../replica/index.ts';
import {
  type Action,
  drawPlan,
  type Mutant,
  mutants,
  type Plan,
  type SimulationResult,
  shrink,
  simulate,
} from './index.ts';

/** These are the same every day; `fresh` ones are not. */
const fixedSeeds = Array.from({ length: 20 }, (_, i) => i + 1);
const freshSeeds = 10;
/** Seeds within which every mutant must be noticed. */
const mutantSeeds = 60;

function runAll(seeds: readonly number[]): void {
  const results: SimulationResult[] = [];
  for (const seed of seeds) {
    const result = simulate({ seed });
    const again = `node scripts/simulate.mjs --from ${seed} --count 1`;
    expect(result.problems, `${again} shows it again, and shrinks it`).toEqual([]);
    results.push(result);
  }
  const sum = (of: (result: SimulationResult) => number) => results.reduce((total, result) => total + of(result), 0);
  console.log(
    `seeds ${seeds[0]} to ${seeds.at(-1)}: ${(sum(({ virtualMs }) => virtualMs) / 3_600_000).toFixed(1)} simulated hours, ` +
      `${sum(({ events }) => events)} events, ${sum(({ acknowledged }) => acknowledged)} acknowledged writes, ${sum(({ crashes }) => crashes)} crashes`,
  );
}

const two: Plan['members'] = [
  { startMs: 0, interest: 'all' },
  { startMs: 0, interest: 'all' },
];
const quick: Plan['network'] = { lossRate: 0, repeatRate: 0, delayMaxMs: 10 };
const small: Omit<Plan, 'calmMs' | 'actions'> = {
  seed: 1,
  members: two,
  network: quick,
  plane: 'none',
  durability: 'fsync',
  logCommitsMax: 1_000,
  sliceBytes: 2_000,
};

describe('simulated clusters', () => {
  const whatHolds = 'no acknowledged write is lost, all converge on what was written, nothing deleted returns';

  test(`of fixed seeds: ${whatHolds}`, () => runAll(fixedSeeds));

  test(`of fresh seeds: ${whatHolds}`, () => {
    // Another stretch of seeds for each ten minutes.
    const first = (Math.floor(Date.now() / 600_000) % 10_000_000) * 100;
    runAll(Array.from({ length: freshSeeds }, (_, i) => first + i));
  });

  test('the same seed gives the same trace', () => {
    expect(simulate({ seed: 11 }).traceHash).toBe(simulate({ seed: 11 }).traceHash);
    expect(simulate({ seed: 11 }).traceHash).not.toBe(simulate({ seed: 12 }).traceHash);
  });

  test('a plan that went through JSON gives the trace of its seed', () => {
    const plan = JSON.parse(JSON.stringify(drawPlan(7))) as Plan;
    expect(simulate({ plan }).traceHash).toBe(simulate({ seed: 7 }).traceHash);
  });
});

/** The first seed at which a mutant shows. */
function noticed(mutant: Mutant): number | undefined {
  for (let seed = 1; seed <= mutantSeeds; seed++) if (simulate({ seed }, mutant).problems.length > 0) return seed;
  return undefined;
}

describe('the simulator notices', () => {
  test.each(Object.entries(mutants) as [Mutant, string][])('%s (%s)', (mutant) => {
    expect(noticed(mutant)).toBeDefined();
  });
});

describe('shrinking', () => {
  test('leaves a few actions that still fail, and the shrunk plan fails again the same way', () => {
    const mutant = 'vector-lost-at-restart';
    const plan = drawPlan(noticed(mutant)!);
    const shrunk = shrink(plan, (candidate) => simulate({ plan: candidate }, mutant).problems.length > 0, 200);
    const replayed = simulate({ plan: JSON.parse(JSON.stringify(shrunk)) as Plan }, mutant);
    expect(replayed.problems).not.toEqual([]);
    expect(replayed).toEqual(simulate({ plan: shrunk }, mutant));
    expect(shrunk.actions.length).toBeLessThan(plan.actions.length / 4);
    expect(simulate({ plan: shrunk }).problems).toEqual([]);
  });
});

describe('subscribers', () => {
  test('are not judged by an instance that has not heard yet of a deletion that a snapshot elsewhere left out', () => {
    const add: Write = { op: 'add', namespace: 'counts', key: 'counts.k1', amount: 5 };
    const follow = { do: 'follow', follower: 1, namespace: 'counts' } as const;
    const plan: Plan = {
      ...small,
      plane: 'direct',
      logCommitsMax: 60,
      calmMs: 14_000,
      actions: [
        { atMs: 100, do: 'write', at: 0, writes: [add] },
        { atMs: 1_000, do: 'away', at: 0, forMs: 12_000 },
        { atMs: 2_000, do: 'write', at: 1, writes: [{ op: 'delete', namespace: 'counts', key: 'counts.k1' }] },
        { atMs: 3_000, ...follow, at: 1, forMs: 0 },
        { atMs: 9_000, ...follow, at: 0, forMs: 0 },
      ],
    };
    expect(simulate({ plan }).problems).toEqual([]);
  });

  test('are not judged by an instance whose clock is behind that of a snapshot elsewhere, which left out what had expired', () => {
    const put: Write = { op: 'put', namespace: 'plain', key: 'plain.k1', json: '1', ttlMs: 6_000 };
    const follow = { do: 'follow', follower: 1, namespace: 'plain', forMs: 0 } as const;
    const plan: Plan = {
      ...small,
      plane: 'direct',
      calmMs: 14_000,
      actions: [
        { atMs: 100, do: 'write', at: 0, writes: [put] },
        { atMs: 1_000, do: 'clock', at: 1, offsetMs: 4_000 },
        { atMs: 3_000, ...follow, at: 1 },
        { atMs: 4_000, ...follow, at: 0 },
      ],
    };
    expect(simulate({ plan }).problems).toEqual([]);
  });
});

describe('subscribers elsewhere', () => {
  test('are not told what their instance had lost, also where it was written to again before it was found', () => {
    const add = (member: string): Write => ({
      op: 'set-add',
      namespace: 'groups',
      key: 'groups.k1',
      members: [`"${member}"`],
    });
    const follow = { do: 'follow', follower: 1, namespace: 'groups' } as const;
    const plan: Plan = {
      ...small,
      calmMs: 14_000,
      actions: [
        { atMs: 100, do: 'write', at: 0, writes: [add('m1')] },
        // So that nothing of it is in memory.
        { atMs: 2_000, do: 'crash', at: 1, forMs: 100 },
        { atMs: 2_500, do: 'rot', at: 1, what: 'loss', place: 0 },
        { atMs: 2_600, do: 'away', at: 1, forMs: 3_000 },
        { atMs: 3_000, do: 'write', at: 1, writes: [add('m3')] },
        { atMs: 3_500, ...follow, at: 1, forMs: 0 },
        { atMs: 4_000, ...follow, at: 0, forMs: 8_000 },
      ],
    };
    expect(simulate({ plan }).problems).toEqual([]);
  });
});

describe('settling', () => {
  test('waits for what is written and not durable yet, of which the others have not heard', () => {
    const put = (key: string): Write => ({ op: 'put', namespace: 'grants', key: `grants.${key}`, json: '1' });
    const plan: Plan = {
      ...small,
      durability: 'wal',
      sliceBytes: 200,
      leaseMs: 5_000,
      calmMs: 20_000,
      actions: [
        { atMs: 100, do: 'write', at: 0, writes: [put('gone')] },
        { atMs: 3_000, do: 'write', at: 0, writes: [{ op: 'delete', namespace: 'grants', key: 'grants.gone' }] },
        { atMs: 8_000, do: 'away', at: 1, forMs: 10_000 },
        ...Array.from({ length: 30 }, (_, i) => {
          return { atMs: 9_000 + 50 * i, do: 'write', at: 1, writes: [put(`k${i}`)] } as const;
        }),
      ],
    };
    expect(simulate({ plan }).problems).toEqual([]);
  });

  test('goes on as long as records come in, however few at a time', () => {
    const put = (key: string): Write => ({ op: 'put', namespace: 'grants', key: `grants.${key}`, json: '1' });
    const plan: Plan = {
      ...small,
      // A slice is small, and the next is asked for once it has been synced, as happens each second.
      durability: 'wal',
      sliceBytes: 200,
      calmMs: 25_000,
      actions: [
        { atMs: 500, do: 'away', at: 1, forMs: 24_000 },
        ...Array.from({ length: 600 }, (_, i) => {
          return { atMs: 1_000 + 30 * i, do: 'write', at: 0, writes: [put(`k${i}`)] } as const;
        }),
      ],
    };
    const { problems, virtualMs } = simulate({ plan });
    expect(problems).toEqual([]);
    expect(virtualMs - plan.calmMs).toBeGreaterThan(100_000);
  });
});

describe('subscribers of an instance whose disk lost a fact', () => {
  test('may be told what is older and comes late, also in the calm, until the fact is found again', () => {
    const put = (key: string, json: string): Write => ({ op: 'put', namespace: 'plain', key: `plain.${key}`, json });
    const plan: Plan = {
      ...small,
      calmMs: 4_000,
      actions: [
        { atMs: 200, do: 'follow', follower: 1, namespace: 'plain', at: 1, forMs: 0 },
        { atMs: 500, do: 'away', at: 0, forMs: 3_500 },
        { atMs: 1_000, do: 'write', at: 0, writes: [put('k1', '1')] },
        { atMs: 1_500, do: 'write', at: 1, writes: [put('k1', '2')] },
        // So that nothing of it is in memory.
        ...Array.from({ length: 9 }, (_, i) => {
          return { atMs: 1_600 + 10 * i, do: 'write', at: 1, writes: [put(`z${i}`, '3')] } as const;
        }),
        { atMs: 3_000, do: 'rot', at: 1, what: 'loss', place: 0 },
      ],
    };
    expect(simulate({ plan }).problems).toEqual([]);
  });
});

describe('disks that lie', () => {
  test('may lose what another had written and not synced when it lost it too', () => {
    const pair = (json: string): Write[] =>
      ['left', 'right'].map((name) => ({ op: 'put', namespace: 'pairs', key: `pairs.${name}`, json }));
    const plan: Plan = {
      seed: 20002116,
      members: two,
      network: { lossRate: 0, repeatRate: 0, delayMaxMs: 60 },
      plane: 'direct',
      durability: 'wal',
      logCommitsMax: 100_000,
      sliceBytes: 2_000,
      calmMs: 6_657,
      actions: [
        { atMs: 730, do: 'lie', at: 0, forMs: 1_396 },
        { atMs: 898, do: 'write', at: 1, writes: pair('34') },
        { atMs: 925, do: 'write', at: 0, writes: pair('35') },
        {
          atMs: 1_227,
          do: 'write',
          at: 0,
          writes: [{ op: 'set-add', namespace: 'groups', key: 'groups.k1', members: ['"m4"'] }],
        },
        { atMs: 2_958, do: 'crash', at: 1, forMs: 3_698 },
      ],
    };
    expect(simulate({ plan }).problems).toEqual([]);
  });
});

describe('disks that are put back', () => {
  test('end with the digests of the others once those have found what the old copy had not seen', () => {
    const member = (op: 'set-add' | 'set-remove'): Write => {
      return { op, namespace: 'groups', key: 'groups.k2', members: ['"m3"'] };
    };
    const plan: Plan = {
      seed: 1,
      members: [
        { startMs: 0, interest: 'all' },
        { startMs: 5_987, interest: 'all' },
      ],
      network: { lossRate: 0, repeatRate: 0, delayMaxMs: 4_000 },
      plane: 'direct',
      durability: 'wal',
      logCommitsMax: 100_000,
      sliceBytes: 2_000,
      calmMs: 24_232,
      actions: [
        { atMs: 3_840, do: 'copy', at: 0 },
        { atMs: 3_855, do: 'write', at: 0, writes: [{ op: 'add', namespace: 'counts', key: 'counts.k4', amount: 5 }] },
        { atMs: 10_898, do: 'write', at: 0, writes: [member('set-remove')] },
        { atMs: 23_243, do: 'restore', at: 0 },
        { atMs: 24_231, do: 'write', at: 0, writes: [member('set-add')] },
      ],
    };
    const problems = Array.from({ length: 20 }, (_, i) => simulate({ plan: { ...plan, seed: i } }).problems);
    expect(problems.flat()).toEqual([]);
  });

  describe('beside a deletion that all others have forgotten', () => {
    const note = (op: 'put' | 'delete'): readonly Write[] => [
      { namespace: 'notes', key: 'notes.k4', ...(op === 'put' ? { op, json: '1' } : { op }) },
    ];
    /** The second member deletes a note; the first puts it where it has not heard of that. */
    const plan: Plan = {
      seed: 1,
      members: [
        { startMs: 0, interest: 'all' },
        { startMs: 0, interest: ['notes'] },
      ],
      network: { lossRate: 0, repeatRate: 0, delayMaxMs: 60 },
      plane: 'none',
      durability: 'fsync',
      logCommitsMax: 100_000,
      sliceBytes: 200,
      calmMs: 32_000,
      actions: [
        { atMs: 1_000, do: 'copy', at: 0 },
        { atMs: 2_000, do: 'write', at: 1, writes: note('delete') },
        // Only one way: what the second member tells of itself arrives, and is pulled before anything is told to it.
        { atMs: 10_000, do: 'cut', at: 0, to: 1, forMs: 4_000 },
        { atMs: 12_000, do: 'restore', at: 0 },
        { atMs: 13_000, do: 'write', at: 0, writes: note('put') },
        { atMs: 15_500, do: 'cut', at: 0, to: 1, forMs: 16_000 },
      ],
    };
    const seeds = Array.from({ length: 20 }, (_, seed) => seed);
    const problemsOf = (what: Plan, mutant?: Mutant) =>
      new Set(seeds.flatMap((seed) => simulate({ plan: { ...what, seed } }, mutant).problems));

    test('what is written stands alone until digests have brought the deletion back', () => {
      expect(problemsOf(plan)).toEqual(new Set());
    });

    test('is noticed to stand alone where its writer had not gone back, the deletion being forgotten too early', () => {
      const away: Action = { atMs: 1_500, do: 'cut', at: 0, to: 1, forMs: 12_500 };
      const [copy, deletion, , , ...others] = plan.actions;
      const early: Plan = { ...plan, actions: [copy!, away, deletion!, ...others] };
      expect(problemsOf(early)).toEqual(new Set());
      expect(problemsOf(early, 'tombstones-by-wall-clock')).toContain(
        'what a vector covers is not in `notes`: 1, not 1|',
      );
    });
  });
});

describe('a transfer of states that an eviction ended', () => {
  test('leaves all that stay with the same, and no addition counted twice', () => {
    const add = (key: string): Write => ({ op: 'add', namespace: 'counts', key: `counts.${key}`, amount: 1 });
    const plan = (cutMs: number): Plan => ({
      seed: 1,
      members: [...two, { startMs: 0, interest: 'all' }],
      network: quick,
      plane: 'none',
      durability: 'fsync',
      // The log of the second is too short for the others once it is back, and states come a few keys at a time.
      logCommitsMax: 5,
      sliceBytes: 200,
      leaseMs: 10_000,
      calmMs: 32_000,
      actions: [
        { atMs: 500, do: 'away', at: 1, forMs: 8_000 },
        ...Array.from({ length: 20 }, (_, i) => {
          return { atMs: 1_000 + 100 * i, do: 'write', at: 1, writes: [add(`k${i % 8}`)] } as const;
        }),
        { atMs: cutMs, do: 'away', at: 1, forMs: 20_000 },
      ],
    });
    for (const cutMs of [8_510, 8_520, 8_530]) {
      const { problems } = simulate({ plan: plan(cutMs) });
      expect(problems, `cut at ${cutMs} ms`).toEqual([]);
    }
  });
});
