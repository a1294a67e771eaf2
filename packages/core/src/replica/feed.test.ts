import { describe, expect, test } from 'vitest';
import { InstantReplica, randomFrom } from '../testkit/replica.ts';
import { Cell, decodeCell } from './cell.ts';
import type { Commit } from './events.ts';
import {
  Feed,
  type FeedEvent,
  type FeedStart,
  type FeedStep,
  type GivenToken,
  RecentCommits,
  reviveCommit,
  Sources,
  type Strategy,
  startOf,
  WrittenKeys,
} from './index.ts';
import type { LogRecord } from './record.ts';
import { formatToken, parseToken, type Token } from './token.ts';

const sources = new Sources();
const [here, there] = [1, 2].map((n) => sources.parse(`${'0'.repeat(15)}${n}:${'0'.repeat(12)}`)!);
const counter: Strategy = { kind: 'counter' };
const lww: Strategy = { kind: 'lww' };

const put = (json: string | undefined, version: number) => ({
  op: json === undefined ? ('delete' as const) : ('put' as const),
  key: 'facts.a',
  version,
  createdMs: 1,
  expiresMs: 0,
  json,
  bytes: undefined,
  isConditional: false,
  context: undefined,
});

function record(source: LogRecord['source'], seq: number, ms: number, operation: object): LogRecord {
  return { namespace: 'facts', source, seq, ms, count: 0, operations: [operation] } as unknown as LogRecord;
}

const total = (plus: number, version: number): Cell =>
  new Cell(
    {
      kind: 'counter',
      reset: undefined,
      windowStartMs: 0,
      windowMs: 0,
      totals: [{ source: here!, seq: plus, idx: 0, ms: plus, count: 0, plus, minus: 0 }],
      version,
      createdMs: 1,
    },
    0,
    counter,
  );

describe('a feed that catches up', () => {
  const add = { op: 'add', key: 'facts.a', version: 1 };
  const commit = (number: number, cell: Cell): Commit => ({
    number,
    record: record(here!, number, number, add),
    changes: [{ key: 'facts.a', effect: 'merged', cell, superseded: undefined }],
  });

  const open = (recent: RecentCommits): Feed =>
    new Feed({
      namespace: 'facts',
      matches: () => true,
      replica: {
        tokenOf: () => '',
        bookmark: () => '',
        visibleHeads: () => new Map(),
        aheadOf: () => undefined,
        joinedTag: () => undefined,
        hasDamage: () => false,
      },
      recent,
      readMs: () => 10,
      isClustered: () => false,
      start: { after: 0 },
    });
  const valuesOf = (told: readonly FeedEvent[]) =>
    told.map((event) => event.type === 'change' && event.cell.view?.json);

  /**
   * Memory goes back to the second commit only; the log tells the first, with what its key holds by then.
   * @param newer commits from the second on @param now what the key holds @param later what is applied meanwhile
   * @returns values told
   */
  function catchUp(newer: readonly Cell[], now: Cell, later: readonly Cell[] = []) {
    const recent = new RecentCommits({ appliedCommit: 1, commitTag: () => '' }, { bytesMax: 1 << 20, commitsMax: 10 });
    const append = (cells: readonly Cell[]) => {
      const first = recent.head + 1;
      recent.append(
        cells.map((cell, i) => commit(first + i, cell)),
        true,
      );
    };
    append(newer);
    const feed = open(recent);
    const told: FeedEvent[] = [];
    for (const step of feed.start()) {
      if (step.type === 'tell') told.push(step.event);
      if (step.type !== 'read-log') continue;
      append(later);
      step.take({ commits: [commit(1, now)], upTo: 1 });
    }
    return valuesOf(told);
  }

  test('does not tell what a merged value includes again behind it', () => {
    expect(catchUp([total(2, 2)], total(3, 3), [total(3, 3), total(4, 4)])).toEqual(['3', '4']);
  });

  test('tells what a key holds by then though the log says it of a commit that was told already', () => {
    const [first, second] = [total(3, 3), total(5, 5)];
    const part = (commits: readonly Commit[]) => ({ commits, upTo: commits.at(-1)!.number });
    const recent = new RecentCommits({ appliedCommit: 3, commitTag: () => '' }, { bytesMax: 1 << 20, commitsMax: 1 });
    const feed = open(recent);
    const told: FeedEvent[] = [];
    for (const step of feed.start()) {
      if (step.type === 'tell') told.push(step.event);
      if (step.type !== 'read-log') continue;
      if (step.after === 0) {
        step.take(part([commit(1, first)]));
        recent.append([commit(4, total(4, 4)), commit(5, second)], false);
      } else step.take(part([commit(2, second), commit(3, second), commit(4, second), commit(5, second)]));
    }
    expect(valuesOf(told)).toEqual(['3', '5']);
  });

  test('does not tell again what names removals that are purged in what was told', () => {
    const [a, b, c] = [1, 2, 3].map((seq) => ({ source: here!, seq, idx: 0, ms: seq, count: 0 }));
    const set = (...marks: readonly (readonly [member: string, mark: typeof a, present: boolean])[]): Cell => {
      const members = marks.map(([member, mark, present]) => ({
        member,
        live: [{ ...mark!, present }],
        context: [mark!],
      }));
      return new Cell({ kind: 'members', members, version: 1, createdMs: 1 }, 0, { kind: 'set', resolver: 'add-wins' });
    };
    const removed = set(['"a"', a, false], ['"b"', b, true]);
    const whole = set(['"b"', b, true], ['"c"', c, true]);
    expect(catchUp([removed, whole], whole)).toEqual(['["b","c"]']);
  });
});

