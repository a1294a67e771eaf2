import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InstantReplica, randomFrom } from '../testkit/replica.ts';
import { Sources } from './dot.ts';
import { covers } from './exchange/index.ts';
import { rangesBeyond } from './feed/index.ts';
import { foldable, foldedBase, headOf, isFolded, moveHead, reaches } from './fold.ts';
import { covers as contextCovers, joinContexts } from './join.ts';
import type { Context, Strategy } from './state.ts';
import type { Write } from './write.ts';

const startMs = 1_700_000_000_000;
const hourMs = 3_600_000;
const strategies: Readonly<Record<string, Strategy>> = {
  plain: { kind: 'lww' },
  revoked: { kind: 'version-vector', resolver: 'revoke-wins' },
  sets: { kind: 'set', resolver: 'remove-wins' },
};
const namespaces = Object.keys(strategies);

/** Instances that hear each other's whole logs, and fold as the exchange decides, or never. */
class Cluster {
  readonly nodes: readonly InstantReplica[];
  readonly #isFolding: boolean;

  constructor(count: number, isFolding: boolean) {
    this.#isFolding = isFolding;
    this.nodes = Array.from({ length: count }, (_, i) => {
      const origin = `${i}`.padStart(16, 'a');
      // Whether a tombstone may go is for the test to say: when all hold everything.
      return new InstantReplica({ origin, strategyOf: (name) => strategies[name]! }, randomFrom(i + 3), startMs);
    });
  }

  deliver(from: number, to: number): void {
    if (from !== to) this.nodes[to]!.receive(...this.nodes[from]!.log);
  }

  deliverAll(): void {
    for (let round = 0; round < 2; round++)
      for (const from of this.nodes.keys()) for (const to of this.nodes.keys()) this.deliver(from, to);
  }

  /** One instance folds what everyone holds of it, and the others follow where they hold as much. */
  fold(at: number): void {
    if (!this.#isFolding) return;
    const node = this.nodes[at]!;
    for (const namespace of namespaces) {
      const head = foldable(
        node.replica.headsOf(namespace),
        node.replica.origin,
        (source) => node.replica.isPast(source),
        (source, seq) => this.#others(at).every((other) => headsAt(other, namespace, source.id) === seq),
      );
      if (head === undefined) continue;
      advance(node, namespace, head.source.id, head.seq);
      for (const other of this.#others(at)) {
        const source = other.replica.sources.parse(head.source.id)!;
        if (reaches(other.replica.headsOf(namespace), source, head.seq))
          advance(other, namespace, head.source.id, head.seq);
      }
    }
  }

  #others(at: number): readonly InstantReplica[] {
    return this.nodes.filter((_, i) => i !== at);
  }
}

function headsAt(node: InstantReplica, namespace: string, id: string): number {
  return headOf(node.replica.headsOf(namespace), node.replica.sources.parse(id)!);
}

function advance(node: InstantReplica, namespace: string, id: string, seq: number): void {
  const source = node.replica.sources.parse(id)!;
  node.ask((ask) => ({ type: 'advance', id: ask, namespace, heads: [{ source, seq }], floor: 0 }));
}

function writeOf(namespace: string, choice: number, value: number): Write {
  const target = { namespace, key: `${namespace}.k${choice % 2}` };
  if (strategies[namespace]!.kind === 'set')
    return { op: choice > 3 ? 'set-remove' : 'set-add', ...target, members: [`"m${value}"`] };
  return choice > 3 ? { op: 'delete', ...target } : { op: 'put', ...target, json: String(value) };
}

const rowsOf = (node: InstantReplica) => node.rows('metadata').filter(([key]) => key[0] === 0x76).length;

