import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InstantReplica, randomFrom } from '../testkit/replica.ts';
import { BatchRecord } from './batch.ts';
import { seenBy } from './desk/local-writes.ts';
import { placesMax, Sources } from './dot.ts';
import { foldedBase } from './fold.ts';
import { Namespace } from './namespaces.ts';
import { Quarantine, quarantineAheadMs } from './quarantine.ts';
import type { LogRecord } from './record.ts';
import { decodeRecord } from './record-codec.ts';
import type { Strategy } from './state.ts';
import type { Write } from './write.ts';

const hourMs = 3_600_000;
const startMs = 1_700_000_000_000;
const strategies: Readonly<Record<string, Strategy>> = {
  plain: { kind: 'lww' },
  revoked: { kind: 'version-vector', resolver: 'revoke-wins' },
  added: { kind: 'version-vector', resolver: 'add-wins' },
  counted: { kind: 'counter' },
  sets: { kind: 'set', resolver: 'add-wins' },
};
const namespaces = Object.keys(strategies);

function replicas(count: number): InstantReplica[] {
  return Array.from({ length: count }, (_, i) => {
    const origin = `${i}`.padStart(16, 'a');
    return new InstantReplica({ origin, strategyOf: (name) => strategies[name]! }, randomFrom(i + 7), startMs);
  });
}

function writeOf(namespace: string, choice: number, value: number): Write {
  const target = { namespace, key: `${namespace}.k${choice % 2}` };
  const isRemoval = choice > 3;
  switch (strategies[namespace]!.kind) {
    case 'counter':
      return { op: 'add', ...target, amount: value + 1 };
    case 'set':
      return { op: isRemoval ? 'set-remove' : 'set-add', ...target, members: [`"m${value}"`] };
    default:
      return isRemoval
        ? { op: 'delete', ...target }
        : { op: 'put', ...target, json: String(value), ifMatch: undefined };
  }
}

const asSentTo = (to: InstantReplica, record: LogRecord): LogRecord => ({
  ...record,
  source: to.replica.sources.parse(record.source.id)!,
});

const release = (at: InstantReplica, records: readonly LogRecord[], isForced: boolean) =>
  at.ask((id) => ({ type: 'release', id, records: records.map((each) => asSentTo(at, each)), isForced }));

/** Delivers everything to everybody and lets the clocks reach all of it. */
function settle(all: readonly InstantReplica[]): void {
  for (let round = 0; round < 3; round++)
    for (const from of all) for (const to of all) if (from !== to) to.receive(...from.log);
  for (const each of all) {
    each.nowMs = startMs + 1_000 * hourMs;
    each.step({ type: 'tick' });
    release(each, each.held(), false);
  }
}

