import { describe, expect, test } from 'vitest';
import { sipHash128 } from '../../bytes/siphash.ts';
import { TestInstance } from '../../testkit/digest-fixture.ts';
import { InstantReplica, randomFrom } from '../../testkit/replica.ts';
import { Cell } from '../cell.ts';
import { Sources } from '../dot.ts';
import { liveKey } from '../layout.ts';
import { decodeRecord } from '../record-codec.ts';
import { Items } from './items.ts';
import { Repairs } from './repair.ts';

const key = 'plain.k1';
const namespace = 'plain';
const items = new Items(sipHash128(new Uint8Array(16)));

describe('what a peer shows and is absent here', () => {
  const hourMs = 3_600_000;
  const setUp = () => {
    let nowMs = 1_700_000_000_000;
    const instance = new TestInstance('00000000000000a1', new Sources(), () => nowMs);
    instance.submit({ op: 'put', namespace, key, json: '1' });
    instance.commitAll();
    const shown = new Map([[key, instance.cells(namespace).get(key)!.state!]]);
    const repairs = new Repairs(instance.replica, instance.digests.items);
    const lost = (question: ReturnType<Repairs['open']>) => {
      const ours = new Map([[key, instance.cells(namespace).get(key) ?? new Cell(undefined, 0, { kind: 'lww' })]]);
      const rules = { heads: repairs.toldOf(namespace), cuts: instance.cuts(), question };
      return repairs.lost(namespace, shown, ours, rules).map((entry) => entry.key);
    };
    const deleteAndPurge = () => {
      instance.submit({ op: 'delete', namespace, key });
      instance.commitAll();
      repairs.changed([key], []);
      nowMs += 2 * hourMs;
      instance.purge();
      repairs.changed([key], []);
    };
    return { repairs, lost, deleteAndPurge, rows: () => instance.disk.rows('live').length };
  };

  test('is not lost where it was deleted and purged while the answer was on its way', () => {
    const { repairs, lost, deleteAndPurge, rows } = setUp();
    const question = repairs.open();
    deleteAndPurge();
    expect(rows()).toBe(0);
    expect(lost(question)).toEqual([]);
  });

  test('is lost where nothing changed since the question was asked', () => {
    const { repairs, lost, deleteAndPurge } = setUp();
    deleteAndPurge();
    expect(lost(repairs.open())).toEqual([key]);
  });
});

