import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InstantReplica } from '../testkit/replica.ts';
import type { Offered } from './offer.ts';
import { decodeRecord } from './record-codec.ts';
import type { Strategy } from './state.ts';
import type { Write } from './write.ts';

const startMs = 1_700_000_000_000;
const strategies: Readonly<Record<string, Strategy>> = {
  plain: { kind: 'lww' },
  revoked: { kind: 'version-vector', resolver: 'revoke-wins' },
  counted: { kind: 'counter' },
  sets: { kind: 'set', resolver: 'add-wins' },
};
const namespaces = Object.keys(strategies);

/** A small linear congruential generator. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

const open = (i: number, seed: number) =>
  new InstantReplica(
    { origin: `${i}`.padStart(16, 'a'), strategyOf: (name) => strategies[name]! },
    randomFrom(seed),
    startMs,
  );

/** A member that stayed, and one that went away and comes back with an empty store; what it had is in `old`. */
class Return {
  readonly stayed = open(0, 11);
  readonly old = open(1, 12);
  back = open(1, 13);
  readonly parked: Offered[] = [];
  #accepted = 0;

  /** The member that will be away has been heard until now. */
  leave(): void {
    this.stayed.receive(...this.old.log);
    this.old.receive(...this.stayed.log);
    this.#accepted = this.old.log.length;
  }

  /** What nobody but the returning member has, as its old log tells. */
  unheard(): readonly Uint8Array[] {
    return this.old.log.slice(this.#accepted).filter((bytes) => this.#isOwn(bytes));
  }

  #isOwn(bytes: Uint8Array): boolean {
    return decodeRecord(bytes, this.old.replica.sources).source === this.old.replica.source;
  }

  comeBack(): void {
    for (const namespace of namespaces) {
      const { sources } = this.back.replica;
      const entries = [0, 1].flatMap((i) => {
        const { state } = this.stayed.cell(`${namespace}.k${i}`);
        return state === undefined ? [] : [{ key: `${namespace}.k${i}`, state: translated(state, sources) }];
      });
      this.back.ask((id) => ({ type: 'states', id, namespace, entries }));
      const heads = [...this.stayed.replica.headsOf(namespace)].map(([source, seq]) => ({
        source: sources.parse(source.id)!,
        seq,
      }));
      const floor = this.stayed.replica.floorOf(namespace);
      this.back.ask((id) => ({ type: 'advance', id, namespace, heads, floor }));
    }
  }

  offer(): void {
    const records = this.unheard().map((bytes) => decodeRecord(bytes, this.back.replica.sources));
    const purgedMs = Math.max(...namespaces.map((name) => this.stayed.replica.purgedMsOf(name)));
    this.back.told.length = 0;
    this.back.step({ type: 'offer', records, purgedMs });
    for (const effect of this.back.told) if (effect.type === 'offered') this.parked.push(...effect.verdicts);
    this.stayed.receive(...this.back.log);
  }
}

/** Sources are one object each by replica. */
function translated<T>(value: T, sources: InstantReplica['replica']['sources']): T {
  if (Array.isArray(value)) return value.map((each) => translated(each, sources)) as T;
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if ('tagWords' in value) return sources.parse((value as unknown as { id: string }).id) as T;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, translated(each, sources)])) as T;
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
      return isRemoval ? { op: 'delete', ...target } : { op: 'put', ...target, json: String(value) };
  }
}

const put = (at: InstantReplica, key: string, json: string) =>
  at.write({ op: 'put', namespace: key.split('.')[0]!, key, json });

const remove = (at: InstantReplica, key: string) => at.write({ op: 'delete', namespace: key.split('.')[0]!, key });