describe('records whose time lies far ahead', () => {
  test('count as held at once, are not seen before the clock reaches them, and then are, restarts or not', () => {
    const [ahead, other] = replicas(2) as [InstantReplica, InstantReplica];
    other.write({ op: 'put', namespace: 'plain', key: 'plain.k', json: '"now"' });
    ahead.nowMs += 2 * hourMs;
    ahead.write({ op: 'put', namespace: 'plain', key: 'plain.k', json: '"later"' });
    other.receive(...ahead.log);
    expect(other.seen('plain.k')).toBe('"now"');
    const source = other.replica.sources.parse(ahead.replica.source.id)!;
    expect(other.replica.headsOf('plain').get(source)).toBe(1);
    expect(other.replica.heldBackCount).toBe(1);
    expect(other.told).toMatchObject([{ type: 'held', aheadMs: 2 * hourMs }]);

    other.restart();
    other.receive(...ahead.log);
    expect(other.replica.heldBackCount).toBe(1);
    release(other, other.held(), false);
    expect(other.seen('plain.k')).toBe('"now"');
    other.nowMs = startMs + 2 * hourMs - 1;
    other.step({ type: 'tick' });
    expect(other.told.filter(({ type }) => type === 'due')).toEqual([]);
    other.nowMs++;
    other.step({ type: 'tick' });
    expect(other.told.at(-1)).toMatchObject({ type: 'due', runs: [{ from: 1, to: 1 }] });
    release(other, other.held(), false);
    expect(other.seen('plain.k')).toBe('"later"');
    expect(other.replica.heldBackCount).toBe(0);
  });

  test('up to an hour ahead are applied in their order, without taking the clock along', () => {
    const [ahead, other] = replicas(2) as [InstantReplica, InstantReplica];
    ahead.nowMs += hourMs;
    ahead.write({ op: 'put', namespace: 'plain', key: 'plain.k', json: '1' });
    other.receive(...ahead.log);
    expect(other.seen('plain.k')).toBe('1');
    other.write({ op: 'put', namespace: 'plain', key: 'plain.k', json: '2' });
    other.write({ op: 'put', namespace: 'plain', key: 'plain.unrelated', json: '3' });
    expect(other.seen('plain.k')).toBe('2');
    const [, overwritten, unrelated] = other.log.map((bytes) => decodeRecord(bytes, other.replica.sources));
    expect(overwritten!.ms).toBe(startMs + hourMs);
    expect(unrelated!.ms).toBe(startMs);
  });

  test('are overwritten several times in one batch, beside other keys and by more than a record takes', () => {
    const [ahead, other] = replicas(2) as [InstantReplica, InstantReplica];
    const put = (key: string, json: string) => ({ op: 'put', namespace: 'plain', key: `plain.${key}`, json }) as const;
    ahead.nowMs += hourMs;
    ahead.write(put('k', '0'));
    other.receive(...ahead.log);
    other.write(put('k', '1'), put('k', '2'), put('unrelated', '3'), put('k', '4'));
    expect(other.seen('plain.k')).toBe('4');
    other.write(...Array.from({ length: 1_100 }, (_, i) => put('k', `${i}`)));
    expect(other.seen('plain.k')).toBe('1099');
    other.write(put('k', '5'), { op: 'delete', namespace: 'plain', key: 'plain.k' });
    expect(other.seen('plain.k')).toBeUndefined();
    other.write(put('k', '6'), put('k', '7'));
    ahead.receive(...other.log);
    for (const each of [ahead, other]) expect(each.seen('plain.k')).toBe('7');
    const unrelated = decodeRecord(other.log[2]!, other.replica.sources);
    expect(unrelated).toMatchObject({ ms: startMs, operations: [{ key: 'plain.unrelated' }] });
  });

  test('are not held back where a member has forgotten what reaches as far: what had not seen it would stand there', () => {
    let purgedMs = 0;
    const joiner = new InstantReplica(
      { origin: 'f'.repeat(16), strategyOf: (name) => strategies[name]!, purgedMs: () => purgedMs },
      randomFrom(3),
      startMs,
    );
    const [ahead] = replicas(1) as [InstantReplica];
    ahead.nowMs += 2 * hourMs;
    ahead.write({ op: 'put', namespace: 'revoked', key: 'revoked.k', json: '1' });
    ahead.write({ op: 'delete', namespace: 'revoked', key: 'revoked.k' });
    joiner.receive(...ahead.log);
    expect(joiner.replica.heldBackCount).toBe(2);
    joiner.write({ op: 'put', namespace: 'revoked', key: 'revoked.k', json: '2' });
    expect(joiner.seen('revoked.k')).toBe('2');
    purgedMs = ahead.nowMs;
    release(joiner, joiner.held(), false);
    expect([joiner.replica.heldBackCount, joiner.seen('revoked.k')]).toEqual([0, undefined]);
  });

  test('can be rejected: nobody ever sees the value, the writer included once it has heard', () => {
    for (const namespace of namespaces) {
      const [ahead, first, second] = replicas(3) as [InstantReplica, InstantReplica, InstantReplica];
      first.write(writeOf(namespace, 0, 1));
      for (const to of [ahead, second]) to.receive(...first.log);
      const before = first.seen(`${namespace}.k0`);
      ahead.nowMs += 3 * hourMs;
      ahead.write(writeOf(namespace, 0, 3));
      for (const to of [first, second]) to.receive(ahead.log.at(-1)!);
      const [record] = first.held();
      first.ask((id) => ({ type: 'reject', id, record: record! }));
      expect(first.seen(`${namespace}.k0`)).toBe(before);
      // What it is overwritten with is as far ahead, and waits elsewhere until both are released together.
      for (const to of [ahead, second]) to.receive(first.log.at(-1)!);
      expect(second.seen(`${namespace}.k0`)).toBe(before);
      release(second, second.held(), true);
      for (const each of [ahead, first, second]) expect(each.seen(`${namespace}.k0`)).toBe(before);
      expect(second.replica.heldBackCount).toBe(0);
    }
  });

  test('keep deletions in their namespace from being forgotten', () => {
    const [ahead, other] = replicas(2) as [InstantReplica, InstantReplica];
    other.write({ op: 'put', namespace: 'revoked', key: 'revoked.k', json: '1' });
    other.write({ op: 'delete', namespace: 'revoked', key: 'revoked.k' });
    ahead.nowMs += 2 * hourMs;
    ahead.write({ op: 'put', namespace: 'revoked', key: 'revoked.k', json: '2' });
    other.receive(...ahead.log);
    other.nowMs += 1_000;
    other.step({ type: 'purge', keys: ['revoked.k'] });
    expect(other.cell('revoked.k').view?.kind).toBe('absent');
    release(other, other.held(), true);
    expect(other.seen('revoked.k')).toBeUndefined();
  });

  test('whatever is written, delivered, released, rejected and restarted in whatever order, all end the same', () => {
    const action = fc.record({
      kind: fc.constantFrom('write', 'write', 'deliver', 'deliver', 'release', 'reject', 'restart', 'jump', 'purge'),
      a: fc.nat(2),
      b: fc.nat(2),
      choice: fc.nat(5),
      value: fc.nat(4),
      namespace: fc.constantFrom(...namespaces),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const all = replicas(3);
        for (const { kind, a, b, choice, value, namespace } of actions) {
          const [one, other] = [all[a]!, all[b]!];
          if (kind === 'write') one.write(writeOf(namespace, choice, value));
          if (kind === 'deliver' && one !== other) other.receive(...one.log);
          if (kind === 'release') release(one, one.held(namespace), choice > 2);
          if (kind === 'reject' && one.held()[0]) one.ask((id) => ({ type: 'reject', id, record: one.held()[0]! }));
          if (kind === 'restart') one.restart();
          // Clocks of some jump ahead, and come back.
          if (kind === 'jump') one.nowMs = startMs + (choice - 1) * hourMs;
        }
        settle(all);
        for (const namespace of namespaces) {
          for (const key of [`${namespace}.k0`, `${namespace}.k1`]) {
            const [first, ...others] = all.map((each) => [each.seen(key), each.cell(key).etag]);
            for (const each of others) expect(each).toEqual(first);
          }
        }
        expect(all.map((each) => each.replica.heldBackCount)).toEqual([0, 0, 0]);
      }),
      { seed: 5, numRuns: 200 },
    );
  });
});

