import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InstantReplica, randomFrom } from '../testkit/replica.ts';
import { decodeCell } from './cell.ts';
import { recordsIn } from './fold.ts';
import { decodeRecord } from './record-codec.ts';
import type { Strategy } from './state.ts';
import type { Write } from './write.ts';

const startMs = 1_700_000_000_000;
const strategies: Readonly<Record<string, Strategy>> = {
  plain: { kind: 'lww' },
  revoked: { kind: 'version-vector', resolver: 'revoke-wins' },
  notes: { kind: 'version-vector', resolver: 'siblings' },
  counted: { kind: 'counter' },
  sets: { kind: 'set', resolver: 'add-wins' },
};
const namespaces = Object.keys(strategies);
const keysOf = (namespace: string) => [0, 1, 2].map((i) => `${namespace}.k${i}`);

const open = (i: number) =>
  new InstantReplica(
    { origin: `${i}`.padStart(16, 'a'), strategyOf: (name) => strategies[name]! },
    randomFrom(i + 21),
    startMs,
  );

const put = (at: InstantReplica, key: string, json: string) =>
  at.write({ op: 'put', namespace: key.split('.')[0]!, key, json });

const remove = (at: InstantReplica, key: string) => at.write({ op: 'delete', namespace: key.split('.')[0]!, key });

/** Two members that hold everything, one of which forgets what it can; and one that joins them. */
class Joining {
  readonly giver = open(0);
  readonly other = open(1);
  readonly joiner = open(2);

  exchange(): void {
    this.giver.receive(...this.other.log);
    this.other.receive(...this.giver.log);
  }

  /** Every member holds all there is, so that deletions are forgotten. */
  forget(): void {
    this.exchange();
    this.giver.nowMs += 1_000;
    this.giver.step({ type: 'purge', keys: namespaces.flatMap(keysOf) });
  }

  /** The first records that the other member wrote itself, as its log gives them. */
  logOfOther(count: number): Uint8Array[] {
    const { sources, source } = this.other.replica;
    return this.other.log.filter((bytes) => decodeRecord(bytes, sources).source === source).slice(0, count);
  }

  /** The joiner fetches everything as states, every key being told of. */
  load(): void {
    const { joiner, giver } = this;
    const { sources } = joiner.replica;
    for (const namespace of namespaces) {
      const covered = [...giver.replica.headsOf(namespace)].map(([{ id }, seq]) => ({
        source: sources.parse(id)!,
        seq,
      }));
      const rows = new Map(giver.rows('live').map(([key, row]) => [Buffer.from(key).toString(), row]));
      const entries = keysOf(namespace).map((key) => {
        const row = rows.get(key);
        return { key, state: row && decodeCell(row, sources, strategies[namespace]!).state };
      });
      joiner.ask((id) => ({ type: 'states', id, namespace, entries, covered }));
      const floor = giver.replica.floorOf(namespace);
      joiner.ask((id) => ({ type: 'advance', id, namespace, heads: covered, floor }));
    }
  }
}

function writeOf(namespace: string, choice: number, value: number): Write {
  const target = { namespace, key: `${namespace}.k${choice % 2}` };
  const isRemoval = choice > 3;
  switch (strategies[namespace]!.kind) {
    case 'counter':
      return isRemoval ? { op: 'delete', ...target } : { op: 'add', ...target, amount: value + 1 };
    case 'set':
      return { op: isRemoval ? 'set-remove' : 'set-add', ...target, members: [`"m${value}"`] };
    default:
      return isRemoval
        ? { op: 'delete', ...target }
        : { op: 'put', ...target, json: String(value), ifMatch: undefined };
  }
}

describe('writes that the giver of states has forgotten with what overwrote them', () => {
  test('do not come back through a log that still has them: a deleted fact', () => {
    const joining = new Joining();
    put(joining.other, 'plain.k0', '"revoked"');
    joining.exchange();
    remove(joining.giver, 'plain.k0');
    joining.forget();
    joining.joiner.receive(...joining.logOfOther(1));
    expect(joining.joiner.seen('plain.k0')).toBe('"revoked"');
    joining.load();
    expect(joining.joiner.seen('plain.k0')).toBeUndefined();
    expect(joining.joiner.rows('live')).toEqual([]);
    expect(joining.joiner.replica.floorOf('plain')).toBe(joining.giver.replica.floorOf('plain'));
  });

  test('do not come back through a log that still has them: one member of a set that stays', () => {
    const joining = new Joining();
    joining.other.write({ op: 'set-add', namespace: 'sets', key: 'sets.k0', members: ['"gone"'] });
    joining.exchange();
    joining.giver.write({ op: 'set-add', namespace: 'sets', key: 'sets.k0', members: ['"here"'] });
    joining.giver.write({ op: 'set-remove', namespace: 'sets', key: 'sets.k0', members: ['"gone"'] });
    joining.forget();
    joining.joiner.receive(...joining.logOfOther(1));
    joining.load();
    expect(joining.joiner.seen('sets.k0')).toBe('["here"]');
  });

  test('go alone: what the giver has not applied yet stays', () => {
    const joining = new Joining();
    put(joining.other, 'revoked.k0', '1');
    joining.exchange();
    remove(joining.giver, 'revoked.k0');
    joining.forget();
    put(joining.other, 'revoked.k1', '2');
    put(joining.joiner, 'revoked.k2', '3');
    joining.joiner.receive(...joining.logOfOther(2));
    joining.load();
    expect(keysOf('revoked').map((key) => joining.joiner.seen(key))).toEqual([undefined, '2', '3']);
  });

  test('leave a joiner with what one holds who heard everything, whatever it had of the logs', () => {
    const write = fc.record({
      isOther: fc.boolean(),
      namespace: fc.constantFrom(...namespaces),
      choice: fc.nat(5),
      value: fc.nat(2),
      isExchanged: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(write, { minLength: 1, maxLength: 25 }), fc.nat(12), (writes, count) => {
        const joining = new Joining();
        for (const { isOther, namespace, choice, value, isExchanged } of writes) {
          (isOther ? joining.other : joining.giver).write(writeOf(namespace, choice, value));
          if (isExchanged) joining.exchange();
        }
        const witness = open(3);
        joining.exchange();
        witness.receive(...joining.other.log);
        joining.forget();
        joining.joiner.receive(...joining.logOfOther(count));
        put(joining.joiner, 'plain.k2', '"own"');
        joining.load();
        witness.receive(...joining.joiner.log.slice(-1));
        for (const namespace of namespaces) {
          for (const key of keysOf(namespace)) {
            const [seen, expected] = [joining.joiner, witness].map((at) => at.cell(key).seenAt(startMs + 2_000));
            expect(seen?.json, key).toBe(expected?.json);
            expect(
              seen?.siblings.map(({ json }) => json),
              key,
            ).toEqual(expected?.siblings.map(({ json }) => json));
          }
          const records = (at: InstantReplica) =>
            [...at.replica.headsOf(namespace).values()].reduce((sum, seq) => sum + recordsIn(seq), 0);
          expect(records(joining.joiner)).toBe(records(witness));
        }
      }),
      { numRuns: 100, seed: 41 },
    );
  });
});