describe('writes that a returning member alone had', () => {
  test('are written again for everybody, with their old time', () => {
    const member = new Return();
    put(member.old, 'plain.k0', '"before"');
    member.leave();
    put(member.old, 'plain.k1', '"alone"');
    member.old.nowMs += 5_000;
    member.stayed.nowMs += 9_000;
    member.comeBack();
    member.offer();
    expect(member.stayed.seen('plain.k1')).toBe('"alone"');
    expect(member.stayed.cell('plain.k1').view?.updatedMs).toBe(startMs);
    expect(member.stayed.seen('plain.k0')).toBe('"before"');
  });

  test('lose against what was written since, and against deletions', () => {
    const member = new Return();
    put(member.old, 'plain.k0', '1');
    put(member.old, 'revoked.k0', '1');
    member.leave();
    put(member.old, 'plain.k0', '"late"');
    put(member.old, 'revoked.k0', '"late"');
    member.stayed.nowMs += 1_000;
    put(member.stayed, 'plain.k0', '"newer"');
    remove(member.stayed, 'revoked.k0');
    member.comeBack();
    member.offer();
    expect(member.stayed.seen('plain.k0')).toBe('"newer"');
    expect(member.stayed.seen('revoked.k0')).toBeUndefined();
    expect(member.parked.map(({ verdict }) => verdict)).toEqual(['superseded', 'applied']);
  });

  test('are parked where the key may have been deleted and purged meanwhile; revocations are not', () => {
    for (const namespace of ['plain', 'revoked', 'sets']) {
      const member = new Return();
      member.old.write(writeOf(namespace, 0, 1));
      member.leave();
      member.old.write(writeOf(namespace, 0, 1));
      member.old.write(writeOf(namespace, 5, 2));
      member.stayed.nowMs += 1_000;
      const key = `${namespace}.k0`;
      member.stayed.write({ op: 'delete', namespace, key });
      member.stayed.nowMs += 1_000;
      member.stayed.step({ type: 'purge', keys: [key] });
      expect(member.stayed.cell(key).state).toBeUndefined();
      member.comeBack();
      member.offer();
      expect(member.parked.map(({ verdict }) => verdict)).toEqual(['parked', 'applied']);
      expect(member.parked[0]!.parked).toMatchObject({ key });
      for (const each of [member.back, member.stayed]) expect(each.seen(key)).toBeUndefined();
    }
  });

  test('of counters are what was added beyond what is counted already, and counted once', () => {
    const member = new Return();
    member.old.write({ op: 'add', namespace: 'counted', key: 'counted.k0', amount: 10 });
    member.leave();
    for (const amount of [3, 4]) member.old.write({ op: 'add', namespace: 'counted', key: 'counted.k0', amount });
    member.stayed.write({ op: 'add', namespace: 'counted', key: 'counted.k0', amount: 100 });
    member.comeBack();
    member.offer();
    expect(member.stayed.seen('counted.k0')).toBe('117');
    member.back.restart();
    member.offer();
    for (const each of [member.back, member.stayed]) expect(each.seen('counted.k0')).toBe('117');
  });

  test('end the same for everybody, and as if they had been heard in time unless superseded or parked', () => {
    const action = fc.record({
      who: fc.constantFrom('stayed', 'old', 'both'),
      namespace: fc.constantFrom(...namespaces),
      choice: fc.nat(5),
      value: fc.nat(3),
      stepMs: fc.nat(2_000),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 15 }), fc.array(action, { maxLength: 15 }), (before, after) => {
        const member = new Return();
        // What the one that stayed would hold had it heard everything in time.
        const heard = open(2, 14);
        const act = ({ who, namespace, choice, value, stepMs }: (typeof before)[number]) => {
          for (const each of [member.stayed, member.old, heard]) each.nowMs += stepMs;
          if (who !== 'old') member.stayed.write(writeOf(namespace, choice, value));
          if (who !== 'stayed') member.old.write(writeOf(namespace, (choice + 1) % 6, value));
        };
        for (const each of before) act(each);
        member.leave();
        for (const each of after) act(each);
        heard.receive(...member.stayed.log, ...member.old.log);
        heard.receive(...member.old.log);
        member.comeBack();
        member.offer();
        member.back.restart();
        member.offer();
        for (const namespace of namespaces)
          for (const key of [`${namespace}.k0`, `${namespace}.k1`]) {
            expect(member.stayed.seen(key)).toBe(heard.seen(key));
            expect(member.back.seen(key)).toBe(heard.seen(key));
          }
      }),
      { seed: 9, numRuns: 300 },
    );
  });
});
