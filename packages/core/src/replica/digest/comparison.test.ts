import { describe, expect, test } from 'vitest';
import { strategies, TestInstance } from '../../testkit/digest-fixture.ts';
import { Cell } from '../cell.ts';
import { Sources } from '../dot.ts';
import { liveKey } from '../layout.ts';
import type { Write } from '../write.ts';
import { type ComparisonEffect, comparisonDefaults, DigestComparison } from './comparison.ts';
import { isLost } from './lost.ts';
import { answerDigest, type DigestAnswer } from './questions.ts';

const put = (i: number, value = String(i)): Write => ({
  op: 'put',
  namespace: 'plain',
  key: `plain.k${i}`,
  json: value,
});

/** Two instances; the first compares its digests with the second's, over a link that the test owns. */
class Pair {
  nowMs = 1_700_000_000_000;
  a: TestInstance;
  readonly b: TestInstance;
  comparison: DigestComparison;
  readonly asked: string[] = [];
  answerBytes = 0;
  fetchedStates = 0;
  recounts = 0;
  repaired: string[] = [];
  /** Done between a question and its answer. */
  meanwhile: () => void = () => {};
  readonly #sources = new Sources();
  #written = 0;

  constructor() {
    this.a = new TestInstance('a'.repeat(16), this.#sources, () => this.nowMs);
    this.b = new TestInstance('b'.repeat(16), this.#sources, () => this.nowMs);
    this.comparison = new DigestComparison(this.a.local);
  }

  /** The second writes and the first hears of it. */
  fill(count: number): void {
    for (let i = 0; i < count; i += 1_000)
      this.b.submit(...Array.from({ length: Math.min(1_000, count - i) }, (_, j) => put(i + j)));
    this.hear();
  }

  hear(): void {
    this.b.commitAll();
    this.a.step({ type: 'records', from: 'b', records: this.b.written.slice(this.#written) });
    this.#written = this.b.written.length;
    this.a.commitAll();
  }

  /** The first joins, and is given the vector of the second and no fact. */
  joinWithoutFacts(): void {
    this.b.commitAll();
    const heads = [...this.b.replica.headsOf('plain')].map(([source, seq]) => ({ source, seq }));
    this.a.step({ type: 'advance', id: 1, namespace: 'plain', heads, floor: 0 });
    this.a.commitAll();
    this.link();
  }

  /** The first stops, something happens to its rows, and it starts again. */
  restart(damage: () => void): void {
    this.a.commitAll();
    damage();
    this.a = new TestInstance('a'.repeat(16), this.#sources, () => this.nowMs, this.a.disk);
    for (const { name } of this.a.replica.report()) this.a.walk(name);
    this.comparison = new DigestComparison(this.a.local);
    this.link();
  }

  link(): void {
    this.#carryOut(this.comparison.step({ type: 'linked', peer: 'b' }, this.nowMs));
  }

  lose(...keys: readonly string[]): void {
    this.restart(() => {
      this.a.disk.write(keys.map((key) => ({ type: 'delete', family: 'live', key: liveKey(key) })));
    });
  }

  /** Lets time pass in steps of 100 ms, as a node's timer does. */
  run(ms: number): void {
    for (const end = this.nowMs + ms; this.nowMs < end; this.nowMs += 100)
      this.#carryOut(this.comparison.step({ type: 'tick' }, this.nowMs));
  }

  equal(): boolean {
    const cuts = this.a.cuts();
    return String(this.a.digests.view('plain', cuts)?.root) === String(this.b.digests.view('plain', cuts)?.root);
  }

  #carryOut(effects: readonly ComparisonEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'recount') this.recounts++;
      else if (effect.type === 'ask') {
        this.asked.push(effect.question.kind);
        const answer = answerDigest(this.b.local, effect.question);
        this.meanwhile();
        const { id } = effect;
        if (answer !== undefined) this.answerBytes += bytesOf(answer);
        const event =
          answer === undefined ? ({ type: 'failed', id } as const) : ({ type: 'answered', id, answer } as const);
        this.#carryOut(this.comparison.step(event, this.nowMs));
      } else {
        const repaired = this.#fetch(effect);
        this.#carryOut(this.comparison.step({ type: 'fetched', id: effect.id, repaired }, this.nowMs));
      }
    }
  }

  #fetch({ namespace, leaves, cuts }: Extract<ComparisonEffect, { type: 'fetch' }>): number {
    const strategy = strategies[namespace]!;
    const { items } = this.a.digests;
    const wanted = new Set(leaves);
    const heads = this.a.replica.headsOf(namespace);
    const ours = this.a.cells(namespace);
    const lost = [];
    for (const [key, cell] of this.b.cells(namespace)) {
      if (!wanted.has(items.leafOf(key))) continue;
      this.fetchedStates++;
      const held = ours.get(key) ?? new Cell(undefined, 0, strategy);
      if (isLost(key, held, cell.state!, { strategy, heads, cuts, items })) lost.push({ key, state: cell.state! });
    }
    if (lost.length > 0) this.a.step({ type: 'states', id: this.nowMs, namespace, entries: lost });
    this.a.commitAll();
    this.repaired.push(...lost.map(({ key }) => key));
    return lost.length;
  }
}

function bytesOf(answer: DigestAnswer): number {
  return answer.kind === 'roots' ? answer.namespaces.size * 16 : answer.words.byteLength;
}

describe('comparing digests', () => {
  test('instances that hold the same ask each other for roots and nothing else', () => {
    const pair = new Pair();
    pair.fill(2_000);
    pair.restart(() => {});
    pair.run(60_000);
    expect(pair.asked).toEqual(new Array(6).fill('roots'));
    expect(pair.comparison.status()).toMatchObject([{ peer: 'b', namespace: 'plain', differing: 0, repaired: 0 }]);
  });

  test('ten facts lost among 30,000 come back, at the cost of the leaves they are in', () => {
    const pair = new Pair();
    pair.fill(30_000);
    const lost = Array.from({ length: 10 }, (_, i) => `plain.k${i * 2_999}`);
    pair.lose(...lost);
    expect(pair.equal()).toBe(false);
    pair.run(5_000);
    expect(pair.repaired.sort()).toEqual(lost.sort());
    for (const key of lost) expect(pair.a.row(key)).toBeDefined();
    expect(pair.equal()).toBe(true);
    // Less than a key a leaf; two looks at ten branches of 4 KiB.
    expect(pair.fetchedStates).toBeLessThan(100);
    expect(pair.answerBytes).toBeLessThan(120_000);
    expect(pair.comparison.status()).toMatchObject([{ repaired: 10, differing: 0 }]);
  });

  test('more than fits one look is brought back look by look', () => {
    const pair = new Pair();
    pair.fill(3_000);
    const lost = Array.from({ length: 1_500 }, (_, i) => `plain.k${i * 2}`);
    pair.lose(...lost);
    pair.run(10_000);
    expect(pair.repaired).toHaveLength(1_500);
    expect(pair.equal()).toBe(true);
  });

  test('what is on its way while both compare is neither fetched nor taken for lost', () => {
    const pair = new Pair();
    pair.fill(1_000);
    pair.restart(() => {});
    let next = 0;
    pair.meanwhile = () => {
      pair.hear();
      for (let i = 0; i < 5; i++) pair.b.submit(put(next++ % 1_000, `"new ${next}"`));
      pair.b.commitAll();
    };
    pair.run(1_800_000);
    expect(pair.repaired).toEqual([]);
    expect(pair.recounts).toBe(0);
  });

  test('a namespace whose vectors are never found equal is repaired all the same', () => {
    const pair = new Pair();
    pair.fill(1_000);
    pair.lose('plain.k7', 'plain.k8');
    let next = 100;
    pair.meanwhile = () => {
      pair.hear();
      pair.b.submit(put(next++ % 1_000, `"new ${next}"`));
      pair.b.commitAll();
    };
    pair.run(comparisonDefaults.movingMs + 60_000);
    expect(pair.repaired.sort()).toEqual(['plain.k7', 'plain.k8']);
  });

  test('what expires, and what was deleted, is removed at one side only without any fetching', () => {
    const pair = new Pair();
    pair.fill(100);
    for (let i = 0; i < 50; i++) pair.b.submit({ ...put(i), ttlMs: 1_000 + i * 60_000 } as Write);
    for (let i = 50; i < 80; i++) pair.b.submit({ op: 'delete', namespace: 'plain', key: `plain.k${i}` });
    pair.hear();
    pair.restart(() => {});
    for (let hour = 0; hour < 6; hour++) {
      pair.run(30_000);
      pair.nowMs += 3_600_000;
      pair.a.purge();
    }
    pair.run(30_000);
    expect(pair.a.disk.rows('live').length).toBeLessThan(pair.b.disk.rows('live').length);
    expect(new Set(pair.asked)).toEqual(new Set(['roots']));
  });

  test('a lost tombstone comes back while it is remembered, and keeps what it deleted away', () => {
    const pair = new Pair();
    pair.fill(20);
    const before = pair.a.row('plain.k3')!;
    pair.nowMs += 7_200_000;
    pair.b.submit({ op: 'delete', namespace: 'plain', key: 'plain.k3' });
    pair.hear();
    pair.restart(() => {
      pair.a.disk.write([{ type: 'put', family: 'live', key: liveKey('plain.k3'), value: before }]);
    });
    pair.run(5_000);
    expect(pair.repaired).toEqual(['plain.k3']);
    expect(pair.a.cells('plain').get('plain.k3')?.view?.kind).toBe('absent');
  });

  test('a digest that is wrong in memory is counted anew once fetching has brought nothing', () => {
    const pair = new Pair();
    pair.fill(50);
    pair.restart(() => {});
    const cell = pair.a.cells('plain').get('plain.k1')!;
    pair.a.digests.changed(
      new Map([['plain.k1', { before: cell, after: new Cell(undefined, 0, strategies['plain']!) }]]),
    );
    pair.run(400_000);
    expect(pair.repaired).toEqual([]);
    expect(pair.recounts).toBeGreaterThan(0);
    expect(pair.a.walk('plain')).toBe(true);
    expect(pair.equal()).toBe(true);
  });

  test('an instance that joined when all was deleted and purged is found equal to the others', () => {
    const pair = new Pair();
    pair.b.submit(put(1));
    pair.b.commitAll();
    pair.b.submit({ op: 'delete', namespace: 'plain', key: 'plain.k1' });
    pair.b.commitAll();
    pair.nowMs += 7_200_000;
    pair.b.purge();
    expect(pair.b.cells('plain').size).toBe(0);
    pair.joinWithoutFacts();
    pair.run(5_000);
    expect(pair.asked).toEqual(['roots']);
    expect(pair.comparison.status()).toMatchObject([
      { namespace: 'plain', equalMs: expect.any(Number), differing: 0, repaired: 0 },
    ]);
  });

  test('an instance that joined from one that had lost every fact of a namespace fetches them from another', () => {
    const pair = new Pair();
    pair.b.submit(put(1), put(2));
    pair.joinWithoutFacts();
    pair.run(5_000);
    expect(pair.repaired.sort()).toEqual(['plain.k1', 'plain.k2']);
    expect(pair.equal()).toBe(true);
  });

  test('a namespace that nothing is known of, or that is not counted in yet, is not answered for', () => {
    const pair = new Pair();
    pair.fill(1);
    const restarted = new TestInstance('a'.repeat(16), new Sources(), () => pair.nowMs, pair.a.disk);
    const rootsOf = () => {
      const question = { kind: 'roots', cuts: pair.a.cuts(), namespaces: ['plain', 'sets'] } as const;
      const answer = answerDigest(restarted.local, question);
      return answer?.kind === 'roots' ? [...answer.namespaces.keys()] : undefined;
    };
    expect(rootsOf()).toEqual([]);
    restarted.walk('plain');
    expect(rootsOf()).toEqual(['plain']);
  });

  test('instances that settle conflicts differently do not compare', () => {
    const pair = new Pair();
    pair.fill(10);
    pair.lose('plain.k1');
    pair.asked.length = 0;
    pair.comparison = new DigestComparison({ ...pair.a.local, strategyOf: () => 'another' });
    pair.link();
    pair.run(30_000);
    expect(pair.repaired).toEqual([]);
    expect(new Set(pair.asked)).toEqual(new Set(['roots']));
  });
});
