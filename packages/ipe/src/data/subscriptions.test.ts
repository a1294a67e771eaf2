import { logKey } from '@ipe/core/replica';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DataNode, type Json, TestSession } from '../testkit/data-node.ts';

let node: DataNode;
let session: TestSession;
const call = (method: string, params: unknown): Promise<Json> => node.call(method, params);
const subscribe = (params: object, on = session): Promise<Json> =>
  node.call('subscribe', { pattern: 'approvals.*', ...params }, { session: on });
const put = (key: string, value: unknown) => call('put', { key, value });
const brief = (events: readonly Json[]) =>
  events.map(({ type, key, value }) => [type, key, value].filter((each) => each !== undefined));

beforeEach(async () => {
  node = await DataNode.open();
  session = new TestSession();
});
afterEach(async () => {
  session.end();
  await node.close();
});

test('changes are told after they are durable, in order, to those who asked for them', async () => {
  await put('approvals.before', 0);
  const { subscription } = await subscribe({});
  const written = await put('approvals.d1', { by: 'alice' });
  await put('other.d1', 1);
  await call('put', { key: 'approvals.d1', value: 2, ttl: 10 });
  await call('delete', { key: 'approvals.d1' });
  const events = await session.received(3);
  expect(brief(events)).toEqual([
    ['update', 'approvals.d1', { by: 'alice' }],
    ['update', 'approvals.d1', 2],
    ['delete', 'approvals.d1'],
  ]);
  expect(events[0]).toMatchObject({ subscription, version: 1, etag: written.etag, timestamp: written.updated_at });
  expect(events[0].id).toBe(events[0].token);
  expect(events[1].expires_at).toBe(node.nowMs / 1000 + 10);
  await call('get', { key: 'approvals.d1', fresh_as_of: events[2].token });
});

test('what exists comes first where it is asked for', async () => {
  await put('approvals.a', 1);
  await put('approvals.b', 2);
  await call('delete', { key: 'approvals.b' });
  await subscribe({ include_existing: true });
  await session.received(1);
  await put('approvals.c', 3);
  expect(brief(await session.received(2))).toEqual([
    ['update', 'approvals.a', 1],
    ['update', 'approvals.c', 3],
  ]);
});

describe('resuming', () => {
  test('from any token goes on right after it, from memory and from the log', async () => {
    const tokens: string[] = [];
    for (let i = 0; i < 5; i++) tokens.push((await put(`approvals.d${i}`, i)).token);
    for (const restarted of [false, true]) {
      if (restarted) await node.restart();
      const other = new TestSession();
      await subscribe({ from: tokens[1] }, other);
      expect(brief(await other.received(3))).toEqual([
        ['update', 'approvals.d2', 2],
        ['update', 'approvals.d3', 3],
        ['update', 'approvals.d4', 4],
      ]);
      other.end();
    }
  });

  test('live events and those read again from the log are the same', async () => {
    await subscribe({});
    const start = (await put('approvals.a', 0)).token;
    await put('approvals.a', { n: 1 });
    await call('put', { key: 'approvals.b', value_base64: 'AAE=', ttl: 100 });
    await call('delete', { key: 'approvals.a' });
    const live = (await session.received(4)).slice(1);
    await node.restart();
    const later = new TestSession();
    await subscribe({ from: start }, later);
    const again = await later.received(3);
    const strip = ({ subscription: _, ...event }: Json) => event;
    expect(again.map(strip)).toEqual(live.map(strip));
    later.end();
  });

  test('inside a transaction tells all of it again', async () => {
    await subscribe({});
    await call('transaction', {
      operations: [1, 2, 3].map((n) => ({ op: 'put', key: `approvals.d${n}`, value: n })),
    });
    const events = await session.received(3);
    const other = new TestSession();
    await subscribe({ from: events[1].token }, other);
    expect(brief(await other.received(3))).toEqual(brief(events));
    const last = new TestSession();
    await subscribe({ from: events[2].token }, last);
    await put('approvals.after', 1);
    expect(brief(await last.received(1))).toEqual([['update', 'approvals.after', 1]]);
    other.end();
    last.end();
  });

  test('from before the log begins, or from another history, is a resync with what there is', async () => {
    const old = (await put('approvals.a', 'x'.repeat(200))).token;
    await node.close();
    const trimmed = await DataNode.open({ logBytesMax: 1_000 });
    const on = new TestSession();
    try {
      for (let i = 0; i < 20; i++) await trimmed.call('put', { key: 'approvals.b', value: `${i}`.repeat(100) });
      const first = await trimmed.call('put', { key: 'approvals.c', value: 1 });
      for (let i = 0; i < 3; i++) await trimmed.engine.housekeep();
      expect(trimmed.engine.replica.trimmedCommit).toBeGreaterThan(5);
      expect(trimmed.engine.replica.logBytes).toBeLessThanOrEqual(1_000);
      await trimmed.call('subscribe', { pattern: 'approvals.*', from: old }, { session: on });
      const events = await on.received(4);
      expect(events.map(({ type, key }) => [type, key])).toEqual([
        ['resync', undefined],
        ['update', 'approvals.b'],
        ['update', 'approvals.c'],
        ['bookmark', undefined],
      ]);
      const again = new TestSession();
      await trimmed.call('subscribe', { pattern: 'approvals.*', from: events[3].token }, { session: again });
      await trimmed.call('subscribe', { pattern: 'approvals.*', from: first.token }, { session: again });
      await trimmed.call('put', { key: 'approvals.d', value: 1 });
      expect((await again.received(2)).map(({ type, key }) => [type, key])).toEqual([
        ['update', 'approvals.d'],
        ['update', 'approvals.d'],
      ]);
      again.end();
    } finally {
      on.end();
      await trimmed.close();
      node = await DataNode.open();
    }
  });

  test('a text that is no token is refused', async () => {
    expect((await node.refused('subscribe', { pattern: 'approvals.*', from: 'x' }, { session })).details).toMatchObject(
      { field: 'from' },
    );
  });
});

