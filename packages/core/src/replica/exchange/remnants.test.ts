import { describe, expect, test } from 'vitest';
import { Sources } from '../dot.ts';
import { Exchange } from './exchange.ts';
import type { Interest, NamespaceVector, VectorReport } from './report.ts';

const sources = new Sources();
const [self, second, third] = [0, 1, 2].map((i) => i.toString(16).padStart(16, '0')) as [string, string, string];
const source = sources.of(self, 1);

/** An instance that is loading a namespace `n`, of which it holds two records, and its peers. */
class Loading {
  readonly exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
  nowMs = 0;

  constructor(peers: readonly string[]) {
    this.exchange.step({ type: 'members', origins: peers }, 0);
    for (const peer of peers) this.exchange.step({ type: 'linked', peer }, 0);
    this.holds(2);
  }

  holds(seq: number): void {
    this.exchange.step({ type: 'heads', namespace: 'n', vector: vector(seq) }, this.nowMs);
  }

  /** Each peer that says something answers what it was asked; then all are asked again. @returns `isRemnant` in between */
  isRemnant(answers: Readonly<Record<string, NamespaceVector | undefined>>, interest: Interest = 'all'): boolean {
    this.nowMs += 500;
    for (const [origin, answer] of Object.entries(answers)) {
      const namespaces = new Map(answer === undefined ? [] : [['n', answer]]);
      const report: VectorReport = { origin, interest, isSettled: false, namespaces };
      this.exchange.step({ type: 'reported', report, isAnswer: true }, this.nowMs);
    }
    const isRemnant = this.exchange.isRemnant('n');
    this.nowMs += 500;
    this.exchange.step({ type: 'tick' }, this.nowMs);
    return isRemnant;
  }
}

const vector = (seq: number, isWhole = false, strategy = 'lww'): NamespaceVector => ({
  strategy,
  isWhole,
  heads: new Map([[source, seq]]),
});

describe('a namespace that is being loaded', () => {
  test('can be had no wholer once all members have said twice that they hold the same and are loading it too', () => {
    const loading = new Loading([second, third]);
    expect(loading.isRemnant({ [second]: vector(2), [third]: vector(2) })).toBe(false);
    expect(loading.isRemnant({ [second]: vector(2) })).toBe(false);
    expect(loading.isRemnant({ [second]: vector(2), [third]: vector(2) })).toBe(true);
  });

  test('waits for a member that was not heard since the start, unless it is one no more', () => {
    const loading = new Loading([second, third]);
    for (let i = 0; i < 3; i++) expect(loading.isRemnant({ [second]: vector(2) })).toBe(false);
    loading.exchange.step({ type: 'members', origins: [second] }, loading.nowMs);
    expect(loading.isRemnant({ [second]: vector(2) })).toBe(false);
    expect(loading.isRemnant({ [second]: vector(2) })).toBe(true);
  });

  test.each([
    ['is whole elsewhere', vector(2, true)],
    ['has more elsewhere', vector(3)],
    ['has less elsewhere, what is here being on its way', vector(1)],
    ['is not there yet elsewhere', undefined],
    ['is settled differently elsewhere', vector(2, false, 'counter')],
  ])('is waited for where it %s', (_, told) => {
    const loading = new Loading([second, third]);
    for (let i = 0; i < 3; i++) expect(loading.isRemnant({ [second]: vector(2), [third]: told })).toBe(false);
  });

  test('is not waited for at members that take no part in it', () => {
    const loading = new Loading([second]);
    expect(loading.isRemnant({ [second]: undefined }, ['m'])).toBe(false);
    expect(loading.isRemnant({ [second]: undefined }, ['m'])).toBe(true);
  });

  test('is asked for twice anew where a member held it whole in between, though it went back since', () => {
    const loading = new Loading([second]);
    expect(loading.isRemnant({ [second]: vector(2) })).toBe(false);
    expect(loading.isRemnant({ [second]: vector(3, true) })).toBe(false);
    expect(loading.isRemnant({ [second]: vector(2) })).toBe(false);
    expect(loading.isRemnant({ [second]: vector(2) })).toBe(true);
  });

  test('is not judged twice by the same answer', () => {
    const loading = new Loading([second]);
    for (let i = 0; i < 3; i++) expect(loading.isRemnant(i === 0 ? { [second]: vector(2) } : {})).toBe(false);
    expect(loading.isRemnant({ [second]: vector(2) })).toBe(true);
  });
});
