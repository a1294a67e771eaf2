import { describe, expect, test } from 'vitest';
import { Cell, encodeCell } from '../cell.ts';
import { ByteWriter } from '../codec.ts';
import { Sources } from '../dot.ts';
import { stateOf } from '../join.ts';
import type { LogRecord } from '../record.ts';
import { decodeRecord, encodeRecord } from '../record-codec.ts';
import { type FetchEffect, Fetches } from './fetches.ts';
import { type Publication, PublishLines } from './publish-lines.ts';
import { type LogRange, PageGatherer, SliceGatherer, type SnapshotPage } from './slice.ts';

const sources = new Sources();
const source = sources.of('00000000000000aa', 7);

function record(seq: number, epoch = source): LogRecord {
  const put = { op: 'put', key: `n.k${seq}`, version: 1, createdMs: 1_000, expiresMs: 0, json: `${seq}` } as const;
  return {
    namespace: 'n',
    source: epoch,
    seq,
    ms: 1_000,
    count: 0,
    operations: [{ ...put, bytes: undefined, context: undefined, over: undefined, isConditional: false }],
  };
}

const seqsOf = (next: Publication | LogRange) =>
  'records' in next ? next.records.map((bytes) => decodeRecord(bytes, sources).seq) : 'in the log';

describe('publish lines', () => {
  test('publish records in order, in batches of a bounded size, until all are taken', () => {
    const [line] = new PublishLines(10_000).add([record(1), record(2), record(3)]);
    const twoRecords = 2 * encodeRecord(record(1)).length;
    const first = line!.next(twoRecords);
    expect(seqsOf(first)).toEqual([1, 2]);
    line!.passed(2);
    expect(seqsOf(line!.next(twoRecords))).toEqual([3]);
    line!.passed(3);
    expect(line!.isDue).toBe(false);
  });

  test('read from the log what did not fit in memory, and go on from memory behind it', () => {
    const lines = new PublishLines(encodeRecord(record(1)).length);
    const [line] = lines.add([record(1), record(2)]);
    expect(line!.next(10_000)).toEqual({ namespace: 'n', source, after: 0, upTo: 2 });
    line!.passed(2);
    lines.add([record(3)]);
    expect(seqsOf(line!.next(10_000))).toEqual([3]);
  });

  test('pass over what all members hold by other ways, and what the log has forgotten', () => {
    const lines = new PublishLines(10_000);
    const [line] = lines.add([record(1), record(2), record(3)]);
    line!.passed(2);
    expect(seqsOf(line!.next(10_000))).toEqual([3]);
    const [forgotten] = new PublishLines(1).add([record(1)]);
    expect(seqsOf(forgotten!.next(10_000))).toBe('in the log');
    forgotten!.trimmed();
    expect(forgotten!.isDue).toBe(false);
  });

  test('begin a new line with a new epoch', () => {
    const lines = new PublishLines(10_000);
    const [line] = lines.add([record(1)]);
    const [next] = lines.add([record(1, sources.of(source.origin, 8))]);
    expect(next).not.toBe(line);
    expect(seqsOf(next!.next(10_000))).toEqual([1]);
  });
});

