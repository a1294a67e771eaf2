import { describe, expect, test } from 'vitest';
import type { Ahead } from '../ahead.ts';
import { type Source, Sources } from '../dot.ts';
import { Exchange } from './exchange.ts';
import { decodeReport, encodeReport, type NamespaceVector } from './report.ts';

const sources = new Sources();
const originOf = (i: number) => i.toString(16).padStart(16, '0');
const sourceOf = (i: number) => sources.of(originOf(i), 1);
const [peer, other, evicted] = [1, 2, 3];
const written = sourceOf(evicted);

const heads = (...entries: readonly (readonly [Source, number])[]) => new Map(entries);
const vector = (held: ReadonlyMap<Source, number>, ahead?: Ahead): NamespaceVector => {
  return { strategy: 'lww', isWhole: true, heads: held, ...(ahead && { ahead }) };
};
/** States that show the evicted member's records up to this one, as the first peer took them in. */
const shownUpTo = (seq: number, joinedMs = 7): Ahead => {
  return { heads: heads([written, seq]), joinedMs: new Map([[originOf(peer), joinedMs]]) };
};

/** An instance with two peers, and a third member that was evicted, of which five records count. */
class Site {
  readonly exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });

  constructor({ isEvicted = true, isClosed = true } = {}) {
    const accepted = { n: { [written.id]: 5 } };
    const cuts = new Map(isEvicted ? [[originOf(evicted), { accepted, isClosed }]] : []);
    this.exchange.step({ type: 'members', origins: [peer, other].map(originOf), cuts }, 0);
    for (const each of [peer, other]) this.exchange.step({ type: 'linked', peer: originOf(each) }, 0);
    this.hold(vector(heads([written, 5])));
    this.reported(other, vector(heads([written, 5])));
  }

  hold(own: NamespaceVector) {
    return this.exchange.step({ type: 'heads', namespace: 'n', vector: own }, 0);
  }

  reported(by: number, told: NamespaceVector) {
    const report = {
      origin: originOf(by),
      interest: 'all',
      isSettled: true,
      namespaces: new Map([['n', told]]),
      evicted: [originOf(evicted)],
    } as const;
    const read = decodeReport(encodeReport(report), sources);
    expect(read).toEqual(report);
    return this.exchange.step({ type: 'reported', report: read, isAnswer: true }, 0);
  }
}

describe('writes of an evicted member that states show and that do not count', () => {
  test('are joined in as states from whoever shows them, and once only', () => {
    const site = new Site();
    const told = vector(heads([written, 5]), shownUpTo(9));
    const effects = site.reported(peer, told);
    expect(effects).toEqual([
      { type: 'bootstrap', pull: 1, peer: originOf(peer), namespace: 'n', ahead: shownUpTo(9) },
    ]);
    site.hold(vector(heads([written, 5]), shownUpTo(9)));
    site.exchange.step({ type: 'pulled', pull: 1, outcome: 'done' }, 0);
    expect(site.reported(peer, told)).toEqual([]);
    // States of other keys, though none of them shows a later record.
    const effect = { type: 'bootstrap', ahead: shownUpTo(9, 8) };
    expect(site.reported(peer, vector(heads([written, 5]), shownUpTo(9, 8)))).toMatchObject([effect]);
  });

  test('are joined in where they count, but whoever had their records is no member any more', () => {
    const site = new Site();
    const told = vector(heads([written, 3]), shownUpTo(5));
    site.reported(other, vector(heads([written, 3])));
    site.hold(vector(heads([written, 3])));
    expect(site.reported(peer, told)).toMatchObject([{ type: 'bootstrap' }]);
  });

  test('are awaited as records where the member was not evicted, or somebody holds them', () => {
    expect(new Site({ isEvicted: false }).reported(peer, vector(heads([written, 5]), shownUpTo(9)))).toEqual([]);
    const site = new Site();
    expect(site.hold(vector(heads([written, 3])))).toMatchObject([{ type: 'pull', after: 3, upTo: 5 }]);
    expect(site.reported(peer, vector(heads([written, 3]), shownUpTo(5)))).toEqual([]);
  });

  test('keep a namespace from being whole, and their returned writer from offering, until they are joined in', () => {
    const site = new Site({ isClosed: false });
    for (const each of [peer, other]) site.reported(each, vector(heads([written, 5]), shownUpTo(9)));
    site.hold({ ...vector(heads([written, 5])), isWhole: false });
    expect(site.exchange.known.isWholeHere('n')).toBe(false);
    expect(site.exchange.known.hasRegained(originOf(evicted))).toBe(false);
    site.hold({ ...vector(heads([written, 5]), shownUpTo(9)), isWhole: false });
    expect(site.exchange.known.isWholeHere('n')).toBe(true);
    expect(site.exchange.known.hasRegained(originOf(evicted))).toBe(true);
  });

  test('are forgotten like others once all have joined them in', () => {
    const site = new Site();
    const dot = { source: written, seq: 9, idx: 0 };
    const shown = vector(heads([written, 5]), shownUpTo(9));
    site.hold(shown);
    site.reported(peer, shown);
    expect(site.exchange.known.isStable('n', dot)).toBe(false);
    site.reported(other, shown);
    expect(site.exchange.known.isStable('n', dot)).toBe(true);
  });
});