describe('a bookmark', () => {
  test('leads nobody on at another instance while a row is damaged, whose changes were not told', () => {
    let hasDamage = true;
    const vectors: unknown[] = [];
    const recent = new RecentCommits({ appliedCommit: 0, commitTag: () => '' }, { bytesMax: 1 << 20, commitsMax: 10 });
    const feed = new Feed({
      namespace: 'facts',
      matches: () => true,
      replica: {
        tokenOf: () => '',
        bookmark: (...args) => {
          vectors.push(args[3]);
          return '';
        },
        visibleHeads: () => new Map([[here!, 1]]),
        aheadOf: () => undefined,
        joinedTag: () => undefined,
        hasDamage: () => hasDamage,
      },
      recent,
      readMs: () => 10,
      isClustered: () => true,
      start: { after: 0 },
    });
    const run = (steps: Iterable<FeedStep>) => {
      for (const step of steps) if (step.type === 'tag') step.take('tag');
    };
    run(feed.start());
    const commitOf = (number: number): Commit => ({
      number,
      record: record(here!, number, number, put('"1"', number)),
      changes: [],
    });
    recent.append([commitOf(1)], true);
    run(feed.bookmark());
    hasDamage = false;
    recent.append([commitOf(2)], true);
    run(feed.bookmark());
    expect(vectors).toEqual([undefined, new Map([[here!, 1]])]);
  });
});

describe('where states that came in show what the vector does not cover yet', () => {
  const key = 'facts.a';
  const open = (origin: string, seed: number) =>
    new InstantReplica({ origin, strategyOf: () => counter }, randomFrom(seed), 1_700_000_000_000);

  /** A member has added 2 twice; an instance holds the state that this gave, and the vector of the first addition. */
  function follow(start: (at: InstantReplica) => FeedStart) {
    const [from, at] = [open('aaaaaaaaaaaaaaa1', 3), open('bbbbbbbbbbbbbbb2', 5)];
    for (let i = 0; i < 2; i++) from.write({ op: 'add', namespace: 'facts', key, amount: 2 });
    const writer = at.replica.sources.parse(from.replica.source.id)!;
    const row = from.rows('live')[0]![1];
    const { state } = decodeCell(row, at.replica.sources, counter);
    at.ask((id) => ({ type: 'states', id, namespace: 'facts', entries: [{ key, state }] }));
    at.ask((id) => ({ type: 'advance', id, namespace: 'facts', heads: [{ source: writer, seq: 1 }], floor: 0 }));
    const recent = new RecentCommits(at.replica, { bytesMax: 1 << 20, commitsMax: 10 });
    const feed = new Feed({
      namespace: 'facts',
      matches: () => true,
      replica: at.replica,
      recent,
      readMs: () => at.nowMs,
      isClustered: () => true,
      start: start(at),
    });
    const run = (steps: Iterable<FeedStep>) => {
      const events: FeedEvent[] = [];
      for (const step of steps) {
        if (step.type === 'tell') events.push(step.event);
        if (step.type === 'tag') step.take('0000000a');
        if (step.type === 'scan') step.take(step.isFirst ? { key, cell: at.cell(key) } : { damaged: [] });
        // No record outside of the vector is here.
        if (step.type === 'changed-since') step.take(new Map());
      }
      return events;
    };
    /** The record comes, and changes nothing. */
    const receive = () => {
      at.receive(from.log[1]!);
      recent.append([{ number: recent.head + 1, record: record(writer, 2, 1, {}), changes: [] }], true);
    };
    const vectorsOf = (events: readonly FeedEvent[]) => events.map(({ token }) => at.replica.parseToken(token)?.vector);
    return { at, writer, feed, run, receive, vectorsOf };
  }

  test('a follower from elsewhere is told everything: the record tells it nothing any more', () => {
    const beyond = ({ replica }: InstantReplica) => ({ beyond: replica.visibleHeads('facts') });
    const { at, feed, run, receive } = follow(beyond);
    const told = run(feed.start());
    expect(told.map(({ type }) => type)).toEqual(['resync', 'change', 'bookmark']);
    expect(told[1]).toMatchObject({ key, cell: { view: { json: '4' } } });
    receive();
    expect(at.seen(key)).toBe('4');
  });

  test('no bookmark leads on at another instance, where it need not be, until the vector covers it', () => {
    const { writer, feed, run, receive, vectorsOf } = follow(() => 'resync');
    expect(vectorsOf(run(feed.start())).at(-1)).toBeUndefined();
    receive();
    expect(vectorsOf(run(feed.bookmark()))).toEqual([new Map([[writer, 2]])]);
  });
});

