import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Source, Sources } from '../dot.ts';
import { foldedBase } from '../fold.ts';
import { type Accepted, raised } from './cut.ts';
import { Exchange, type ExchangeEffect, type ExchangeEvent } from './exchange.ts';
import { Leases } from './leases.ts';
import { decodeReport, encodeReport, type VectorReport } from './report.ts';
import { Skew } from './skew.ts';
import { covers, missingFrom } from './vectors.ts';

const sources = new Sources();
const originOf = (i: number) => i.toString(16).padStart(16, '0');
const sourceOf = (i: number) => sources.of(originOf(i), 1);
const strategy = 'lww';

/** Instances whose logs are numbers: what an exchange asks for is carried out at once or when the link allows. */
class Cluster {
  readonly nodes: Node[];
  nowMs = 0;

  constructor(count: number) {
    this.nodes = Array.from({ length: count }, (_, i) => new Node(this, i));
    for (const node of this.nodes) {
      const origins = this.nodes.filter((other) => other !== node).map((other) => other.origin);
      node.step({ type: 'members', origins });
      node.step({ type: 'heads', namespace: 'n', vector: node.vector() });
    }
  }

  link(a: number, b: number, isUp: boolean): void {
    const [first, second] = [this.nodes[a]!, this.nodes[b]!];
    if (a === b || first.links.has(second) === isUp) return;
    for (const [one, other] of [
      [first, second],
      [second, first],
    ] as const) {
      if (isUp) one.links.add(other);
      else one.links.delete(other);
      one.step({ type: isUp ? 'linked' : 'unlinked', peer: other.origin });
    }
  }

  settle(): void {
    for (let round = 0; round < 10; round++) {
      this.nowMs += 1_000;
      for (const node of this.nodes) node.step({ type: 'tick' });
    }
  }
}

class Node {
  readonly cluster: Cluster;
  readonly index: number;
  readonly origin: string;
  readonly links = new Set<Node>();
  readonly heads = new Map<Source, number>();
  readonly seen: ExchangeEffect[] = [];
  readonly exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
  trimmedTo = 0;
  isWhole = true;

  constructor(cluster: Cluster, index: number) {
    this.cluster = cluster;
    this.index = index;
    this.origin = originOf(index);
  }

  vector() {
    return { strategy, isWhole: this.isWhole, heads: new Map(this.heads) };
  }

  report(): VectorReport {
    const namespaces = new Map([['n', this.vector()]]);
    return { origin: this.origin, interest: 'all', isSettled: this.isWhole, namespaces };
  }

  write(): void {
    this.hold(sourceOf(this.index), (this.heads.get(sourceOf(this.index)) ?? 0) + 1);
  }

  hold(source: Source, seq: number): void {
    this.heads.set(source, Math.max(seq, this.heads.get(source) ?? 0));
    this.step({ type: 'heads', namespace: 'n', vector: this.vector() });
  }

  step(event: ExchangeEvent): void {
    for (const effect of this.exchange.step(event, this.cluster.nowMs)) {
      this.seen.push(effect);
      this.carryOut(effect);
    }
  }

  carryOut(effect: ExchangeEffect): void {
    if (effect.type === 'whole') this.isWhole = true;
    if (effect.type === 'mismatch' || effect.type === 'whole' || effect.type === 'fold') return;
    if (effect.type === 'gone-back') throw new Error('nobody goes back here');
    const peer = [...this.links].find((node) => node.origin === effect.peer);
    if (effect.type === 'ask') {
      if (!peer) {
        this.step({ type: 'ask-failed', peer: effect.peer });
        return;
      }
      peer.step({ type: 'reported', report: this.report(), isAnswer: false });
      this.step({ type: 'reported', report: peer.report(), isAnswer: true });
    } else if (effect.type === 'pull') {
      const outcome = !peer ? 'failed' : effect.after < peer.trimmedTo ? 'trimmed' : 'done';
      if (outcome === 'done') this.hold(effect.source, effect.upTo);
      this.step({ type: 'pulled', pull: effect.pull, outcome });
    } else {
      if (peer) for (const [source, seq] of peer.heads) this.hold(source, seq);
      this.step({ type: 'pulled', pull: effect.pull, outcome: peer ? 'done' : 'failed' });
    }
  }
}