describe('fetches', () => {
  const held = new Map<string, number>();
  const start = () => {
    held.clear();
    return new Fetches({
      sources,
      strategyOf: () => ({ kind: 'lww' }),
      isWhole: () => true,
      holds: (_, { id }, seq) => (held.get(id) ?? 0) >= seq,
      stepTimeoutMs: 1_000,
    });
  };
  const pull = { type: 'pull', pull: 1, peer: 'p', namespace: 'n', source, after: 0, upTo: 4 } as const;
  const types = (effects: readonly FetchEffect[]) => effects.map(({ type }) => type);
  const slice = (after: number, upTo: number) => {
    const gatherer = new SliceGatherer({ after, upTo }, 10_000);
    for (let seq = after + 1; seq <= upTo; seq++) gatherer.take(seq, encodeRecord(record(seq)));
    return gatherer.slice();
  };

  test('ask for the next slice only once the one before is durable', () => {
    const fetches = start();
    expect(types(fetches.step(pull, 0))).toEqual(['ask-log']);
    expect(types(fetches.step({ type: 'slice', pull: 1, slice: slice(0, 2) }, 1))).toEqual(['take']);
    expect(fetches.step({ type: 'moved', namespace: 'n' }, 2)).toEqual([]);
    held.set(source.id, 2);
    expect(fetches.step({ type: 'moved', namespace: 'n' }, 3)).toMatchObject([{ type: 'ask-log', after: 2, upTo: 4 }]);
    held.set(source.id, 4);
    // What came by another way meanwhile is not handed in again.
    const last = fetches.step({ type: 'slice', pull: 1, slice: slice(2, 4) }, 4);
    expect(last).toEqual([{ type: 'pulled', pull: 1, outcome: 'done' }]);
  });

  test('end as failed when a step takes too long, a record is refused, or what came cannot be read', () => {
    const fetches = start();
    fetches.step(pull, 0);
    expect(fetches.step({ type: 'tick' }, 999)).toEqual([]);
    expect(fetches.step({ type: 'tick' }, 1_000)).toEqual([{ type: 'pulled', pull: 1, outcome: 'failed' }]);
    fetches.step({ ...pull, pull: 2 }, 0);
    fetches.step({ type: 'slice', pull: 2, slice: slice(0, 4) }, 1);
    const refused = fetches.step({ type: 'refused', namespace: 'n', source }, 2);
    expect(refused).toEqual([{ type: 'pulled', pull: 2, outcome: 'failed' }]);
    fetches.step({ ...pull, pull: 3 }, 0);
    const junk = { records: [new Uint8Array([9])], upTo: 1, isTrimmed: false };
    const unread = fetches.step({ type: 'slice', pull: 3, slice: junk }, 1);
    expect(unread).toMatchObject([{ type: 'pulled', pull: 3, outcome: 'failed', error: expect.anything() }]);
  });

  test('end as failed when the peer turns out to hold nothing of what it reported', () => {
    const fetches = start();
    fetches.step(pull, 0);
    const nothing = fetches.step({ type: 'slice', pull: 1, slice: slice(0, 0) }, 1);
    expect(nothing).toEqual([{ type: 'pulled', pull: 1, outcome: 'failed' }]);
  });

  test('say so when the log of the peer is too short', () => {
    const fetches = start();
    fetches.step({ ...pull, pull: 2 }, 1);
    const empty = new SliceGatherer({ after: 0, upTo: 4 }, 10_000).slice();
    expect(fetches.step({ type: 'slice', pull: 2, slice: empty }, 2)).toEqual([
      { type: 'pulled', pull: 2, outcome: 'trimmed' },
    ]);
  });
});