describe('a key that was purged since', () => {
  test('is told as deleted, whichever of its writes the follower has not seen', () => {
    const absent = new Cell(undefined, 0, lww);
    for (const unseen of [
      [record(here!, 1, 5, put('"dead"', 1))],
      [record(here!, 1, 9, put(undefined, 2)), record(there!, 1, 5, put('"dead"', 1))],
    ]) {
      const written = new WrittenKeys(() => true, { strategyOf: () => lww, isHeldBack: () => false });
      for (const each of unseen) written.take(each);
      expect(written.told('facts.a', absent).view?.kind).toBe('absent');
    }
  });

  test('is not told of by a record that is held back: it has changed nothing yet', () => {
    const isHeldBack = (_: string, source: typeof there) => source === there;
    const written = new WrittenKeys(() => true, { strategyOf: () => lww, isHeldBack });
    written.take(record(there!, 1, 90, put(undefined, 1)));
    expect([...written.keys()]).toEqual([]);
    written.take(record(here!, 1, 5, put('"now"', 1)));
    expect([...written.keys()]).toEqual(['facts.a']);
  });

  test('is told as deleted where its commit gave a merge', () => {
    const entry = { namespace: 'facts', source: here!, seq: 1, effects: ['merged' as const], superseded: new Map() };
    const now = new Map([['facts.a', new Cell(undefined, 0, counter)]]);
    const revived = reviveCommit(
      1,
      record(here!, 1, 5, { op: 'add', key: 'facts.a', version: 1 }),
      entry,
      counter,
      now,
    );
    expect(revived.changes[0]?.cell.view?.kind).toBe('absent');
  });
});

describe('a follower that comes with tokens', () => {
  const place = { namespace: 'facts', source: here!, seq: 0, instance: here!.origin, isPartial: false };
  const given = (token: Parameters<typeof formatToken>[0]): GivenToken => {
    return { token: parseToken(formatToken(token), sources)!, tag: token.tag };
  };
  const replica = {
    origin: here!.origin,
    trimmedCommit: 0,
    joinedCommit: () => 0,
    joinedTag: () => undefined,
    reaches: () => true,
  };
  const bookmark = given({ ...place, commit: 3, tag: '00000003' });
  const vector = given({
    ...place,
    instance: there!.origin,
    commit: 3,
    tag: '00000003',
    vector: new Map([[here!, 2]]),
  });

  test('of which the last is of a snapshot that was not told to its end is told everything', () => {
    const begun = given({ ...place, commit: 0, tag: '00000000' });
    expect(startOf([begun, bookmark], 'facts', replica, 5)).toBe('resync');
    expect(startOf([begun, vector], 'facts', replica, 5)).toBe('resync');
  });

  test('from before states came in is told everything; from behind them it goes on', () => {
    const joining = { ...replica, joinedCommit: () => 4, joinedTag: () => '000000aa' };
    const own = given({ ...place, commit: 3, tag: '00000003', vector: new Map([[here!, 2]]) });
    expect(startOf([own], 'facts', joining, 3)).toBe('resync');
    const behind = given({ ...place, commit: 3, tag: '000000aa', isPartial: true });
    expect(startOf([behind], 'facts', joining, 3)).toEqual({ after: 3 });
    // Others came in since.
    expect(startOf([behind], 'facts', { ...joining, joinedTag: () => '000000bb' }, 3)).toBe('resync');
  });

  const elsewhere = { ...place, source: there!, seq: 4, instance: there!.origin, commit: 4, tag: '00000004' };

  test('goes on from the first that leads anywhere', () => {
    const last = given({ ...place, commit: 9, tag: '00000009' });
    expect(startOf([last, bookmark], 'facts', replica, 5)).toEqual({ after: 3 });
    expect(startOf([given(elsewhere), vector], 'facts', replica, 5)).toEqual({ beyond: vector.token.vector });
  });

  test('is told everything where what it was told is not here, and may never come', () => {
    for (const missing of [vector.token, given(elsewhere).token]) {
      const behind = { ...replica, reaches: (token: Token) => formatToken(token) !== formatToken(missing) };
      expect(startOf([given(elsewhere), vector], 'facts', behind, 5)).toBe('resync');
    }
    const lost = { ...replica, reaches: () => false };
    expect(startOf([bookmark], 'facts', lost, 5)).toBe('resync');
  });

  test('goes on from no place of its own that it left to be told something elsewhere', () => {
    expect(startOf([given(elsewhere), bookmark], 'facts', replica, 5)).toBe('resync');
  });
});
