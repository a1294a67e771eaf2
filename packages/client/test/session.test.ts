import { afterEach, expect, test } from 'vitest';
import { createClient } from '../src/index.ts';
import { type Connection, startTestServer, type TestHandler, WireError } from './support/server.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve(handlers: Record<string, TestHandler>) {
  const server = await startTestServer(handlers);
  const client = createClient({ socket: server.socket, retries: 0 });
  cleanups.push(server.close, () => client.close());
  return { server, client };
}

test('a session answers a thousand calls under way at once, each with its own result, in the order made', async () => {
  const seen: number[] = [];
  const { client } = await serve({
    put: ({ value }: { value: number }) => {
      seen.push(value);
      return { version: value };
    },
  });
  const session = await client.session({ maxInFlight: 16 });
  const results = await Promise.all(Array.from({ length: 1000 }, (_, index) => session.data.put('a.b', index)));
  expect(results.map(({ version }) => version)).toEqual(Array.from({ length: 1000 }, (_, index) => index));
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  await session.close();
});

test('an error of one call leaves the session working', async () => {
  const { client } = await serve({
    get: ({ key }: { key: string }) => {
      if (key === 'a.bad') throw new WireError('invalid_params');
      return { key };
    },
  });
  const session = await client.session();
  const [good, bad] = await Promise.allSettled([session.data.get('a.good'), session.data.get('a.bad')]);
  expect(good).toMatchObject({ value: { key: 'a.good' } });
  expect(bad).toMatchObject({ reason: { reason: 'invalid_params' } });
  expect(await session.data.get('a.again')).toEqual({ key: 'a.again' });
});

test('when the connection breaks, what is outstanding has an unknown outcome and what follows is refused', async () => {
  const { client } = await serve({ put: (_params, connection) => connection.cut() });
  const session = await client.session();
  await expect(session.data.put('a.b', 1)).rejects.toMatchObject({ reason: 'connection', state: 'unknown' });
  await session.ended;
  await expect(session.data.put('a.b', 2)).rejects.toMatchObject({ reason: 'closed', state: 'unchanged' });
});

test('a call given up by its signal does not disturb the answers of others', async () => {
  let release: () => void = () => {};
  let started: () => void = () => {};
  const underWay = new Promise<void>((resolve) => {
    started = resolve;
  });
  const { client } = await serve({
    get: ({ key }: { key: string }) => {
      if (key !== 'a.slow') return { key };
      started();
      return new Promise<void>((resolve) => {
        release = resolve;
      });
    },
  });
  const session = await client.session();
  const stop = new AbortController();
  const slow = session.data.get('a.slow', { signal: stop.signal });
  const fast = session.data.get('a.fast');
  await underWay;
  stop.abort();
  await expect(slow).rejects.toMatchObject({ reason: 'aborted' });
  release();
  expect(await fast).toEqual({ key: 'a.fast' });
});

test('a subscription delivers in order and resumes behind the last event after the connection broke', async () => {
  const starts: unknown[] = [];
  const { client } = await serve({
    subscribe: (params: { from?: string }, connection: Connection) => {
      starts.push(params);
      const from = Number(params.from ?? 0);
      for (let index = from + 1; index <= from + 2; index++)
        connection.notify('data-changed', { type: 'update', key: 'a.b', value: index, token: String(index) });
      setImmediate(() => connection.cut());
      return { subscription: 's' };
    },
  });
  const values: unknown[] = [];
  for await (const event of client.data.watch('a.*', { include_existing: true })) {
    values.push(event.value);
    if (values.length === 5) break;
  }
  expect(values.slice(0, 4)).toEqual([1, 2, 3, 4]);
  expect(starts.slice(0, 2)).toEqual([
    { pattern: 'a.*', include_existing: true },
    { pattern: 'a.*', include_existing: false, from: '2' },
  ]);
});

test('a subscription that is refused throws the reason', async () => {
  const { client } = await serve({
    subscribe: () => {
      throw new WireError('forbidden');
    },
  });
  await expect(client.data.watch('a.*').next()).rejects.toMatchObject({ reason: 'forbidden' });
});

test('a subscription of a client that is closed ends with `closed`, and does not try for ever', async () => {
  let subscribed: () => void = () => {};
  const underWay = new Promise<void>((resolve) => {
    subscribed = resolve;
  });
  const { client } = await serve({
    subscribe: () => {
      subscribed();
      return {};
    },
  });
  const next = client.data.watch('a.*').next();
  await underWay;
  client.close();
  await expect(next).rejects.toMatchObject({ reason: 'closed' });
});

test('a reader that stops reading holds the server back', async () => {
  const { client, server } = await serve({ subscribe: () => ({ subscription: 's' }) });
  const stop = new AbortController();
  const events = client.data.watch('a.*', { signal: stop.signal });
  const first = events.next();
  while (server.sessions.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const value = 'x'.repeat(64 * 1024);
  let sent = 0;
  while (server.sessions[0]!.notify('data-changed', { type: 'update', key: 'a.b', value, token: `${sent}` })) {
    await new Promise((resolve) => setImmediate(resolve));
    if (++sent > 1000) throw new Error('the server was never held back');
  }
  expect((await first).value).toMatchObject({ token: '0' });
  stop.abort();
  expect((await events.next()).done).toBe(true);
});

test('aborting ends the iteration without an error', async () => {
  const { client } = await serve({ subscribe: () => ({ subscription: 's' }) });
  const stop = new AbortController();
  const next = client.data.watch('a.*', { signal: stop.signal }).next();
  stop.abort();
  expect((await next).done).toBe(true);
});
