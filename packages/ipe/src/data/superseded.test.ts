import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DataNode, type Json, TestSession } from '../testkit/data-node.ts';
import { supersededWrites } from './superseded.ts';

// Two instances that hear of each other only when a test says so.
let here: DataNode;
let there: DataNode;
let session: TestSession;
beforeEach(async () => {
  here = await DataNode.open({ origin: '00112233445566aa', seed: 1 });
  there = await DataNode.open({ origin: 'ffeeddccbbaa9988', seed: 2 });
  session = new TestSession();
});
afterEach(async () => {
  session.end();
  await here.close();
  await there.close();
});

const follow = (pattern: string, from?: string) =>
  here.call('subscribe', { pattern, ...(from !== undefined && { from }) }, { session });
const put = (node: DataNode, key: string, value: unknown, conditions: object = {}): Promise<Json> => {
  node.nowMs += 10;
  return node.call('put', { key, value, ...conditions });
};
/** Both hold the same version 1 of a key. */
async function shared(key: string): Promise<Json> {
  const first = await put(here, key, 'first');
  await here.tell(there);
  there.nowMs = here.nowMs;
  return first;
}
const types = (events: readonly Json[]) => events.map(({ type }) => type);
const page = (options: { limit?: number; before?: number } = {}) =>
  supersededWrites(here.engine, { limit: 100, isVisible: () => true, ...options });

describe('a conditional write that loses against one that had not seen it', () => {
  test.each(['users.a', 'votes.a'])('is told as `superseded`, with what won (%s)', async (key) => {
    const first = await shared(key);
    const lost = await put(here, key, 'ours', { if_version: 1 });
    await follow(`${key.split('.')[0]}.*`);
    there.nowMs += 1000;
    const won = await put(there, key, 'theirs', { if_match: first.etag });
    await there.tell(here);
    const [superseded, update] = await session.received(2);
    expect(superseded).toMatchObject({
      type: 'superseded',
      key,
      version: lost.version,
      etag: lost.etag,
      timestamp: lost.updated_at,
      winner: { value: 'theirs', version: won.version, updated_at: won.updated_at },
    });
    expect(update).toMatchObject({ type: 'update', key, value: 'theirs' });
    expect((await here.call('get', { key })).value).toBe('theirs');
  });

  test('is told again from the log to whoever resumes before it, also after a restart', async () => {
    await shared('users.a');
    const lost = await put(here, 'users.a', 'ours', { if_version: 1 });
    await follow('users.*');
    there.nowMs += 1000;
    await put(there, 'users.a', 'theirs');
    await there.tell(here);
    const live = await session.received(2);
    await here.restart();
    for (const [from, expected] of [
      [lost.token, live],
      [live[0].token, live],
    ]) {
      session = new TestSession();
      await follow('users.*', from);
      const strip = ({ subscription: _, ...event }: Json) => event;
      expect((await session.received(2)).map(strip)).toEqual(expected.map(strip));
    }
  });

  test('is told where it lost against a deletion', async () => {
    await shared('votes.a');
    await follow('votes.*');
    await put(here, 'votes.a', 'ours', { if_version: 1 });
    await there.call('delete', { key: 'votes.a' });
    await there.tell(here);
    const events = await session.received(3);
    expect(types(events)).toEqual(['update', 'superseded', 'delete']);
    expect(events[1].winner).toMatchObject({ deleted: true });
  });

  test('is told where the winner wrote several times before it was heard of', async () => {
    await shared('users.a');
    await put(here, 'users.a', 'ours', { if_version: 1 });
    await follow('users.*');
    await put(there, 'users.a', 'early');
    there.nowMs += 1000;
    await put(there, 'users.a', 'late');
    await there.tell(here);
    const events = await session.received(3);
    expect(events.filter(({ type }) => type === 'superseded')).toHaveLength(1);
    expect(events.at(-1)).toMatchObject({ type: 'update', value: 'late' });
  });

  test('is listed with what it had written and what won, newest first, a page at a time', async () => {
    for (const key of ['users.a', 'users.b', 'votes.c']) {
      await shared(key);
      await put(here, key, `ours ${key}`, { if_version: 1 });
      there.nowMs += 1000;
      await put(there, key, `theirs ${key}`);
      await there.tell(here);
      here.nowMs = there.nowMs;
    }
    const { writes, next } = await page();
    expect(next).toBeUndefined();
    expect(writes.map(({ key }) => key)).toEqual(['votes.c', 'users.b', 'users.a']);
    expect(writes[1]).toMatchObject({
      lost: { value: 'ours users.b' },
      winner: { value: 'theirs users.b', version: 2 },
    });
    const paged: string[] = [];
    for (let before: number | undefined; ; ) {
      const one = await page({ limit: 1, ...(before !== undefined && { before }) });
      paged.push(...one.writes.map(({ key }) => key));
      before = one.next;
      if (before === undefined) break;
    }
    expect(paged).toEqual(['votes.c', 'users.b', 'users.a']);
    const visible = await supersededWrites(here.engine, { limit: 9, isVisible: (name) => name === 'votes' });
    expect(visible.writes.map(({ key }) => key)).toEqual(['votes.c']);
  });
});

describe('nothing is superseded', () => {
  /** What the instance told, after a marker that comes last. */
  async function told(): Promise<string[]> {
    await here.call('put', { key: 'users.marker', value: 1 });
    while (session.events.at(-1)?.key !== 'users.marker') await session.received(session.events.length + 1);
    return types(session.events);
  }

  test('where the write had no condition', async () => {
    await shared('users.a');
    await follow('users.*');
    await put(here, 'users.a', 'ours');
    there.nowMs += 1000;
    await put(there, 'users.a', 'theirs');
    await there.tell(here);
    expect(await told()).not.toContain('superseded');
  });

  test('where the winner had seen it', async () => {
    await shared('users.a');
    await follow('users.*');
    await put(here, 'users.a', 'ours', { if_version: 1 });
    await here.tell(there);
    await put(there, 'users.a', 'theirs', { if_version: 2 });
    await there.tell(here);
    expect((await here.call('get', { key: 'users.a' })).value).toBe('theirs');
    expect(await told()).not.toContain('superseded');
  });

  test('where it won', async () => {
    await shared('users.a');
    await follow('users.*');
    await put(there, 'users.a', 'theirs', { if_version: 1 });
    here.nowMs += 1000;
    await put(here, 'users.a', 'ours', { if_version: 1 });
    await there.tell(here);
    expect((await here.call('get', { key: 'users.a' })).value).toBe('ours');
    expect(await told()).not.toContain('superseded');
  });

  test('where both values are left to the application', async () => {
    await shared('drafts.a');
    await here.call('subscribe', { pattern: 'users.*' }, { session });
    await here.call('subscribe', { pattern: 'drafts.*' }, { session });
    await put(here, 'drafts.a', 'ours', { if_version: 1 });
    await put(there, 'drafts.a', 'theirs', { if_version: 1 });
    await there.tell(here);
    expect((await here.call('get', { key: 'drafts.a' })).siblings).toHaveLength(2);
    expect(await told()).not.toContain('superseded');
    expect((await page()).writes).toEqual([]);
  });
});
