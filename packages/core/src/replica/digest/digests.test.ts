import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { strategies, TestInstance } from '../../testkit/digest-fixture.ts';
import { Sources } from '../dot.ts';
import type { Write } from '../write.ts';
import type { Digests } from './digests.ts';

type Step =
  | { readonly kind: 'write'; readonly at: number; readonly writes: readonly [namespace: number, writes: Choice[]] }
  | { readonly kind: 'commit' | 'purge' | 'hear' | 'walk'; readonly at: number }
  | { readonly kind: 'wait'; readonly minutes: number };

interface Choice {
  readonly key: number;
  readonly choice: number;
  readonly value: number;
}

const names = Object.keys(strategies);
const at = fc.nat(1);
const choice = fc.record({ key: fc.nat(5), choice: fc.nat(5), value: fc.nat(3) });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      at,
      writes: fc.tuple(fc.nat(names.length - 1), fc.array(choice, { minLength: 1, maxLength: 3 })),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom('commit' as const, 'hear' as const), at }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('purge' as const, 'walk' as const), at }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), minutes: fc.integer({ min: 1, max: 100 }) }),
  },
);

function writeOf(namespace: string, { key: number, choice, value }: Choice): Write {
  const target = { namespace, key: `${namespace}.k${number}` };
  if (choice === 0) return { op: 'delete', ...target };
  const strategy = strategies[namespace]!;
  if (strategy.kind === 'counter')
    return { op: 'add', ...target, amount: value, ...(choice > 2 && { windowMs: 3_600_000 * value + 60_000 }) };
  if (strategy.kind === 'set')
    return { op: choice < 3 ? 'set-remove' : 'set-add', ...target, members: [`"${value}"`, `"${choice}"`] };
  return {
    op: 'put',
    ...target,
    json: `${value}`,
    ...(choice > 3 && { ttlMs: 1_200_000 * (value + 1) }),
    ...(strategy.kind === 'version-vector' && strategy.resolver === 'siblings' && { ifMatch: '*' }),
    ...(choice === 1 && { ifMatch: undefined }),
  };
}

/** Two instances that write, hear each other, purge at times of their own, and wait. */
class Pair {
  nowMs = 1_700_000_000_000;
  readonly instances: readonly TestInstance[];
  readonly #heard = [0, 0];

  constructor() {
    const sources = new Sources();
    this.instances = ['a', 'b'].map((digit) => new TestInstance(digit.repeat(16), sources, () => this.nowMs));
    for (const [i, instance] of this.instances.entries()) {
      const other = this.instances[1 - i]!;
      instance.isStable = (namespace, { source, seq }) =>
        (other.replica.headsOf(namespace).get(source as never) ?? 0) >= seq &&
        // What the other wrote before it saw a tombstone must be here too (`Known.isStable`).
        [...other.replica.headsOf(namespace)].every(
          ([each, head]) => (instance.replica.headsOf(namespace).get(each) ?? 0) >= head,
        );
    }
  }

  run(step: Step): void {
    this.nowMs += 10;
    if (step.kind === 'wait') {
      this.nowMs += step.minutes * 60_000;
      return;
    }
    const instance = this.instances[step.at]!;
    if (step.kind === 'write') {
      const [namespace, choices] = step.writes;
      instance.submit(...choices.map((each) => writeOf(names[namespace]!, each)));
    } else if (step.kind === 'commit') instance.commit();
    else if (step.kind === 'hear') this.hear(step.at);
    else if (step.kind === 'purge') {
      instance.purge();
      instance.digests.dropBelow(instance.cuts());
    }
  }

  hear(to: number): void {
    const { written } = this.instances[1 - to]!;
    this.instances[to]!.step({ type: 'records', from: 'x', records: written.slice(this.#heard[to]) });
    this.#heard[to] = written.length;
  }

  settle(): void {
    for (let round = 0; round < 2; round++) {
      for (const instance of this.instances) instance.commitAll();
      this.hear(0);
      this.hear(1);
    }
    for (const instance of this.instances) instance.commitAll();
  }
}

/** All that differs from zero in a view. */
function digestOf(digests: Digests, namespace: string, cuts: Parameters<Digests['view']>[1]): string {
  const view = digests.view(namespace, cuts);
  if (view === undefined) return '';
  const branches = view.branches();
  const used = Array.from({ length: 256 }, (_, i) => i).filter((i) =>
    branches.subarray(4 * i, 4 * i + 4).some(Boolean),
  );
  const leaves = [...view.leaves(used).entries()].filter(([, word]) => word !== 0);
  return used.length === 0 ? '' : JSON.stringify([[...view.root], used, leaves]);
}

describe('digests', () => {
  test('always equal a recount of the rows, whatever is written, joined, purged and walked in between', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const pair = new Pair();
        const walks: { name: string; digests: Digests; walk: ReturnType<Digests['begin']> }[] = [];
        for (const each of steps) {
          if (each.kind === 'walk') {
            const { digests } = pair.instances[each.at]!;
            for (const name of names) {
              const walk = digests.begin(name);
              for (const [key, cell] of pair.instances[each.at]!.cells(name)) walk.add(key, cell);
              walks.push({ name, digests, walk });
            }
          } else pair.run(each);
        }
        for (const instance of pair.instances) {
          instance.digests.dropBelow(instance.cuts());
          for (const name of names)
            expect(digestOf(instance.digests, name, instance.cuts())).toBe(
              digestOf(instance.recount(name), name, instance.cuts()),
            );
        }
        // What a walk counted while commits went on is what was kept all along; a later walk ends an earlier one.
        for (const { walk } of walks) expect(walk.end()).toBe(false);
        for (const instance of pair.instances)
          for (const name of names)
            expect(digestOf(instance.digests, name, instance.cuts())).toBe(
              digestOf(instance.recount(name), name, instance.cuts()),
            );
      }),
      { numRuns: 300, seed: 7 },
    );
  });

  test('of instances that hold the same writes are equal above the cuts, though each purges when it likes', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
        const pair = new Pair();
        for (const each of steps) pair.run(each);
        pair.settle();
        const [a, b] = pair.instances as [TestInstance, TestInstance];
        b.purge();
        for (const name of names) expect(digestOf(a.digests, name, a.cuts())).toBe(digestOf(b.digests, name, a.cuts()));
      }),
      { numRuns: 300, seed: 11 },
    );
  });

  test('a counter that was reset is counted on at an instance that purged it and at one that did not', () => {
    const pair = new Pair();
    const [a, b] = pair.instances as [TestInstance, TestInstance];
    const add = { op: 'add', namespace: 'counts', key: 'counts.k', amount: 5, windowMs: 60_000 } as const;
    for (const write of [add, { op: 'delete', namespace: 'counts', key: 'counts.k' } as const, add]) {
      a.submit(write);
      pair.settle();
      pair.nowMs += 10;
    }
    pair.nowMs += 7_200_000;
    a.purge();
    a.submit(add);
    pair.settle();
    for (const instance of [a, b]) expect(instance.cells('counts').get('counts.k')?.value).toBe(5);
    expect(digestOf(a.digests, 'counts', a.cuts())).toBe(digestOf(b.digests, 'counts', b.cuts()));
  });
});