describe('exchange', () => {
  test('whatever is written and whichever links come and go, all hold everything once the links are back', () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constant('write' as const), a: fc.nat(3), b: fc.nat(3) }),
      fc.record({ kind: fc.constantFrom('link' as const, 'unlink' as const), a: fc.nat(3), b: fc.nat(3) }),
      fc.record({ kind: fc.constantFrom('trim' as const, 'wait' as const), a: fc.nat(3), b: fc.nat(3) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const cluster = new Cluster(4);
        for (const { kind, a, b } of actions) {
          if (kind === 'write') cluster.nodes[a]!.write();
          if (kind === 'link' || kind === 'unlink') cluster.link(a, b, kind === 'link');
          if (kind === 'trim') cluster.nodes[a]!.trimmedTo = 2;
          if (kind === 'wait') cluster.nowMs += 700;
          for (const node of cluster.nodes) node.step({ type: 'tick' });
        }
        // A ring is enough: what one has, its neighbours pull from it.
        for (let i = 0; i < 4; i++) cluster.link(i, (i + 1) % 4, true);
        cluster.settle();
        const [first, ...others] = cluster.nodes.map(({ heads }) => new Map([...heads].sort()));
        for (const other of others) expect(other).toEqual(first);
      }),
      { seed: 7 },
    );
  });

  test('a write is stable only once every member has said that it holds it', () => {
    const cluster = new Cluster(3);
    const [a, b] = [cluster.nodes[0]!, cluster.nodes[1]!];
    a.write();
    const dot = { source: sourceOf(0), seq: 1, idx: 0 };
    cluster.link(0, 1, true);
    cluster.settle();
    expect(b.heads.get(dot.source)).toBe(1);
    expect(a.exchange.known.holders('n', dot.source, 1)).toBe(1);
    expect(a.exchange.known.isStable('n', dot)).toBe(false);
    cluster.link(0, 2, true);
    cluster.settle();
    expect(a.exchange.known.isStable('n', dot)).toBe(true);
    expect(a.exchange.known.stableHeads('n').get(dot.source)).toBe(1);
  });

  test('a member that was never heard holds every purge back, and its eviction lets them go', () => {
    const cluster = new Cluster(3);
    const a = cluster.nodes[0]!;
    a.write();
    cluster.link(0, 1, true);
    cluster.settle();
    const dot = { source: sourceOf(0), seq: 1, idx: 0 };
    expect(a.exchange.known.isStable('n', dot)).toBe(false);
    a.step({ type: 'members', origins: [originOf(1)] });
    expect(a.exchange.known.isStable('n', dot)).toBe(true);
  });

  test('a write is not stable while a member that holds it also holds what is missing here', () => {
    const cluster = new Cluster(2);
    const [a, b] = [cluster.nodes[0]!, cluster.nodes[1]!];
    a.write();
    cluster.link(0, 1, true);
    cluster.settle();
    const dot = { source: sourceOf(0), seq: 1, idx: 0 };
    expect(a.exchange.known.isStable('n', dot)).toBe(true);
    b.heads.set(sourceOf(1), 5);
    a.step({ type: 'unlinked', peer: b.origin });
    a.step({ type: 'reported', report: b.report(), isAnswer: true });
    expect(a.exchange.known.isStable('n', dot)).toBe(false);
  });

  test('staleness is the age of the last moment at which all that every peer held was held here', () => {
    const cluster = new Cluster(3);
    const a = cluster.nodes[0]!;
    expect(a.exchange.known.stalenessMs('n', 0)).toBe(Number.POSITIVE_INFINITY);
    cluster.link(0, 1, true);
    cluster.link(0, 2, true);
    cluster.settle();
    expect(a.exchange.known.stalenessMs('n', cluster.nowMs)).toBeLessThanOrEqual(1_000);
    cluster.link(0, 2, false);
    const cutMs = cluster.nowMs;
    cluster.settle();
    expect(a.exchange.known.stalenessMs('n', cluster.nowMs)).toBeGreaterThanOrEqual(cluster.nowMs - cutMs);
  });

  test('an instance alone is never stale, and everything it holds is stable', () => {
    const cluster = new Cluster(1);
    cluster.nodes[0]!.write();
    expect(cluster.nodes[0]!.exchange.known.stalenessMs('n', 99_999)).toBe(0);
    expect(cluster.nodes[0]!.exchange.known.isStable('n', { source: sourceOf(0), seq: 1, idx: 0 })).toBe(true);
  });

  test('a namespace becomes whole once all that a whole member holds is held here, not before', () => {
    const cluster = new Cluster(2);
    const [a, b] = [cluster.nodes[0]!, cluster.nodes[1]!];
    b.isWhole = false;
    b.step({ type: 'heads', namespace: 'n', vector: b.vector() });
    a.write();
    expect(b.isWhole).toBe(false);
    cluster.link(0, 1, true);
    cluster.settle();
    expect(b.isWhole).toBe(true);
  });

  test('a namespace whose pull failed is still missing: not whole, and pulled again after the next report', () => {
    const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
    const nothing = { strategy, isWhole: false, heads: new Map() };
    const report: VectorReport = {
      origin: originOf(1),
      interest: 'all',
      isSettled: true,
      namespaces: new Map([['n', { strategy, isWhole: true, heads: new Map([[sourceOf(1), 3]]) }]]),
    };
    exchange.step({ type: 'members', origins: [originOf(1)] }, 0);
    exchange.step({ type: 'linked', peer: originOf(1) }, 0);
    exchange.step({ type: 'heads', namespace: 'n', vector: nothing }, 0);
    const pull = exchange.step({ type: 'reported', report, isAnswer: true }, 1).find(({ type }) => type === 'pull');
    if (pull?.type !== 'pull') throw new Error('nothing is pulled');
    const effects = exchange.step({ type: 'pulled', pull: pull.pull, outcome: 'failed' }, 2);
    expect(effects).toEqual([]);
    expect(exchange.known.isWholeHere('n')).toBe(false);
    expect(exchange.known.hasHeardAll((name) => exchange.known.isWholeHere(name))).toBe(false);
    const again = exchange.step({ type: 'reported', report, isAnswer: true }, 3);
    expect(again.map(({ type }) => type)).toEqual(['pull']);
  });

  test('a peer that was emptied counts by its new word: nothing is pulled from it, and it holds purges back', () => {
    const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
    const dot = { source: sourceOf(1), seq: 3, idx: 0 };
    const heads = new Map([[dot.source, dot.seq]]);
    const report = (isWhole: boolean): VectorReport => ({
      origin: originOf(1),
      interest: 'all',
      isSettled: isWhole,
      namespaces: new Map(isWhole ? [['n', { strategy, isWhole, heads }]] : []),
    });
    exchange.step({ type: 'members', origins: [originOf(1)] }, 0);
    exchange.step({ type: 'linked', peer: originOf(1) }, 0);
    exchange.step({ type: 'heads', namespace: 'n', vector: { strategy, isWhole: true, heads } }, 0);
    exchange.step({ type: 'reported', report: report(true), isAnswer: true }, 1);
    expect(exchange.known.isStable('n', dot)).toBe(true);
    exchange.step({ type: 'reported', report: report(false), isAnswer: true }, 2);
    expect(exchange.known.isStable('n', dot)).toBe(false);
    const missing = { strategy, isWhole: true, heads: new Map() };
    expect(exchange.step({ type: 'heads', namespace: 'n', vector: missing }, 3)).toEqual([]);
  });

  test('a member that goes back behind what it held whole is told so where that is whole, until it says that it loads', () => {
    const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
    const vector = (seq: number, isWhole = true) => ({
      strategy,
      isWhole,
      heads: new Map(seq > 0 ? [[sourceOf(1), seq]] : []),
    });
    const says = (seq: number, isWhole = true): VectorReport => ({
      origin: originOf(1),
      interest: 'all',
      isSettled: isWhole,
      namespaces: new Map([['n', vector(seq, isWhole)]]),
    });
    const promised = () => exchange.promisedBy(originOf(1)).get('n');
    exchange.step({ type: 'members', origins: [originOf(1)] }, 0);
    exchange.step({ type: 'heads', namespace: 'n', vector: vector(5) }, 0);
    for (const seq of [3, 5]) exchange.step({ type: 'reported', report: says(seq), isAnswer: false }, seq);
    expect(promised()).toBeUndefined();
    // Twice, as the answer to the first may be lost.
    for (const nowMs of [6, 7]) {
      exchange.step({ type: 'reported', report: says(3), isAnswer: false }, nowMs);
      expect(promised()).toEqual(new Map([[sourceOf(1), 5]]));
    }
    exchange.step({ type: 'heads', namespace: 'n', vector: vector(5, false) }, 8);
    expect(promised()).toBeUndefined();
    exchange.step({ type: 'heads', namespace: 'n', vector: vector(5) }, 9);
    exchange.step({ type: 'reported', report: says(3, false), isAnswer: false }, 10);
    exchange.step({ type: 'reported', report: says(4), isAnswer: false }, 11);
    expect(promised()).toBeUndefined();
  });

  test('a member that is told of more than it holds has gone back; of what it holds, a report was late', () => {
    const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
    const told = (seq: number): VectorReport => ({
      origin: originOf(1),
      interest: 'all',
      isSettled: true,
      namespaces: new Map(),
      promised: new Map([['n', new Map([[sourceOf(0), seq]])]]),
    });
    exchange.step({ type: 'members', origins: [originOf(1)] }, 0);
    const heads = new Map([[sourceOf(0), 3]]);
    exchange.step({ type: 'heads', namespace: 'n', vector: { strategy, isWhole: true, heads } }, 0);
    expect(exchange.step({ type: 'reported', report: told(3), isAnswer: true }, 1)).toEqual([]);
    expect(exchange.step({ type: 'reported', report: told(4), isAnswer: true }, 2)).toEqual([
      { type: 'gone-back', peer: originOf(1), namespace: 'n' },
    ]);
  });

  test('where no member holds everything, all have to be heard, and all that they name has to be whole here', () => {
    const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
    const says = (i: number, namespace: string): VectorReport => ({
      origin: originOf(i),
      interest: 'all',
      isSettled: false,
      namespaces: new Map([[namespace, { strategy, isWhole: true, heads: new Map() }]]),
    });
    const whole = new Set(['n']);
    const isDone = () => exchange.known.hasHeardAll((name) => whole.has(name));
    exchange.step({ type: 'members', origins: [originOf(1), originOf(2)] }, 0);
    for (const namespace of ['n', 'm'])
      exchange.step({ type: 'heads', namespace, vector: { strategy, isWhole: false, heads: new Map() } }, 0);
    exchange.step({ type: 'reported', report: says(1, 'n'), isAnswer: true }, 1);
    expect(isDone()).toBe(false);
    exchange.step({ type: 'reported', report: says(2, 'm'), isAnswer: true }, 2);
    expect(isDone()).toBe(false);
    whole.add('m');
    expect(isDone()).toBe(true);
  });

  test('a log that no longer reaches back is replaced by a bootstrap from the same peer', () => {
    const cluster = new Cluster(2);
    const [a, b] = [cluster.nodes[0]!, cluster.nodes[1]!];
    for (let i = 0; i < 5; i++) a.write();
    a.trimmedTo = 4;
    cluster.link(0, 1, true);
    cluster.settle();
    expect(b.seen.map(({ type }) => type)).toContain('bootstrap');
    expect(b.heads.get(sourceOf(0))).toBe(5);
  });

  test('a namespace whose conflicts are settled differently elsewhere is not pulled, and that is told once', () => {
    const cluster = new Cluster(2);
    const a = cluster.nodes[0]!;
    const theirs = { strategy: 'counter', isWhole: true, heads: new Map([[sourceOf(1), 3]]) };
    const report: VectorReport = {
      origin: originOf(1),
      interest: 'all',
      isSettled: true,
      namespaces: new Map([['n', theirs]]),
    };
    a.step({ type: 'linked', peer: originOf(1) });
    a.step({ type: 'reported', report, isAnswer: true });
    a.step({ type: 'reported', report, isAnswer: true });
    expect(a.seen.filter(({ type }) => type === 'mismatch')).toHaveLength(1);
    expect(a.seen.filter(({ type }) => type === 'pull')).toHaveLength(0);
  });
});