describe('folding of epochs that are over', () => {
  test('keeps vectors, contexts and rows small over 1,000 starts of an instance', () => {
    const cluster = new Cluster(2, true);
    const [often] = cluster.nodes as [InstantReplica];
    for (let i = 0; i < 1_000; i++) {
      for (const namespace of namespaces) often.write(writeOf(namespace, i % 4, i % 3));
      // Only what is new: the whole log of 1,000 starts would be heard a thousand times.
      cluster.nodes[1]!.receive(...often.log.splice(0));
      often.restart();
      cluster.fold(0);
    }
    for (const node of cluster.nodes)
      for (const namespace of namespaces) {
        expect(node.replica.headsOf(namespace).size).toBeLessThanOrEqual(2);
        expect(node.cell(`${namespace}.k0`).etag).toBe(cluster.nodes[0]!.cell(`${namespace}.k0`).etag);
        expect(rowsOf(node)).toBeLessThanOrEqual(2 * namespaces.length);
        const { state } = node.cell(`${namespace}.k0`);
        if (state?.kind === 'siblings') expect(state.context.length).toBeLessThanOrEqual(2);
        if (state?.kind === 'members')
          for (const { context } of state.members) expect(context.length).toBeLessThanOrEqual(2);
      }
    often.restart();
    expect(often.replica.headsOf('plain').size).toBeLessThanOrEqual(2);
  });

  test('a record of a folded epoch that comes again is known, and a deletion that was purged stays', () => {
    for (const namespace of ['plain', 'revoked']) {
      const cluster = new Cluster(2, true);
      const [first, second] = cluster.nodes as [InstantReplica, InstantReplica];
      const key = `${namespace}.k0`;
      first.write({ op: 'put', namespace, key, json: '1' });
      cluster.deliverAll();
      second.write({ op: 'delete', namespace, key });
      cluster.deliverAll();
      for (const node of cluster.nodes) node.restart();
      for (const at of [0, 1]) cluster.fold(at);
      for (const node of cluster.nodes) {
        node.nowMs += 1_000;
        node.step({ type: 'purge', keys: [key] });
        expect(node.cell(key).state).toBeUndefined();
      }
      cluster.deliverAll();
      for (const node of cluster.nodes) expect(node.cell(key).state).toBeUndefined();
    }
  });

  test('a write to a purged key comes after a tombstone of a folded epoch that others still hold', () => {
    const cluster = new Cluster(2, true);
    const [first, second] = cluster.nodes as [InstantReplica, InstantReplica];
    const target = { namespace: 'revoked', key: 'revoked.k0' };
    first.write({ op: 'put', ...target, json: '1' });
    first.write({ op: 'delete', ...target });
    first.restart();
    first.write({ op: 'put', namespace: 'revoked', key: 'revoked.later', json: '1' });
    cluster.deliverAll();
    first.restart();
    cluster.fold(0);
    first.nowMs += 1_000;
    first.step({ type: 'purge', keys: [target.key] });
    expect(first.cell(target.key).state).toBeUndefined();
    expect(second.cell(target.key).state).toBeDefined();
    first.write({ op: 'put', ...target, json: '2' });
    cluster.deliverAll();
    for (const node of cluster.nodes) expect(node.seen(target.key)).toBe('2');
  });

  test('keeps nothing from being heard of an instance that begins anew with an empty store, though its clock went back', () => {
    for (const behindMs of [0, hourMs]) {
      const cluster = new Cluster(2, true);
      const [first, second] = cluster.nodes as [InstantReplica, InstantReplica];
      for (let i = 0; i < 3; i++) {
        for (const namespace of namespaces) first.write(writeOf(namespace, 0, i));
        cluster.deliverAll();
        first.restart();
      }
      cluster.fold(0);
      // Under the lowest epoch of its time that there can be.
      const { origin } = first.replica;
      const anew = new InstantReplica({ origin, strategyOf: (name) => strategies[name]! }, () => 0, startMs - behindMs);
      anew.receive(...first.log);
      for (const namespace of namespaces)
        for (const [source, seq] of second.replica.headsOf(namespace)) advance(anew, namespace, source.id, seq);
      anew.log.length = 0;
      anew.nowMs = startMs + 1_000;
      for (const namespace of namespaces) anew.write(writeOf(namespace, 1, 9));
      second.receive(...anew.log);
      for (const namespace of namespaces) expect(second.cell(`${namespace}.k1`).state).toBeDefined();
    }
  });

  test('waits for an hour after the start that found them over, since another may still run on a copy of its store', () => {
    const node = new InstantReplica(
      { origin: 'a'.repeat(16), strategyOf: (name) => strategies[name]! },
      () => 0,
      startMs,
    );
    const { id } = node.replica.source;
    const isClosed = (afterMs: number) => node.replica.isClosed(node.replica.sources.parse(id)!, node.nowMs + afterMs);
    node.write(writeOf('plain', 0, 1));
    node.nowMs += 10 * hourMs;
    expect(isClosed(0)).toBe(false);
    node.restart();
    expect(isClosed(hourMs / 2)).toBe(false);
    expect(isClosed(hourMs)).toBe(true);
    expect(node.replica.isClosed(node.replica.source, node.nowMs + 2 * hourMs)).toBe(false);
  });

  test('changes nothing of what anybody sees, whatever is written, heard, restarted and purged when', () => {
    const action = fc.record({
      kind: fc.constantFrom('write', 'write', 'deliver', 'deliver', 'restart', 'fold', 'fold', 'purge'),
      a: fc.nat(2),
      b: fc.nat(2),
      choice: fc.nat(5),
      value: fc.nat(2),
      namespace: fc.constantFrom(...namespaces),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 50 }), (actions) => {
        const clusters = [new Cluster(3, true), new Cluster(3, false)] as const;
        for (const cluster of clusters) {
          for (const { kind, a, b, choice, value, namespace } of actions) {
            const node = cluster.nodes[a]!;
            if (kind === 'write') node.write(writeOf(namespace, choice, value));
            if (kind === 'deliver') cluster.deliver(a, b);
            if (kind === 'restart') node.restart();
            if (kind === 'fold') cluster.fold(a);
            if (kind === 'purge') {
              cluster.deliverAll();
              for (const each of cluster.nodes) each.nowMs += 1_000;
              node.step({ type: 'purge', keys: namespaces.flatMap((name) => [`${name}.k0`, `${name}.k1`]) });
            }
          }
          cluster.deliverAll();
          for (const at of [0, 1, 2]) cluster.fold(at);
          cluster.deliverAll();
        }
        for (const namespace of namespaces)
          for (const key of [`${namespace}.k0`, `${namespace}.k1`])
            for (const i of [0, 1, 2]) expect(clusters[0].nodes[i]!.seen(key)).toBe(clusters[1].nodes[i]!.seen(key));
        for (const { replica } of clusters[0].nodes)
          for (const namespace of namespaces) expect(replica.headsOf(namespace).size).toBeLessThanOrEqual(6);
      }),
      { seed: 21, numRuns: 300 },
    );
  });
});