test('a client that stops reading holds nobody up and misses nothing', async () => {
  const quick = new TestSession();
  await subscribe({}, quick);
  await subscribe({});
  session.pause();
  // More than the recent commits that are kept in memory: the slow one goes on from the log.
  const value = 'x'.repeat(200_000);
  for (let i = 0; i < 80; i++) await put(`approvals.d${i}`, value);
  await quick.received(80);
  expect(session.events).toHaveLength(1);
  session.resume();
  const events = await session.received(80);
  expect(events.map(({ key }) => key)).toEqual(Array.from({ length: 80 }, (_, i) => `approvals.d${i}`));
  quick.end();
});

test('an idle subscription is told how far it is, and can resume from there', async () => {
  await subscribe({});
  await put('other.a', 1);
  await node.service.subscriptions.bookmarkAll();
  const [bookmark] = await session.received(1);
  expect(bookmark).toMatchObject({ type: 'bookmark' });
  const later = new TestSession();
  await subscribe({ from: bookmark.token }, later);
  await put('approvals.a', 1);
  expect(brief(await later.received(1))).toEqual([['update', 'approvals.a', 1]]);
  later.end();
});

test('unsubscribing ends one subscription of this connection, and closing ends them all', async () => {
  const { subscription } = await subscribe({});
  const stranger = new TestSession();
  expect((await node.refused('unsubscribe', { subscription }, { session: stranger })).reason).toBe('not_found');
  expect(await node.call('unsubscribe', { subscription }, { session })).toEqual({});
  await subscribe({});
  expect(node.service.subscriptions.size).toBe(1);
  session.end();
  expect(node.service.subscriptions.size).toBe(0);
  await put('approvals.a', 1);
  expect(session.events).toEqual([]);
});

test('counters and sets tell their values', async () => {
  await node.call('subscribe', { pattern: 'counts.*' }, { session });
  await call('add', { key: 'counts.a', amount: 2 });
  await call('add', { key: 'counts.a', amount: 3 });
  expect(brief(await session.received(2))).toEqual([
    ['update', 'counts.a', 2],
    ['update', 'counts.a', 5],
  ]);
});

test('a subscription needs a connection that can be told', async () => {
  expect((await node.refused('subscribe', { pattern: 'approvals.*' })).reason).toBe('invalid_request');
});