describe('reports and vectors', () => {
  const heads = fc
    .dictionary(fc.nat(5).map(String), fc.nat(9))
    .map((seqs) => new Map(Object.entries(seqs).map(([i, seq]) => [sourceOf(Number(i)), seq])));

  test('what is missing, once it is there, leaves nothing missing', () => {
    fc.assert(
      fc.property(heads, heads, (mine, theirs) => {
        const after = new Map(mine);
        for (const { source, upTo } of missingFrom(mine, theirs)) after.set(source, upTo);
        expect(covers(after, theirs)).toBe(true);
        expect(missingFrom(after, theirs)).toEqual([]);
      }),
    );
  });

  test('a report comes back from its text as it was, and other texts are refused', () => {
    fc.assert(
      fc.property(heads, fc.boolean(), (vector, isWhole) => {
        const report: VectorReport = {
          origin: originOf(1),
          interest: isWhole ? 'all' : ['n'],
          isSettled: isWhole,
          namespaces: new Map([['n', { strategy, isWhole, heads: vector }]]),
          ...(isWhole && { promised: new Map([['n', vector]]) }),
        };
        expect(decodeReport(encodeReport(report), sources)).toEqual(report);
      }),
    );
    for (const text of [
      '',
      '[]',
      '{"origin":"x","namespaces":{}}',
      '{"origin":"0000000000000001","namespaces":{"n":["lww",1,{"bad":1}]}}',
      '{"origin":"0000000000000001","interest":"all","settled":true,"namespaces":{},"promised":{"n":{"bad":1}}}',
    ])
      expect(() => decodeReport(text, sources)).toThrow(/vector report/);
  });
});