describe('folded entries', () => {
  const sources = new Sources();
  const origin = '00112233445566aa';
  const at = (epoch: number) => sources.of(origin, epoch);

  test('tell a follower nothing that it was told under the sources that they stand for, and everything else by states', () => {
    const told = new Map([
      [at(1), 3],
      [at(2), 5],
    ]);
    const folded = (records: number) =>
      new Map([
        [at(2), foldedBase + records],
        [at(9), 4],
      ]);
    const beyond = [{ namespace: 'plain', source: at(9), after: 0, upTo: 4 }];
    expect(rangesBeyond(told, 'plain', folded(8))).toEqual(beyond);
    expect(rangesBeyond(folded(8), 'plain', new Map([...told, [at(9), 5]]))).toEqual([
      { namespace: 'plain', source: at(9), after: 4, upTo: 5 },
    ]);
    expect(rangesBeyond(told, 'plain', folded(9))).toBeUndefined();
  });

  test('are reached by whoever holds as many records, and by nobody who lacks one', () => {
    const heads = new Map([
      [at(1), 3],
      [at(2), 5],
      [at(9), 1],
    ]);
    const head = foldable(
      heads,
      origin,
      ({ epoch }) => epoch < 9,
      () => true,
    )!;
    expect(head).toEqual({ source: at(2), seq: foldedBase + 8 });
    expect(reaches(heads, head.source, head.seq)).toBe(true);
    expect(
      reaches(
        new Map([
          [at(1), 3],
          [at(2), 4],
        ]),
        head.source,
        head.seq,
      ),
    ).toBe(false);
    expect(moveHead(heads, head.source, head.seq)).toEqual([at(1)]);
    expect([...heads]).toEqual([
      [at(2), foldedBase + 8],
      [at(9), 1],
    ]);
    expect(headOf(heads, at(1))).toBe(Number.POSITIVE_INFINITY);
    expect(covers(heads, new Map([[at(1), 3]]))).toBe(true);
    expect(moveHead(heads, at(1), 7)).toBeUndefined();
  });

  test('join in contexts as what they stand for: in any order, any grouping, any number of times', () => {
    const entry = fc.record({ epoch: fc.nat(4), seq: fc.integer({ min: 1, max: 3 }), isFolded: fc.boolean() });
    const context = fc
      .array(entry, { maxLength: 4 })
      .map((entries) =>
        entries.reduce<Context>(
          (all, { epoch, seq, isFolded: folded }) =>
            joinContexts(all, [{ source: at(epoch), seq: folded ? foldedBase + epoch : seq, idx: 0 }]),
          [],
        ),
      );
    fc.assert(
      fc.property(context, context, context, (a, b, c) => {
        expect(joinContexts(a, b)).toEqual(joinContexts(b, a));
        expect(joinContexts(a, joinContexts(b, c))).toEqual(joinContexts(joinContexts(a, b), c));
        expect(joinContexts(a, a)).toEqual(a);
        for (let epoch = 0; epoch <= 4; epoch++)
          for (let seq = 1; seq <= 3; seq++) {
            const dot = { source: at(epoch), seq, idx: 0 };
            expect(contextCovers(joinContexts(a, b), dot)).toBe(contextCovers(a, dot) || contextCovers(b, dot));
          }
        expect(joinContexts(a, b).filter(({ seq }) => isFolded(seq)).length).toBeLessThanOrEqual(1);
      }),
      { seed: 4 },
    );
  });
});