describe('a damaged row', () => {
  const open = (origin: string, seed: number) =>
    new InstantReplica({ origin, strategyOf: () => ({ kind: 'lww' }) }, randomFrom(seed), 1_700_000_000_000);
  /** An instance whose row is damaged, and one that has forgotten what was deleted in it. */
  const setUp = () => {
    const other = open('00000000000000a1', 1);
    other.write({ op: 'put', namespace, key, json: '"earlier"' });
    const damaged = open('00000000000000a2', 2);
    damaged.nowMs += 1_000;
    damaged.write({ op: 'delete', namespace, key });
    other.receive(...damaged.log);
    other.nowMs += 5_000;
    other.step({ type: 'purge', keys: [key] });
    expect(other.rows('live')).toEqual([]);
    damaged.rows('live')[0]![1].fill(0xff);
    damaged.restart();
    const repairs = new Repairs(damaged.replica, items);
    repairs.met(namespace, key);
    const heads = () =>
      [...other.replica.headsOf(namespace)].map(([{ id }, seq]) => ({
        source: damaged.replica.sources.parse(id)!,
        seq,
      }));
    return { other, damaged, repairs, heads };
  };

  test('is not mended by the absence at one that has applied what is still to come here', () => {
    const { other, damaged, repairs, heads } = setUp();
    const mended = () => repairs.mending(namespace, [key], { heads: heads(), rows: [] });
    expect(mended()).toEqual([]);
    damaged.receive(...other.log);
    expect(mended()).toEqual([{ key, state: undefined }]);
  });

  test('is written over as by one that has seen what is forgotten, once a peer that forgot it has mended it', () => {
    const siblings = (origin: string, seed: number) =>
      new InstantReplica(
        { origin, strategyOf: () => ({ kind: 'version-vector', resolver: 'siblings' }) },
        randomFrom(seed),
        1_700_000_000_000,
      );
    const [forgetful, damaged, remembering] = [1, 2, 3].map((i) => siblings(`00000000000000a${i}`, i)) as [
      InstantReplica,
      InstantReplica,
      InstantReplica,
    ];
    forgetful.write({ op: 'put', namespace, key, json: '1' }, { op: 'delete', namespace, key });
    for (const other of [damaged, remembering]) other.receive(...forgetful.log);
    forgetful.nowMs += 5_000;
    forgetful.step({ type: 'purge', keys: [key] });
    expect(forgetful.rows('live')).toEqual([]);
    damaged.rows('live')[0]![1].fill(0xff);
    damaged.restart();
    const floor = forgetful.replica.floorOf(namespace);
    const entries = [{ key, state: undefined }];
    damaged.ask((id) => ({ type: 'states', id, namespace, entries, rewrite: true, floor }));
    damaged.nowMs += 5_000;
    damaged.write({ op: 'put', namespace, key, json: '2' });
    remembering.receive(...damaged.log.slice(-1));
    expect(remembering.cell(key).view).toMatchObject({ kind: 'value', json: '2' });
  });

  test('is refused, never absent, until what mends it is stored, and where that fails', () => {
    for (const isStored of [true, false]) {
      const sources = new Sources();
      const nowMs = 1_700_000_000_000;
      const written = new TestInstance('00000000000000a1', sources, () => nowMs);
      written.submit({ op: 'put', namespace, key, json: '1' });
      written.commitAll();
      const { state } = written.cells(namespace).get(key)!;
      written.disk.rot('live', liveKey(key), Uint8Array.of(0xff));
      const damaged = new TestInstance('00000000000000a1', sources, () => nowMs, written.disk);
      const fetch = { type: 'fetch', id: 1, keys: [key] } as const;
      damaged.step(fetch);
      const isRefused = () => {
        const told = damaged.replica.step(fetch, nowMs, () => 0);
        return damaged.replica.peek(key) === undefined && told.some((each) => each.type === 'fetched' && each.failure);
      };
      expect(isRefused()).toBe(true);
      damaged.step({ type: 'states', id: 2, namespace, entries: [{ key, state }], rewrite: true });
      expect(damaged.inFlight).toBe(1);
      expect(isRefused()).toBe(true);
      if (isStored) damaged.commitAll();
      else {
        damaged.step({
          type: 'failed',
          batch: undefined,
          failure: { reason: 'unavailable', message: 'the disk is full' },
        });
        expect(isRefused()).toBe(true);
        damaged.step({ type: 'reopen' });
      }
      expect(isRefused()).toBe(!isStored);
      expect(damaged.replica.peek(key)?.value).toBe(isStored ? 1 : undefined);
    }
  });

  test('does not keep records from being applied; what mends it must cover them', () => {
    const { other, damaged, repairs, heads } = setUp();
    const before = heads().filter(({ source }) => source.origin === damaged.replica.origin);
    damaged.receive(...other.log);
    const source = damaged.replica.sources.parse(other.replica.source.id)!;
    expect(damaged.replica.headsOf(namespace).get(source)).toBe(1);
    const record = decodeRecord(other.log[0]!, damaged.replica.sources);
    repairs.changed([], [{ record }]);
    expect(repairs.mending(namespace, [key], { heads: before, rows: [] })).toEqual([]);
    const entries = repairs.mending(namespace, [key], { heads: heads(), rows: [] });
    damaged.ask((id) => ({ type: 'states', id, namespace, entries, rewrite: true, mending: heads() }));
    expect(damaged.seen(key)).toBeUndefined();
    expect(damaged.told).toEqual([]);
  });

  test('is not mended by what lacks a record that was written to it and is not committed yet', () => {
    const sources = new Sources();
    const nowMs = 1_700_000_000_000;
    const peer = new TestInstance('00000000000000a1', sources, () => nowMs);
    const here = new TestInstance('00000000000000a2', sources, () => nowMs);
    const write = (json: string) => {
      peer.submit({ op: 'put', namespace, key, json });
      peer.commitAll();
    };
    const receive = (instance: TestInstance) =>
      instance.step({ type: 'records', from: peer.replica.origin, records: peer.written.slice(-1) });
    write('1');
    receive(here);
    here.commitAll();
    here.disk.rot('live', liveKey(key), Uint8Array.of(0xff));
    const damaged = new TestInstance('00000000000000a2', sources, () => nowMs, here.disk);
    damaged.step({ type: 'fetch', id: 1, keys: [key] });
    const repairs = new Repairs(damaged.replica, items);
    repairs.met(namespace, key);
    const mend = () => {
      const heads = [...peer.replica.headsOf(namespace)].map(([source, seq]) => ({ source, seq }));
      const rows = [{ key, row: peer.row(key)! }];
      const entries = repairs.mending(namespace, [key], { heads, rows });
      return () => damaged.step({ type: 'states', id: 2, namespace, entries, rewrite: true, mending: heads });
    };
    const storeOlder = mend();
    write('2');
    receive(damaged);
    storeOlder();
    damaged.commitAll();
    expect(damaged.replica.peek(key)).toBeUndefined();
    repairs.changed([], [{ record: peer.written.at(-1)! }]);
    mend()();
    damaged.commitAll();
    expect(damaged.replica.peek(key)?.value).toBe(2);
  });
});