describe('eviction', () => {
  test('whatever each member had of the evicted one, all end with the most that any of them had, and no more', () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constantFrom('write' as const, 'wait' as const), a: fc.nat(2), b: fc.nat(2) }),
      fc.record({ kind: fc.constantFrom('link' as const, 'unlink' as const), a: fc.nat(3), b: fc.nat(3) }),
      // A message plane reaches one member and not another.
      fc.record({ kind: fc.constant('publish' as const), a: fc.nat(2), b: fc.nat(2) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 50 }), fc.array(action, { maxLength: 20 }), (before, after) => {
        const cluster = new Cluster(4);
        const evicted = cluster.nodes[3]!;
        const members = cluster.nodes.slice(0, 3);
        const act = ({ kind, a, b }: (typeof before)[number], bound: (node: Node) => number) => {
          if (kind === 'write') evicted.write();
          if (kind === 'link' || kind === 'unlink') cluster.link(a, b, kind === 'link');
          if (kind === 'wait') cluster.nowMs += 700;
          if (kind === 'publish') {
            const next = (members[a]!.heads.get(sourceOf(3)) ?? 0) + 1;
            const written = evicted.heads.get(sourceOf(3)) ?? 0;
            if (next <= Math.min(written, bound(members[a]!))) members[a]!.hold(sourceOf(3), next);
          }
          for (const node of cluster.nodes) node.step({ type: 'tick' });
        };
        for (const each of before) act(each, () => Number.POSITIVE_INFINITY);

        for (let i = 0; i < 3; i++) cluster.link(i, 3, false);
        let accepted: Accepted = members[0]!.exchange.known.heldOf(evicted.origin);
        const told = new Set<Node>();
        const tell = (node: Node) => {
          told.add(node);
          const origins = members.filter((other) => other !== node).map(({ origin }) => origin);
          node.step({ type: 'members', origins, cuts: new Map([[evicted.origin, { accepted, isClosed: true }]]) });
          for (const other of node.links) node.step({ type: 'linked', peer: other.origin });
        };
        tell(members[0]!);
        for (const each of after) {
          if (each.kind === 'link' && (each.a === 3 || each.b === 3)) continue;
          act(each, (node) =>
            told.has(node) ? node.exchange.known.acceptedUpTo('n', sourceOf(3)) : Number.POSITIVE_INFINITY,
          );
        }
        const most = Math.max(...members.map(({ heads }) => heads.get(sourceOf(3)) ?? 0));
        for (const node of members) tell(node);
        for (let i = 0; i < 3; i++) cluster.link(i, (i + 1) % 3, true);
        for (let round = 0; round < 4; round++) {
          cluster.settle();
          accepted = raised(accepted, members[0]!.exchange.known.heldOf(evicted.origin)) ?? accepted;
          for (const node of members) tell(node);
        }
        expect(members.map(({ heads }) => heads.get(sourceOf(3)) ?? 0)).toEqual([most, most, most]);
      }),
      { seed: 11 },
    );
  });

  test('lets deletions be forgotten once all that stay have said to know of it, and no sooner', () => {
    const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
    const cuts = new Map([[originOf(2), { accepted: {}, isClosed: true }]]);
    exchange.step({ type: 'members', origins: [originOf(1)], cuts }, 0);
    const vector = { strategy, isWhole: true, heads: new Map([[sourceOf(0), 1]]) };
    exchange.step({ type: 'heads', namespace: 'n', vector }, 0);
    const report: VectorReport = {
      origin: originOf(1),
      interest: 'all',
      isSettled: true,
      namespaces: new Map([['n', vector]]),
    };
    const dot = { source: sourceOf(0), seq: 1, idx: 0 };
    exchange.step({ type: 'reported', report, isAnswer: true }, 0);
    expect(exchange.known.isStable('n', dot)).toBe(false);
    const sent = decodeReport(encodeReport({ ...report, evicted: [originOf(2)] }), sources);
    exchange.step({ type: 'reported', report: sent, isAnswer: true }, 1);
    expect(exchange.known.isStable('n', dot)).toBe(true);
    expect(exchange.known.evicted).toEqual([originOf(2)]);
  });

  test('what only the evicted member itself has said to hold is not accepted of it', () => {
    const cluster = new Cluster(2);
    cluster.link(0, 1, true);
    cluster.nodes[1]!.write();
    const [first, second] = cluster.nodes;
    first!.step({ type: 'reported', report: { ...second!.report(), namespaces: new Map() }, isAnswer: false });
    const ahead = { strategy, isWhole: true, heads: new Map([[sourceOf(1), 9]]) };
    first!.heads.set(sourceOf(1), 1);
    first!.exchange.step({ type: 'heads', namespace: 'n', vector: first!.vector() }, 0);
    const report = { ...second!.report(), namespaces: new Map([['n', ahead]]) };
    first!.exchange.step({ type: 'reported', report, isAnswer: false }, 0);
    expect(first!.exchange.known.heldOf(second!.origin)).toEqual({ n: { [sourceOf(1).id]: 1 } });
  });
});