test('runs of held records say the same as a list of them, whatever is held and released', () => {
  const sources = new Sources();
  const source = sources.of('00112233445566aa', 1);
  const action = fc.record({ isHeld: fc.boolean(), seq: fc.integer({ min: 1, max: 12 }) });
  fc.assert(
    fc.property(fc.array(action), (actions) => {
      const quarantine = new Quarantine();
      const model = new Set<number>();
      for (const { isHeld, seq } of actions) {
        if (isHeld) {
          quarantine.hold({ namespace: 'n', source, seq, ms: startMs + quarantineAheadMs + seq });
          model.add(seq);
        } else {
          quarantine.release('n', source, seq);
          model.delete(seq);
        }
        const listed = quarantine
          .runs()
          .flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
        expect(listed).toEqual([...model].sort((a, b) => a - b));
        expect(quarantine.count).toBe(model.size);
        expect(quarantine.holdsIn('n')).toBe(model.size > 0);
        expect(quarantine.firstOf('n', source)).toBe(Math.min(...model, Number.POSITIVE_INFINITY));
      }
    }),
    { seed: 3 },
  );
});

test('a folded entry is not claimed to have been seen while a record of one of its sources is held back', () => {
  const sources = new Sources();
  const [earlier, folded, own] = [1, 2, 3].map((epoch) => sources.of(`${epoch === 3 ? 'b' : 'a'}`.repeat(16), epoch));
  const row = { strategy: 'lww', floor: 1, purgedMs: 1, entries: 0, tombstones: 0, bytes: 0, joined: 0 };
  const namespace = new Namespace('plain', { kind: 'lww' }, { row, heads: new Map([[folded!, foldedBase + 5]]) });
  const record = new BatchRecord('plain', own!, 1, { ms: startMs, count: 0 });
  const quarantine = new Quarantine();
  quarantine.hold({ namespace: 'plain', source: earlier!, seq: 2, ms: startMs + hourMs });
  expect(seenBy(namespace, record, quarantine)).toEqual([]);
  quarantine.release('plain', earlier!, 2);
  expect(seenBy(namespace, record, quarantine)).toEqual([{ source: folded, seq: foldedBase + 5, idx: placesMax }]);
});