describe('a bootstrap', () => {
  const page = (keys: readonly string[], seq: number, isLast: boolean): SnapshotPage => {
    const gatherer = new PageGatherer(new Map([[source, seq]]), () => seq, isLast ? 10_000 : 1);
    for (const key of keys) {
      const state = stateOf(record(Number(key.slice(3))), 0, false);
      gatherer.take(key, encodeCell(new Cell(state, 1, { kind: 'lww' }), new ByteWriter(64)));
    }
    if (!isLast) gatherer.take('n.k9', new Uint8Array(1));
    return gatherer.page();
  };
  const bootstrap = { type: 'bootstrap', peer: 'p', namespace: 'n' } as const;
  const make = (isWhole = true) =>
    new Fetches({
      sources,
      strategyOf: () => ({ kind: 'lww' }),
      holds: () => false,
      isWhole: () => isWhole,
      stepTimeoutMs: 1_000,
    });

  test('tells what was purged while a page was gathered: its rows lack that too', () => {
    let floor = 1;
    const gatherer = new PageGatherer(new Map([[source, 1]]), () => floor, 10_000);
    gatherer.take('n.k1', new Uint8Array(1));
    floor = 7;
    expect(gatherer.page()).toMatchObject({ floor: 7, isLast: true });
  });

  test('joins page by page, and moves the vector to the heads of the first page only behind the last', () => {
    const fetches = make();
    expect(fetches.step({ ...bootstrap, pull: 1 }, 0)).toMatchObject([{ type: 'ask-snapshot', after: undefined }]);
    const joined = fetches.step({ type: 'page', pull: 1, page: page(['n.k1'], 5, false) }, 1);
    expect(joined).toMatchObject([{ type: 'join', entries: [{ key: 'n.k1', state: { json: '1' } }] }]);
    expect(fetches.step({ type: 'stored', pull: 1 }, 2)).toMatchObject([{ type: 'ask-snapshot', after: 'n.k1' }]);
    fetches.step({ type: 'page', pull: 1, page: page(['n.k2'], 8, true) }, 3);
    const advance = fetches.step({ type: 'stored', pull: 1 }, 4);
    expect(advance).toMatchObject([{ type: 'advance', heads: [{ source, seq: 5 }], floor: 8 }]);
    expect(fetches.step({ type: 'stored', pull: 1 }, 5)).toEqual([{ type: 'pulled', pull: 1, outcome: 'done' }]);
  });

  test('tells of what the giver showed beyond its vector as it was before the first page, interrupted or not', () => {
    const fetches = make();
    const ahead = { heads: new Map([[source, 9]]), joinedMs: new Map([['a', 1]]) };
    fetches.step({ ...bootstrap, pull: 1, ahead }, 0);
    fetches.step({ type: 'page', pull: 1, page: page(['n.k1'], 5, false) }, 1);
    fetches.step({ type: 'stored', pull: 1 }, 2);
    fetches.step({ type: 'failed', pull: 1 }, 3);
    fetches.step({ ...bootstrap, pull: 2, ahead: { ...ahead, joinedMs: new Map([['a', 2]]) } }, 4);
    fetches.step({ type: 'page', pull: 2, page: page(['n.k2'], 5, true) }, 5);
    expect(fetches.step({ type: 'stored', pull: 2 }, 6)).toMatchObject([{ type: 'advance', ahead }]);
  });

  test('goes on behind the last page that is durable when it was interrupted', () => {
    const fetches = make();
    fetches.step({ ...bootstrap, pull: 1 }, 0);
    fetches.step({ type: 'page', pull: 1, page: page(['n.k1'], 5, false) }, 1);
    fetches.step({ type: 'stored', pull: 1 }, 2);
    fetches.step({ type: 'failed', pull: 1 }, 3);
    expect(fetches.step({ ...bootstrap, pull: 2 }, 4)).toMatchObject([{ type: 'ask-snapshot', after: 'n.k1' }]);
    fetches.step({ type: 'page', pull: 2, page: page(['n.k2'], 9, true) }, 5);
    expect(fetches.step({ type: 'stored', pull: 2 }, 6)).toMatchObject([{ heads: [{ source, seq: 5 }] }]);
  });

  test('begins anew when its giver has gone back behind what the first page said', () => {
    const fetches = make();
    fetches.step({ ...bootstrap, pull: 1 }, 0);
    fetches.step({ type: 'page', pull: 1, page: page(['n.k1'], 5, false) }, 1);
    fetches.step({ type: 'stored', pull: 1 }, 2);
    const gone = fetches.step({ type: 'page', pull: 1, page: page(['n.k2'], 4, true) }, 3);
    expect(gone).toEqual([{ type: 'pulled', pull: 1, outcome: 'failed' }]);
    // Nothing of the first page's promise is kept: what the second try is told is what counts.
    expect(fetches.step({ ...bootstrap, pull: 2 }, 4)).toMatchObject([{ type: 'ask-snapshot', after: undefined }]);
    fetches.step({ type: 'page', pull: 2, page: page(['n.k1'], 4, true) }, 5);
    expect(fetches.step({ type: 'stored', pull: 2 }, 6)).toMatchObject([{ heads: [{ source, seq: 4 }] }]);
  });

  test('begins anew when its giver went back while it was interrupted', () => {
    const fetches = make(false);
    fetches.step({ ...bootstrap, pull: 1 }, 0);
    fetches.step({ type: 'page', pull: 1, page: page(['n.k1'], 5, false) }, 1);
    fetches.step({ type: 'stored', pull: 1 }, 2);
    fetches.step({ type: 'failed', pull: 1 }, 3);
    fetches.step({ ...bootstrap, pull: 2 }, 4);
    const gone = fetches.step({ type: 'page', pull: 2, page: page(['n.k2'], 4, true) }, 5);
    expect(gone).toEqual([{ type: 'pulled', pull: 2, outcome: 'failed' }]);
    expect(fetches.unawaited([record(5)])).toHaveLength(1);
    expect(fetches.step({ ...bootstrap, pull: 3 }, 6)).toMatchObject([{ type: 'ask-snapshot', after: undefined }]);
  });

  test('of a namespace that is not whole says which keys each page tells all of, as of the first page', () => {
    const fetches = make(false);
    fetches.step({ ...bootstrap, pull: 1 }, 0);
    const first = fetches.step({ type: 'page', pull: 1, page: page(['n.k1'], 5, false) }, 1);
    const heads = [{ source, seq: 5 }];
    expect(first).toMatchObject([{ type: 'join', stretch: { after: undefined, upTo: 'n.k1', heads } }]);
    fetches.step({ type: 'stored', pull: 1 }, 2);
    // A last page without rows still tells that nothing follows.
    const last = fetches.step({ type: 'page', pull: 1, page: page([], 8, true) }, 3);
    expect(last).toMatchObject([{ type: 'join', entries: [], stretch: { after: 'n.k1', upTo: undefined, heads } }]);
    expect(fetches.step({ type: 'stored', pull: 1 }, 4)).toMatchObject([{ type: 'advance', heads }]);
    const whole = make();
    whole.step({ ...bootstrap, pull: 1 }, 0);
    const joined = whole.step({ type: 'page', pull: 1, page: page(['n.k1'], 5, true) }, 1);
    expect(joined).toMatchObject([{ type: 'join', stretch: undefined }]);
  });

  test('does not take what the giver holds back for forgotten', () => {
    const fetches = make(false);
    fetches.step({ ...bootstrap, pull: 1 }, 0);
    const held = [encodeRecord(record(4))];
    const ofHeld: SnapshotPage = { ...page([], 5, true), held, heldUpTo: 'place', isLast: false };
    expect(fetches.step({ type: 'page', pull: 1, page: ofHeld }, 1)).toMatchObject([{ stretch: undefined }]);
    fetches.step({ type: 'stored', pull: 1 }, 2);
    const rows = fetches.step({ type: 'page', pull: 1, page: page(['n.k1'], 5, true) }, 3);
    expect(rows).toMatchObject([{ type: 'join', stretch: { heads: [{ source, seq: 3 }] } }]);
    expect(fetches.step({ type: 'stored', pull: 1 }, 4)).toMatchObject([{ heads: [{ source, seq: 5 }] }]);
  });

  test('of a namespace that is not whole keeps out what its states stand for, until the vector has moved', () => {
    const fetches = make(false);
    const records = [record(4), record(5), record(6)];
    fetches.step({ ...bootstrap, pull: 1 }, 0);
    expect(fetches.unawaited(records)).toEqual(records);
    fetches.step({ type: 'page', pull: 1, page: page(['n.k1'], 5, false) }, 1);
    expect(fetches.unawaited(records)).toEqual([records[2]]);
    expect(fetches.unawaited([{ ...record(4), namespace: 'm' }])).toHaveLength(1);
    fetches.step({ type: 'stored', pull: 1 }, 2);
    fetches.step({ type: 'failed', pull: 1 }, 3);
    expect(fetches.unawaited(records)).toEqual([records[2]]);
    fetches.step({ ...bootstrap, pull: 2 }, 4);
    fetches.step({ type: 'page', pull: 2, page: page([], 9, true) }, 5);
    fetches.step({ type: 'stored', pull: 2 }, 6);
    fetches.step({ type: 'stored', pull: 2 }, 7);
    expect(fetches.unawaited(records)).toEqual(records);
  });

  test('of a namespace that is not whole begins anew once records were pulled meanwhile', () => {
    const fetches = make(false);
    fetches.step({ ...bootstrap, pull: 1 }, 0);
    fetches.step({ type: 'page', pull: 1, page: page(['n.k1'], 5, false) }, 1);
    fetches.step({ type: 'stored', pull: 1 }, 2);
    fetches.step({ type: 'failed', pull: 1 }, 3);
    fetches.step({ ...bootstrap, type: 'pull', pull: 2, source, after: 0, upTo: 4 }, 4);
    expect(fetches.unawaited([record(4)])).toHaveLength(1);
    fetches.step({ type: 'failed', pull: 2 }, 5);
    expect(fetches.step({ ...bootstrap, pull: 3 }, 6)).toMatchObject([{ type: 'ask-snapshot', after: undefined }]);
  });
});

describe('a slice', () => {
  test('is contiguous: a hole ends it, and so does its size', () => {
    const size = encodeRecord(record(1)).length;
    const holed = new SliceGatherer({ after: 0, upTo: 9 }, 10_000);
    expect(holed.take(1, encodeRecord(record(1)))).toBe(true);
    expect(holed.take(3, encodeRecord(record(3)))).toBe(false);
    expect(holed.slice()).toMatchObject({ upTo: 1, isTrimmed: false });
    const small = new SliceGatherer({ after: 0, upTo: 9 }, size);
    expect(small.take(1, encodeRecord(record(1)))).toBe(false);
    expect(small.slice().records).toHaveLength(1);
  });
});