describe('what a member that came back wrote before', () => {
  const report = (peer: number, heads: readonly (readonly [Source, number])[]): VectorReport => ({
    origin: originOf(peer),
    interest: 'all',
    isSettled: true,
    namespaces: new Map([['n', { strategy, isWhole: true, heads: new Map(heads) }]]),
  });
  const back = () => {
    const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
    const cuts = new Map([[originOf(0), { accepted: { n: { [sourceOf(0).id]: 7 } }, isClosed: false }]]);
    exchange.step({ type: 'members', origins: [1, 2].map(originOf), cuts }, 0);
    const reported = (told: VectorReport) => exchange.step({ type: 'reported', report: told, isAnswer: true }, 0);
    const hold = (seq: number) => {
      const vector = { strategy, isWhole: true, heads: new Map([[sourceOf(0), seq]]) };
      exchange.step({ type: 'heads', namespace: 'n', vector }, 0);
    };
    hold(0);
    return { exchange, reported, hold };
  };

  test('is regained once all have told what they hold of it, and that is here as far as it counts', () => {
    const { exchange, reported, hold } = back();
    reported(report(1, [[sourceOf(0), 3]]));
    hold(3);
    expect(exchange.known.hasRegained(originOf(0))).toBe(false);
    reported(report(2, [[sourceOf(0), 9]]));
    expect(exchange.known.hasRegained(originOf(0))).toBe(false);
    hold(7);
    expect(exchange.known.hasRegained(originOf(0))).toBe(true);
  });

  test('is regained whatever is missing here of what others wrote, and of what nobody holds any more', () => {
    const { exchange, reported, hold } = back();
    hold(2);
    reported(report(1, [[sourceOf(1), 5]]));
    reported(report(2, [[sourceOf(0), 2]]));
    expect(exchange.known.hasRegained(originOf(0))).toBe(true);
  });
});