describe('a damaged row that a page of a transfer shows', () => {
  const setUp = () => {
    const sources = new Sources();
    const nowMs = 1_700_000_000_000;
    const [first, second, before] = ['1', '2', '3'].map(
      (i) => new TestInstance(`00000000000000a${i}`, sources, () => nowMs),
    ) as [TestInstance, TestInstance, TestInstance];
    const put = (at: TestInstance, json: string) => {
      at.submit({ op: 'put', namespace, key, json });
      at.commitAll();
    };
    const send = (from: TestInstance, to: TestInstance) => {
      to.step({ type: 'records', from: from.replica.origin, records: from.written });
      to.commitAll();
    };
    put(first, '1');
    send(first, second);
    /** Lets the row rot. @returns what becomes of it as others show their rows */
    const damage = () => {
      before.disk.rot('live', liveKey(key), Uint8Array.of(0xff));
      const damaged = new TestInstance('00000000000000a3', sources, () => nowMs, before.disk);
      damaged.step({ type: 'fetch', id: 1, keys: [key] });
      const repairs = new Repairs(damaged.replica, items);
      repairs.met(namespace, key);
      const pageOf = (from: TestInstance) => {
        const row = from.row(key);
        const heads = [...from.replica.headsOf(namespace)].map(([source, seq]) => ({ source, seq }));
        return { heads, rows: row === undefined ? [] : [{ key, row }] };
      };
      return {
        seen: () => {
          const cell = damaged.replica.peek(key);
          return cell === undefined ? 'refused' : cell.value;
        },
        transfer: (from: TestInstance) => {
          const page = pageOf(from);
          const entries = [{ key, state: repairs.statesOf(namespace, page).get(key) }];
          damaged.step({ type: 'states', id: 2, namespace, entries, covered: page.heads, isPage: true });
          damaged.commitAll();
        },
        advance: (from: TestInstance) => {
          damaged.step({ type: 'advance', id: 3, namespace, heads: pageOf(from).heads, floor: 0 });
          damaged.commitAll();
        },
        mend: (from: TestInstance) => {
          const page = pageOf(from);
          const entries = repairs.mending(namespace, [key], page);
          damaged.step({ type: 'states', id: 4, namespace, entries, rewrite: true, mending: page.heads });
          damaged.commitAll();
          return entries.length > 0;
        },
      };
    };
    return { first, second, before, put, send, damage };
  };

  test('waits for one that holds what was here, where the giver lacks it', () => {
    const { first, second, before, put, send, damage } = setUp();
    put(second, '2');
    send(second, before);
    const { seen, transfer, advance, mend } = damage();
    transfer(first);
    advance(first);
    expect(seen()).toBe('refused');
    expect(mend(first)).toBe(false);
    expect(mend(second)).toBe(true);
    expect(seen()).toBe(2);
  });

  test('holds what the page showed once it is mended by one that lacks that', () => {
    const { first, second, before, put, send, damage } = setUp();
    send(first, before);
    put(second, '2');
    const { seen, transfer, mend } = damage();
    transfer(second);
    expect(mend(first)).toBe(true);
    expect(seen()).toBe(2);
  });

  test('does not hold what the giver has forgotten once it is mended by one that has not', () => {
    const { first, second, before, send, damage } = setUp();
    send(first, before);
    second.submit({ op: 'delete', namespace, key });
    second.commitAll();
    second.disk.write([{ type: 'delete', family: 'live', key: liveKey(key) }]);
    const { seen, transfer, mend } = damage();
    transfer(second);
    expect(mend(first)).toBe(true);
    expect(seen()).toBeUndefined();
  });
});