test('states that come in without records are told by a resync, to who follows and to who comes back', async () => {
  const { token } = await put('approvals.a', 1);
  await subscribe({});
  const other = await DataNode.open({ origin: 'ffeeddccbbaa0099', seed: 5 });
  await other.call('put', { key: 'approvals.b', value: 2 });
  const { state } = await other.engine.get('approvals.b');
  await node.engine.joinStates('approvals', [{ key: 'approvals.b', state: state! }]);
  const events = await session.received(4);
  const told = [['resync'], ['update', 'approvals.a', 1], ['update', 'approvals.b', 2], ['bookmark']];
  expect(brief(events)).toEqual(told);
  const back = new TestSession();
  await subscribe({ from: token }, back);
  expect(brief(await back.received(4))).toEqual(told);
  const current = new TestSession();
  await subscribe({ from: events[3].token }, current);
  await put('approvals.c', 3);
  expect(brief(await current.received(1))).toEqual([['update', 'approvals.c', 3]]);
  for (const each of [back, current]) each.end();
  await other.close();
});

test('a bookmark from before states came in leads to a resync, though no commit came behind it', async () => {
  await put('approvals.a', 1);
  await subscribe({});
  await put('users.a', 1);
  await node.service.subscriptions.bookmarkAll();
  const { token } = (await session.received(1))[0];
  const other = await DataNode.open({ origin: 'ffeeddccbbaa0099', seed: 5 });
  await other.call('put', { key: 'approvals.b', value: 2 });
  const { state } = await other.engine.get('approvals.b');
  session.end();
  await node.engine.joinStates('approvals', [{ key: 'approvals.b', state: state! }]);
  await other.close();
  const back = new TestSession();
  await subscribe({ from: token }, back);
  expect(brief(await back.received(3))).toEqual([
    ['resync'],
    ['update', 'approvals.a', 1],
    ['update', 'approvals.b', 2],
  ]);
  back.end();
});