describe('what a member may hold alone', () => {
  const evicted = sourceOf(3);
  /** The first of three, which knows that so many records of an evicted fourth count, and holds so many. */
  const holder = (own: number, last: number) => {
    const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
    const cuts = new Map([[evicted.origin, { accepted: { n: { [evicted.id]: last } }, isClosed: true }]]);
    exchange.step({ type: 'members', origins: [originOf(1), originOf(2)], cuts }, 0);
    const tell = (heads: ReadonlyMap<Source, number>) => ({ strategy, isWhole: true, heads });
    exchange.step({ type: 'heads', namespace: 'n', vector: tell(new Map([[evicted, own]])) }, 0);
    const told = (member: number, heads: ReadonlyMap<Source, number>) => {
      const report = { origin: originOf(member), interest: 'all', isSettled: true } as const;
      const namespaces = new Map([['n', tell(heads)]]);
      exchange.step({ type: 'reported', report: { ...report, namespaces }, isAnswer: false }, 0);
    };
    return { exchange, told };
  };

  test('is what counts of an evicted one and neither this instance nor another member has said to hold', () => {
    const { exchange, told } = holder(1, 2);
    told(1, new Map([[evicted, 1]]));
    told(2, new Map([[evicted, 2]]));
    expect(exchange.known.mayHoldAlone(originOf(2))).toBe(true);
    expect(exchange.known.mayHoldAlone(originOf(1))).toBe(false);
    told(1, new Map([[evicted, 2]]));
    expect(exchange.known.mayHoldAlone(originOf(2))).toBe(false);
    told(1, new Map([[sources.of(evicted.origin, 2), foldedBase + 9]]));
    expect(exchange.known.mayHoldAlone(originOf(2))).toBe(false);
  });

  test('is also what it wrote itself before it was evicted once: of that it brings nothing again', () => {
    const returned = sources.of(originOf(2), 1);
    const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
    const cuts = new Map([[returned.origin, { accepted: { n: { [returned.id]: 2 } }, isClosed: false }]]);
    exchange.step({ type: 'members', origins: [originOf(1), originOf(2)], cuts }, 0);
    expect(exchange.known.mayHoldAlone(originOf(2))).toBe(true);
    expect(exchange.known.mayHoldAlone(originOf(1))).toBe(true);
    const vector = { strategy, isWhole: true, heads: new Map([[returned, 2]]) };
    exchange.step({ type: 'heads', namespace: 'n', vector }, 0);
    expect(exchange.known.mayHoldAlone(originOf(2))).toBe(false);
  });

  test('is everything that nobody has said to hold, while it has not reported', () => {
    const { exchange, told } = holder(1, 2);
    told(1, new Map([[evicted, 1]]));
    expect(exchange.known.mayHoldAlone(originOf(2))).toBe(true);
    told(2, new Map([[evicted, 1]]));
    expect(exchange.known.mayHoldAlone(originOf(2))).toBe(false);
    const covered = holder(2, 2);
    expect(covered.exchange.known.mayHoldAlone(originOf(2))).toBe(false);
  });
});

