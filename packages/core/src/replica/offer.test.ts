import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Crash, InstantReplica, randomFrom } from '../testkit/replica.ts';
import type { Cell } from './cell.ts';
import type { Offered } from './offer.ts';
import { type ParkedWrite, parkedPrefix } from './parked.ts';
import { decodeRecord } from './record-codec.ts';
import { liveDots } from './resolve.ts';
import type { Strategy } from './state.ts';
import type { Write } from './write.ts';

const startMs = 1_700_000_000_000;
const strategies: Readonly<Record<string, Strategy>> = {
  plain: { kind: 'lww' },
  revoked: { kind: 'version-vector', resolver: 'revoke-wins' },
  granted: { kind: 'version-vector', resolver: 'add-wins' },
  counted: { kind: 'counter' },
  chosen: { kind: 'version-vector', resolver: 'siblings' },
  sets: { kind: 'set', resolver: 'add-wins' },
};
/** Those that show one value a key. */
const namespaces = Object.keys(strategies).filter((name) => name !== 'chosen');
const dotsOf = ({ state }: Cell) => liveDots(state!).map(({ source, seq, idx }) => `${source.id}:${seq}:${idx}`);

const open = (i: number, seed: number) =>
  new InstantReplica(
    { origin: `${i}`.padStart(16, 'a'), strategyOf: (name) => strategies[name] ?? { kind: 'lww' } },
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

  /** Something later than all that was written is deleted and forgotten. */
  purgeSomething(): void {
    this.stayed.nowMs += 1_000;
    put(this.stayed, 'plain.other', '1');
    remove(this.stayed, 'plain.other');
    this.stayed.nowMs += 1_000;
    this.stayed.step({ type: 'purge', keys: ['plain.other'] });
  }

  comeBack(): void {
    for (const namespace of Object.keys(strategies)) {
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

  /** Offers what nobody else has, so many records at a time, and tells the others. */
  offer(recordsAtOnce = Number.POSITIVE_INFINITY): void {
    const decode = (bytes: Uint8Array) => decodeRecord(bytes, this.back.replica.sources);
    const counted = this.old.log.slice(0, this.#accepted).filter((bytes) => this.#isOwn(bytes));
    const left = this.unheard().map(decode);
    const purgedMs = Math.max(...namespaces.map((name) => this.stayed.replica.purgedMsOf(name)));
    this.back.told.length = 0;
    while (left.length > 0) {
      const records = left.splice(0, recordsAtOnce);
      const answer = this.back.ask((id) => ({ type: 'offer', id, records, counted: counted.map(decode), purgedMs }));
      if (!answer.ok) throw new Error(answer.failure.message);
    }
    for (const effect of this.back.told) if (effect.type === 'offered') this.parked.push(...effect.verdicts);
    this.stayed.receive(...this.back.log);
  }

  /** What an operator is shown at an instance, in order of keys. */
  parkedAt(at: InstantReplica): ParkedWrite[] {
    const keys = at.keys().filter((key) => key.startsWith(parkedPrefix));
    return keys.flatMap((key) => {
      const json = at.seen(key);
      return json === undefined ? [] : [JSON.parse(json) as ParkedWrite];
    });
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
    expect(member.parked.map(({ verdict }) => verdict)).toEqual(['superseded', 'superseded']);
  });

  test('settle the same with a deletion that was heard, whether or not the others have forgotten it by then', () => {
    for (const [namespace, verdict] of [
      ['revoked', 'superseded'],
      ['granted', 'applied'],
      ['sets', 'applied'],
    ] as const) {
      const member = new Return();
      const key = `${namespace}.k0`;
      member.old.write(writeOf(namespace, 0, 1));
      member.leave();
      member.stayed.write(writeOf(namespace, 4, 1));
      member.old.nowMs += 5_000;
      member.old.write(writeOf(namespace, 0, 1));
      member.comeBack();
      member.stayed.nowMs += 1_000;
      member.stayed.step({ type: 'purge', keys: [key] });
      expect(member.stayed.cell(key).state).toBeUndefined();
      expect(member.back.cell(key).state).toBeDefined();
      member.offer();
      expect(member.parked.map((each) => each.verdict)).toEqual([verdict]);
      const [stayed, back] = [member.stayed, member.back].map((at) => at.cell(key));
      expect(member.stayed.seen(key)).toBe(member.back.seen(key));
      expect(member.stayed.seen(key) !== undefined).toBe(verdict === 'applied');
      if (verdict === 'applied') expect(dotsOf(stayed!)).toEqual(dotsOf(back!));
    }
  });

  test('that delete what is deleted already stand for that deletion too: at all, forgotten or not', () => {
    for (const namespace of ['revoked', 'granted', 'sets']) {
      const member = new Return();
      const key = `${namespace}.k0`;
      member.old.write(writeOf(namespace, 0, 1));
      member.leave();
      member.stayed.write(writeOf(namespace, 4, 1));
      member.old.write(writeOf(namespace, 4, 1));
      member.comeBack();
      member.stayed.nowMs += 1_000;
      member.stayed.step({ type: 'purge', keys: [key] });
      expect(member.stayed.cell(key).state).toBeUndefined();
      member.offer();
      expect(dotsOf(member.stayed.cell(key))).toHaveLength(1);
      expect(dotsOf(member.back.cell(key))).toEqual(dotsOf(member.stayed.cell(key)));
    }
  });

  test('leave nothing of a forgotten deletion at one that hears of it only after them', () => {
    for (const namespace of ['granted', 'sets']) {
      const member = new Return();
      const key = `${namespace}.k0`;
      member.leave();
      member.stayed.write(writeOf(namespace, 4, 1));
      member.stayed.nowMs += 1_000;
      member.stayed.step({ type: 'purge', keys: [key] });
      expect(member.stayed.cell(key).state).toBeUndefined();
      member.old.nowMs += 5_000;
      member.old.write(writeOf(namespace, 0, 1));
      member.comeBack();
      member.offer();
      expect(member.parked.map(({ verdict }) => verdict)).toEqual(['applied']);
      const joiner = open(2, 14);
      joiner.receive(...member.back.log);
      joiner.receive(...member.stayed.log);
      expect(joiner.seen(key)).toBe(member.stayed.seen(key));
      expect(dotsOf(joiner.cell(key))).toEqual(dotsOf(member.stayed.cell(key)));
    }
  });

  test('are parked where the application is to settle a conflict with a deletion that others may forget', () => {
    const member = new Return();
    const key = 'chosen.k0';
    put(member.old, key, '1');
    member.leave();
    remove(member.stayed, key);
    member.old.nowMs += 5_000;
    put(member.old, key, '2');
    member.comeBack();
    member.offer();
    expect(member.parked.map(({ verdict }) => verdict)).toEqual(['parked']);
    expect(member.parkedAt(member.stayed)).toMatchObject([{ key, json: '2' }]);
  });

  test('lose where a value that they had not seen has expired since, and would have ended them', () => {
    const member = new Return();
    const key = 'revoked.k0';
    member.leave();
    member.stayed.write({ op: 'put', namespace: 'revoked', key, json: '1', ttlMs: 1_000 });
    put(member.old, key, '2');
    member.stayed.nowMs += 5_000;
    member.back.nowMs += 5_000;
    member.comeBack();
    member.stayed.step({ type: 'purge', keys: [key] });
    member.offer();
    for (const each of [member.back, member.stayed]) expect(each.seen(key)).toBeUndefined();
  });

  test('beside a value that will expire end the same where that has expired and is forgotten already', () => {
    for (const { namespace, isLater, seen, verdict } of [
      { namespace: 'revoked', isLater: true, seen: '2', verdict: 'applied' },
      { namespace: 'revoked', isLater: false, seen: '1', verdict: 'superseded' },
      { namespace: 'granted', isLater: true, seen: '2', verdict: 'applied' },
      { namespace: 'granted', isLater: false, seen: '1', verdict: 'superseded' },
      { namespace: 'chosen', isLater: true, seen: '1', verdict: 'parked' },
    ] as const) {
      const member = new Return();
      const key = `${namespace}.k0`;
      member.leave();
      member.old.nowMs += isLater ? 100 : 0;
      member.stayed.nowMs += 50;
      member.stayed.write({ op: 'put', namespace, key, json: '1', ttlMs: 1_000 });
      put(member.old, key, '2');
      member.comeBack();
      // The clock of the one that stayed is ahead.
      member.stayed.nowMs += 5_000;
      member.stayed.step({ type: 'purge', keys: [key] });
      expect(member.stayed.cell(key).state).toBeUndefined();
      member.offer();
      expect(member.parked.map((each) => each.verdict)).toEqual([verdict]);
      expect(member.back.seen(key)).toBe(seen);
      member.back.nowMs = member.stayed.nowMs;
      expect(member.back.seen(key)).toBe(member.stayed.seen(key));
    }
  });

  test('that end no later than what they had not seen leave nothing of that beside what is written where it is forgotten', () => {
    for (const { isOver, seen, verdict } of [
      { isOver: true, seen: undefined, verdict: 'applied' },
      { isOver: false, seen: '1', verdict: 'parked' },
    ] as const) {
      const member = new Return();
      const key = 'chosen.k0';
      member.leave();
      member.stayed.write({ op: 'put', namespace: 'chosen', key, json: '1', ttlMs: 1_000 });
      member.old.write({ op: 'put', namespace: 'chosen', key, json: '2', ttlMs: isOver ? 2_000 : 500 });
      member.back.nowMs += isOver ? 5_000 : 0;
      member.comeBack();
      member.stayed.nowMs += 5_000;
      member.stayed.step({ type: 'purge', keys: [key] });
      member.offer();
      expect(member.parked.map((each) => each.verdict)).toEqual([verdict]);
      expect(member.back.seen(key)).toBe(seen);
      put(member.stayed, key, '3');
      member.back.receive(...member.stayed.log);
      for (const each of [member.back, member.stayed]) expect(each.seen(key)).toBe('3');
    }
  });

  test('that had expired by then leave no deletion beside what is written where that is forgotten', () => {
    const member = new Return();
    const other = open(2, 14);
    const key = 'revoked.k0';
    member.leave();
    put(member.stayed, key, '1');
    remove(member.stayed, key);
    other.receive(...member.stayed.log);
    member.old.write({ op: 'put', namespace: 'revoked', key, json: '2', ttlMs: 1_000 });
    member.back.nowMs += 5_000;
    member.comeBack();
    other.nowMs += 5_000;
    other.step({ type: 'purge', keys: [key] });
    member.offer();
    other.receive(...member.back.log);
    put(other, key, '3');
    for (const each of [member.back, member.stayed]) each.receive(...other.log);
    for (const each of [member.back, member.stayed, other]) expect(each.seen(key)).toBe('3');
  });

  test('that delete what will expire stand for it too, where that has expired and is forgotten already', () => {
    const member = new Return();
    const other = open(2, 14);
    const key = 'revoked.k0';
    member.leave();
    member.stayed.write({ op: 'put', namespace: 'revoked', key, json: '1', ttlMs: 1_000 });
    other.receive(...member.stayed.log);
    remove(member.old, key);
    member.comeBack();
    other.nowMs += 5_000;
    other.step({ type: 'purge', keys: [key] });
    expect(other.cell(key).state).toBeUndefined();
    member.offer();
    other.receive(...member.back.log);
    put(other, key, '2');
    member.back.receive(...other.log);
    member.back.nowMs = other.nowMs;
    for (const each of [member.back, other]) expect(each.seen(key)).toBe('2');
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
      for (const each of [member.back, member.stayed]) {
        expect(each.seen(key)).toBeUndefined();
        expect(member.parkedAt(each)).toMatchObject([{ key, writtenMs: startMs }]);
      }
    }
  });

  test('are parked behind a deletion of their own, which tells nothing of what others deleted', () => {
    for (const namespace of ['plain', 'sets']) {
      const member = new Return();
      const key = `${namespace}.k0`;
      member.old.write(writeOf(namespace, 0, 1));
      member.leave();
      member.old.write(writeOf(namespace, 4, 1));
      member.old.write(writeOf(namespace, 0, 1));
      member.stayed.nowMs += 1_000;
      member.stayed.write({ op: 'delete', namespace, key });
      member.stayed.nowMs += 1_000;
      member.stayed.step({ type: 'purge', keys: [key] });
      member.comeBack();
      member.offer();
      expect(member.parked.map(({ verdict }) => verdict)).toEqual(['applied', 'parked']);
      for (const each of [member.back, member.stayed]) expect(each.seen(key) ?? '[]').toBe('[]');
    }
  });

  test('and that they themselves deleted later are not parked: an operator could undo an acknowledged deletion', () => {
    const member = new Return();
    member.leave();
    for (const namespace of ['plain', 'revoked', 'granted', 'sets']) {
      member.old.write(writeOf(namespace, 0, 1));
      member.old.write(writeOf(namespace, 4, 1));
      member.old.write(writeOf(namespace, 1, 1));
    }
    member.old.write({ op: 'add', namespace: 'counted', key: 'counted.k0', amount: 3 });
    member.old.write({ op: 'delete', namespace: 'counted', key: 'counted.k0' });
    member.purgeSomething();
    member.comeBack();
    member.offer();
    const parked = member.parkedAt(member.stayed).map(({ key }) => key);
    expect(parked).toEqual(['granted.k1', 'plain.k1', 'revoked.k1', 'sets.k1']);
    for (const namespace of namespaces) expect(member.stayed.seen(`${namespace}.k0`) ?? '[]').toBe('[]');
  });

  test('are parked behind an older deletion that was heard only after a later one was forgotten', () => {
    const member = new Return();
    // Another that comes back, and offers a deletion under its old time.
    const another = open(2, 16);
    put(another, 'plain.k0', '1');
    member.stayed.receive(...another.log);
    member.leave();
    remove(another, 'plain.k0');
    member.old.nowMs += 1_000;
    put(member.old, 'plain.k0', '2');
    member.stayed.nowMs += 2_000;
    remove(member.stayed, 'plain.k0');
    member.stayed.nowMs += 1_000;
    member.stayed.step({ type: 'purge', keys: ['plain.k0'] });
    expect(member.stayed.cell('plain.k0').state).toBeUndefined();
    member.stayed.receive(...another.log);
    expect(member.stayed.cell('plain.k0').state).toBeDefined();
    member.comeBack();
    member.offer();
    expect(member.parked.map(({ verdict }) => verdict)).toEqual(['parked']);
    expect(member.stayed.seen('plain.k0')).toBeUndefined();
  });

  test('and that were made after what was purged are parked where a revocation they had not seen wins all the same', () => {
    const member = new Return();
    put(member.old, 'revoked.k0', '1');
    member.leave();
    remove(member.stayed, 'revoked.k0');
    member.stayed.nowMs += 1_000;
    member.stayed.step({ type: 'purge', keys: ['revoked.k0'] });
    expect(member.stayed.cell('revoked.k0').state).toBeUndefined();
    member.old.nowMs += 5_000;
    put(member.old, 'revoked.k0', '2');
    member.comeBack();
    member.offer();
    expect(member.parked.map(({ verdict }) => verdict)).toEqual(['parked']);
    expect(member.stayed.seen('revoked.k0')).toBeUndefined();
  });

  test('are parked as they were made: values with their expiry, bytes, members', () => {
    const member = new Return();
    member.leave();
    const plain = { op: 'put', namespace: 'plain' } as const;
    member.old.write({ ...plain, key: 'plain.a', json: '{"x":"\\""}', ttlMs: 60_000 });
    member.old.write({ ...plain, key: 'plain.b', bytes: Uint8Array.of(0, 255, 7) });
    member.old.write({ op: 'set-add', namespace: 'sets', key: 'sets.c', members: ['"m"', '{"n":1}'] });
    member.purgeSomething();
    member.comeBack();
    member.offer();
    const id = (name: string) => `${name}:${member.old.replica.source.id}:1:0`;
    const writtenMs = startMs;
    expect(member.parkedAt(member.stayed)).toEqual([
      { id: id('plain'), key: 'plain.a', op: 'put', writtenMs, expiresMs: startMs + 60_000, json: '{"x":"\\""}' },
      {
        id: `plain:${member.old.replica.source.id}:2:0`,
        key: 'plain.b',
        op: 'put',
        writtenMs,
        expiresMs: 0,
        base64: 'AP8H',
      },
      { id: id('sets'), key: 'sets.c', op: 'set-add', writtenMs, expiresMs: 0, members: ['"m"', '{"n":1}'] },
    ]);
  });

  test('of counters are parked as what each added, without what is counted already', () => {
    const member = new Return();
    const add = (amount: number) =>
      member.old.write({ op: 'add', namespace: 'counted', key: 'counted.k0', amount, windowMs: 600_000 });
    add(10);
    add(-2);
    member.leave();
    for (const amount of [3, -4, 5]) add(amount);
    // The window ends, and the others forget the counter.
    member.stayed.nowMs += 1_200_000;
    member.stayed.step({ type: 'purge', keys: ['counted.k0'] });
    expect(member.stayed.cell('counted.k0').state).toBeUndefined();
    member.comeBack();
    member.offer();
    expect(member.parkedAt(member.stayed).map(({ amount, windowMs }) => [amount, windowMs])).toEqual([
      [3, 600_000],
      [-4, 600_000],
      [5, 600_000],
    ]);
  });

  test('are not offered, nor those behind them, while their namespace has another strategy; nothing is lost', () => {
    const member = new Return();
    member.leave();
    put(member.old, 'plain.k0', '1');
    const records = () => member.unheard().map((bytes) => decodeRecord(bytes, member.back.replica.sources));
    const offered = (at: InstantReplica) =>
      at.ask((id) => ({ type: 'offer', id, records: records(), counted: [], purgedMs: 0 }));
    const misfit = new InstantReplica(
      { origin: member.back.replica.origin, strategyOf: () => ({ kind: 'counter' }) },
      randomFrom(13),
      startMs,
    );
    expect(offered(misfit)).toMatchObject({ ok: false, failure: { reason: 'unavailable' } });
    expect(misfit.told).toEqual([]);
    expect(misfit.rows('metadata')).toEqual([]);
    expect(offered(member.back)).toEqual({ ok: true, results: [] });
    expect(member.back.seen('plain.k0')).toBe('1');
  });

  test('an operator’s decision about a parked write stands, also where everything is offered anew', () => {
    const member = new Return();
    member.leave();
    put(member.old, 'plain.k0', '1');
    member.purgeSomething();
    member.comeBack();
    member.offer();
    const [write] = member.parkedAt(member.stayed);
    const discard = { op: 'delete', namespace: '_sys', key: parkedPrefix + write!.id } as const;
    member.stayed.write(discard);
    const told = member.stayed.log.length;
    // Another empty store: how far the offering had come is forgotten.
    member.back = open(1, 15);
    member.comeBack();
    member.back.receive(...member.stayed.log.slice(told - 1));
    member.offer();
    expect(member.parkedAt(member.back)).toEqual([]);
  });

  test('keep their order where offering was interrupted between them: what was removed stays removed', () => {
    const member = new Return();
    member.leave();
    const set = { namespace: 'sets', key: 'sets.k0' };
    member.old.write({ op: 'set-add', ...set, members: ['"m"', '"n"'] });
    member.old.write({ op: 'set-remove', ...set, members: ['"m"'] });
    member.old.write({ op: 'delete', namespace: 'revoked', key: 'revoked.k0' });
    put(member.old, 'revoked.k0', '"after"');
    member.comeBack();
    for (let batches = 1; batches < 4; batches++) {
      member.back.batchesUntilCrash = 1;
      expect(() => member.offer(1)).toThrow(Crash);
      member.back.restart();
    }
    member.offer(1);
    for (const each of [member.back, member.stayed]) {
      expect(each.seen('sets.k0')).toBe('["n"]');
      expect(each.seen('revoked.k0')).toBe('"after"');
    }
  });

  test('are applied or parked once, wherever between two batches the returning member crashes', () => {
    const action = fc.record({
      who: fc.constantFrom('stayed', 'old', 'purge'),
      namespace: fc.constantFrom(...namespaces),
      choice: fc.nat(5),
      value: fc.nat(3),
      stepMs: fc.nat(2_000),
    });
    let crashes = 0;
    let parked = 0;
    const scenario = (before: readonly Action[], after: readonly Action[]) => {
      const member = new Return();
      for (const each of before) act(member, each);
      member.leave();
      for (const each of after) act(member, each);
      member.comeBack();
      return member;
    };
    type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;
    const act = (member: Return, { who, namespace, choice, value, stepMs }: Action) => {
      for (const each of [member.stayed, member.old]) each.nowMs += stepMs;
      const write = writeOf(namespace, choice, value);
      if (who === 'old') member.old.write(write);
      else member.stayed.write(write);
      if (who !== 'purge') return;
      member.stayed.write({ op: 'delete', namespace, key: write.key });
      member.stayed.nowMs++;
      member.stayed.step({ type: 'purge', keys: [write.key] });
    };
    const shown = (member: Return) =>
      [member.back, member.stayed].map((at) => ({
        values: namespaces.flatMap((name) => [at.seen(`${name}.k0`), at.seen(`${name}.k1`)]),
        parked: member.parkedAt(at),
      }));
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 8 }),
        fc.array(action, { minLength: 4, maxLength: 16 }),
        fc.integer({ min: 1, max: 3 }),
        (before, after, recordsAtOnce) => {
          const undisturbed = scenario(before, after);
          undisturbed.offer(recordsAtOnce);
          const expected = shown(undisturbed);
          parked += expected[0]!.parked.length;
          for (let batches = 0; ; batches++) {
            const member = scenario(before, after);
            member.back.batchesUntilCrash = batches;
            try {
              member.offer(recordsAtOnce);
              break;
            } catch (error) {
              if (!(error instanceof Crash)) throw error;
            }
            crashes++;
            member.back.restart();
            member.offer(recordsAtOnce);
            expect(shown(member)).toEqual(expected);
          }
        },
      ),
      { seed: 31, numRuns: 30 },
    );
    expect(crashes).toBeGreaterThan(100);
    expect(parked).toBeGreaterThan(20);
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

  test('of counters are counted once, also where the others had more than the returning member was told', () => {
    const member = new Return();
    member.leave();
    const add = (amount: number) => member.old.write({ op: 'add', namespace: 'counted', key: 'counted.k0', amount });
    add(8);
    add(2);
    member.stayed.receive(...member.old.log);
    add(2);
    member.comeBack();
    member.offer();
    for (const each of [member.back, member.stayed]) expect(each.seen('counted.k0')).toBe('12');
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