describe('going on at another instance', () => {
  let other: DataNode;
  beforeEach(async () => {
    await node.close();
    node = await DataNode.open({ isClustered: true });
    other = await DataNode.open({ isClustered: true, origin: 'ffeeddccbbaa9988', seed: 9 });
  });
  afterEach(() => other.close());

  /** Follows at `node` until told of everything, and gives the tokens that a client would come back with. */
  async function followed(count: number): Promise<{ last: string; bookmark: string }> {
    await subscribe({ include_existing: true });
    while (session.events.filter(({ type }) => type !== 'bookmark').length < count)
      await session.received(session.events.length + 1);
    await node.service.subscriptions.bookmarkAll();
    while (session.events.at(-1)?.type !== 'bookmark') await session.received(session.events.length + 1);
    const events = session.events.filter(({ type }) => type !== 'bookmark');
    return { last: events.at(-1)!.token, bookmark: session.events.at(-1)!.token };
  }

  async function resumed(from: string, count: number): Promise<readonly Json[]> {
    const on = new TestSession();
    await other.call('subscribe', { pattern: 'approvals.*', from }, { session: on });
    const events = [...(await on.received(count))];
    on.end();
    return events;
  }

  test('tells what the vector in a bookmark does not cover, and nothing else', async () => {
    for (const name of ['a', 'b', 'c']) await put(`approvals.${name}`, 'before');
    await node.tell(other);
    const { bookmark } = await followed(3);
    const last = (await put('approvals.b', 'after')).token;
    await call('delete', { key: 'approvals.c' });
    await put('users.x', 'another namespace');
    await other.call('put', { key: 'approvals.d', value: 'there' });
    await node.tell(other);
    const events = await resumed(`${last},${bookmark}`, 4);
    expect(brief(events.slice(0, 3)).sort()).toEqual([
      ['delete', 'approvals.c'],
      ['update', 'approvals.b', 'after'],
      ['update', 'approvals.d', 'there'],
    ]);
    expect(events[3]).toMatchObject({ type: 'bookmark' });
    // Whoever breaks off in between holds what is of no one place; afterwards it goes on from this instance's place.
    expect(brief((await resumed(`${events[0].token},${bookmark}`, 1)).slice(0, 1))).toEqual([['resync']]);
    await other.call('put', { key: 'approvals.e', value: 'later' });
    expect(brief(await resumed(events[3].token, 1))).toEqual([['update', 'approvals.e', 'later']]);
  });

  test('waits for what was told elsewhere and is still on its way', async () => {
    await put('approvals.a', 'first');
    const { bookmark } = await followed(1);
    const { token } = await put('approvals.a', 'second');
    const going = resumed(`${token},${bookmark}`, 1);
    await node.tell(other);
    expect(brief(await going)).toEqual([['update', 'approvals.a', 'second']]);
  });

  test('can wait for a bookmark as for any token: what was told with it is seen there', async () => {
    await put('approvals.a', 1);
    const { bookmark } = await followed(1);
    expect(other.engine.replica.hasSeen(bookmark)).toBe(false);
    await node.tell(other);
    expect(other.engine.replica.hasSeen(bookmark)).toBe(true);
  });

  test('tells what a key holds now, where an older write was still unknown', async () => {
    await put('approvals.a', 'first');
    await node.tell(other);
    other.nowMs -= 500;
    await other.call('put', { key: 'approvals.a', value: 'theirs' });
    node.nowMs += 1000;
    await put('approvals.a', 'ours, later');
    await node.tell(other);
    const { bookmark } = await followed(1);
    expect(brief((await resumed(bookmark, 2)).slice(0, 1))).toEqual([['update', 'approvals.a', 'ours, later']]);
  });

  test('is a resync where the log does not go back that far, or the token has no vector', async () => {
    await put('approvals.a', 1);
    const { last, bookmark } = await followed(1);
    await put('approvals.b', 2);
    const { state } = await node.engine.get('approvals.b');
    const { state: before } = await node.engine.get('approvals.a');
    const entries = [
      { key: 'approvals.a', state: before! },
      { key: 'approvals.b', state: state! },
    ];
    const heads = [...node.engine.replica.headsOf('approvals')].map(([source, seq]) => ({
      source: other.engine.replica.sources.parse(source.id)!,
      seq,
    }));
    await other.engine.joinStates('approvals', entries);
    await other.engine.advance('approvals', heads, 0);
    for (const from of [bookmark, last]) {
      const events = await resumed(from, 3);
      expect(events.map(({ type, key }) => [type, key])).toEqual([
        ['resync', undefined],
        ['update', 'approvals.a'],
        ['update', 'approvals.b'],
      ]);
    }
  });

  test('goes on from no place of an earlier store, though the commit of its number is the same', async () => {
    for (const key of ['approvals.a', 'users.a', 'zones.a', 'approvals.b']) await other.call('put', { key, value: 1 });
    const hear = async (...names: string[]) => {
      for (const name of names) await other.tell(node, ({ namespace, seq }) => `${namespace}/${seq}` === name);
    };
    await hear('approvals/1', 'users/1', 'zones/1');
    const { bookmark } = await followed(1);
    await node.close();
    node = await DataNode.open({ isClustered: true, seed: 3 });
    await hear('approvals/1', 'approvals/2', 'zones/1');
    expect(node.engine.replica.appliedCommit).toBe(3);
    const on = new TestSession();
    await subscribe({ from: bookmark }, on);
    await put('approvals.c', 2);
    expect(brief((await on.received(2)).filter(({ type }) => type === 'update'))[0]).toEqual([
      'update',
      'approvals.b',
      1,
    ]);
    on.end();
  });

  test('goes on at the instance itself where that is back', async () => {
    await put('approvals.a', 1);
    const { bookmark } = await followed(1);
    await put('approvals.b', 2);
    await node.restart();
    const on = new TestSession();
    await subscribe({ from: bookmark }, on);
    expect(brief(await on.received(1))).toEqual([['update', 'approvals.b', 2]]);
    on.end();
  });
});

test('a damaged record of the log is met by a resync, not by silence', async () => {
  const start = (await put('approvals.a', 1)).token;
  await put('approvals.b', 2);
  await node.restart();
  const { kv, replica } = node.engine;
  const [source] = [...replica.headsOf('approvals').keys()];
  const key = logKey('approvals', source!, 2);
  await kv.write([{ type: 'put', family: 'log', key, value: Uint8Array.of(0xff) }]);
  await subscribe({ from: start });
  await session.received(1);
  await put('approvals.c', 3);
  const events = await session.received(5);
  expect(brief(events.filter(({ type }) => type !== 'bookmark'))).toEqual([
    ['resync'],
    ['update', 'approvals.a', 1],
    ['update', 'approvals.b', 2],
    ['update', 'approvals.c', 3],
  ]);
});