describe('leases', () => {
  const [a, b, c] = [originOf(1), originOf(2), originOf(3)] as const;
  const leaseMs = 1_000_000;
  const graceMs = 100_000;

  test('lapse for a member that nobody has heard, neither here nor at a peer that told', () => {
    const leases = new Leases(0);
    leases.members([a, b, c], 0);
    leases.heard(a, 900_000);
    leases.heard(b, 900_000, 100_000);
    expect(leases.judge(leaseMs, 1_000_001)).toEqual({ lapsed: [c], isCutOff: false });
    expect(leases.judge(leaseMs, 1_000_000)).toEqual({ lapsed: [], isCutOff: false });
    expect(leases.judge(leaseMs, 1_800_001).lapsed).toEqual([b, c]);
  });

  test('are not renewed by a restart, and judged only once links had time to come up', () => {
    const leases = new Leases(2_000_000, { [a]: 500_000, [b]: 9_000_000 });
    leases.members([a, b], 2_000_000);
    expect(leases.judge(leaseMs, 2_000_000 + graceMs - 1).lapsed).toEqual([]);
    expect(leases.judge(leaseMs, 2_000_000 + graceMs).lapsed).toEqual([a]);
  });

  test('an instance that hears none of several others takes itself for cut off', () => {
    const leases = new Leases(0);
    leases.members([a, b], 0);
    expect(leases.judge(leaseMs, 2_000_000)).toEqual({ lapsed: [a, b], isCutOff: true });
    leases.members([a], 0);
    expect(leases.judge(leaseMs, 2_000_000)).toEqual({ lapsed: [a], isCutOff: false });
  });

  test('a report carries the ages at which members were heard', () => {
    const report: VectorReport = {
      origin: a,
      interest: 'all',
      isSettled: true,
      namespaces: new Map(),
      heardMs: new Map([[b, 1_500]]),
    };
    expect(decodeReport(encodeReport(report), sources)).toEqual(report);
    const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 1, leases: new Leases(0) });
    exchange.step({ type: 'members', origins: [a, b] }, 0);
    exchange.step({ type: 'reported', report, isAnswer: true }, 5_000);
    expect(exchange.leases.ages(6_000)).toEqual(
      new Map([
        [a, 1_000],
        [b, 2_500],
      ]),
    );
  });
});

describe('clocks', () => {
  test('are compared by the reports of peers: an instance is as far off as the median of them says', () => {
    const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 1 });
    const peers = [1, 2, 3].map(originOf);
    exchange.step({ type: 'members', origins: peers }, 0);
    expect(exchange.skew.aheadMs(0)).toBeUndefined();
    for (const peer of peers) exchange.step({ type: 'linked', peer }, 10_000);
    // All were asked at 10,000; the answers take 20 ms. One of the three has a clock that is far off itself.
    for (const [i, clockMs] of [9_500, 9_510, 90_000].entries()) {
      const report = { origin: peers[i]!, interest: 'all', isSettled: true, namespaces: new Map(), clockMs } as const;
      exchange.step({ type: 'reported', report: decodeReport(encodeReport(report), sources), isAnswer: true }, 10_020);
    }
    expect(exchange.skew.aheadMs(10_020)).toBe(500);
    expect(exchange.skew.offsets(10_020).get(peers[0]!)).toBe(-510);
    expect(exchange.skew.aheadMs(60_000)).toBeUndefined();
  });

  test('are not compared by answers that took too long', () => {
    const skew = new Skew();
    skew.measured('a', 5_000, 0, 2_000);
    expect(skew.aheadMs(2_000)).toBeUndefined();
  });
});

test('a fold that could not be stored is asked for again after a while', () => {
  const [self, other] = [originOf(1), originOf(2)];
  const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4, self: { origin: self, isClosed: () => true } });
  const vector = { strategy, isWhole: true, heads: new Map([[sources.of(self, 1), 3]]) };
  const namespaces = new Map([['n', vector]]);
  const report: VectorReport = { origin: other, interest: 'all', isSettled: true, namespaces };
  exchange.step({ type: 'members', origins: [other] }, 0);
  exchange.step({ type: 'heads', namespace: 'n', vector }, 0);
  exchange.step({ type: 'reported', report, isAnswer: false }, 0);
  const foldsAt = (nowMs: number) => exchange.step({ type: 'tick' }, nowMs).filter(({ type }) => type === 'fold');
  expect(foldsAt(100)).toEqual([
    { type: 'fold', namespace: 'n', head: { source: sources.of(self, 1), seq: foldedBase + 3 } },
  ]);
  expect(foldsAt(200)).toEqual([]);
  expect(foldsAt(20_000)).toHaveLength(1);
});

test('sources are not folded while some of an earlier start are still to come', () => {
  const [self, other] = [originOf(1), originOf(2)];
  const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4, self: { origin: self, isClosed: () => true } });
  const [earlier, later] = [sources.of(self, 1), sources.of(self, 2)];
  const all = { strategy, isWhole: true, heads: new Map([earlier, later].map((source) => [source, 2])) };
  const report: VectorReport = { origin: other, interest: 'all', isSettled: true, namespaces: new Map([['n', all]]) };
  exchange.step({ type: 'members', origins: [other] }, 0);
  exchange.step(
    { type: 'heads', namespace: 'n', vector: { strategy, isWhole: false, heads: new Map([[later, 2]]) } },
    0,
  );
  exchange.step({ type: 'reported', report, isAnswer: false }, 0);
  const foldsAt = (nowMs: number) => exchange.step({ type: 'tick' }, nowMs).filter(({ type }) => type === 'fold');
  expect(foldsAt(100)).toEqual([]);
  exchange.step({ type: 'heads', namespace: 'n', vector: all }, 200);
  expect(foldsAt(300)).toEqual([{ type: 'fold', namespace: 'n', head: { source: later, seq: foldedBase + 4 } }]);
});

test('a deletion is not stable while a member holds records of its namespace back: it may be one of them', () => {
  const [self, other] = [originOf(1), originOf(2)];
  const dot = { source: sources.of(self, 1), seq: 3, idx: 0 };
  const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
  const vector = { strategy, isWhole: true, heads: new Map([[dot.source, 3]]) };
  const told = (isHoldingBack: boolean) => {
    const namespaces = new Map([['n', { ...vector, isHoldingBack }]]);
    const text = encodeReport({ origin: other, interest: 'all', isSettled: true, namespaces });
    exchange.step({ type: 'reported', report: decodeReport(text, sources), isAnswer: true }, 0);
  };
  exchange.step({ type: 'members', origins: [other] }, 0);
  exchange.step({ type: 'heads', namespace: 'n', vector }, 0);
  told(true);
  expect(exchange.known.isStable('n', dot)).toBe(false);
  told(false);
  expect(exchange.known.isStable('n', dot)).toBe(true);
});

test('a member counts as evicted for all once each of them has said so, and until one says otherwise', () => {
  const [evicted, others] = [originOf(9), [originOf(2), originOf(3)]];
  const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
  const told = (origin: string, names: readonly string[]) => {
    const text = encodeReport({ origin, interest: 'all', isSettled: true, namespaces: new Map(), evicted: names });
    exchange.step({ type: 'reported', report: decodeReport(text, sources), isAnswer: true }, 0);
  };
  exchange.step({ type: 'members', origins: others }, 0);
  told(others[0]!, [evicted]);
  expect(exchange.known.isEvictedForAll(evicted)).toBe(false);
  told(others[1]!, [evicted]);
  expect(exchange.known.isEvictedForAll(evicted)).toBe(true);
  told(others[1]!, []);
  expect(exchange.known.isEvictedForAll(evicted)).toBe(false);
});
