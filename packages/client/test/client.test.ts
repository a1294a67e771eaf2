import { afterEach, expect, test } from 'vitest';
import { createClient, type IpeClientError, isIpeClientError } from '../src/index.ts';
import { startTestServer, type TestHandler, type TestServer, WireError } from './support/server.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve(handlers: Record<string, TestHandler>, options: { retries?: number; timeoutMs?: number } = {}) {
  const server: TestServer = await startTestServer(handlers);
  const client = createClient({ socket: server.socket, token: 'secret', ...options });
  cleanups.push(server.close, () => client.close());
  return { server, client };
}

async function failure(promise: Promise<unknown>): Promise<IpeClientError> {
  const error = await promise.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!isIpeClientError(error)) throw new Error(`expected an IpeClientError, got ${String(error)}`);
  return error;
}

test('a call sends JSON-RPC with the token and resolves with the result', async () => {
  const { server, client } = await serve({ put: ({ key }: { key: string }) => ({ key, version: 1 }) });
  expect(await client.data.put('approvals.d1', { required: 2 }, { ttl: 60 })).toEqual({
    key: 'approvals.d1',
    version: 1,
  });
  expect(server.requests[0]).toMatchObject({
    method: 'put',
    params: { key: 'approvals.d1', value: { required: 2 }, ttl: 60 },
    headers: { authorization: 'Bearer secret' },
  });
});

test('bytes travel as base64', async () => {
  const { server, client } = await serve({ put: () => ({}) });
  await client.data.put('files.a', new Uint8Array([1, 2, 255]));
  expect(server.requests[0]?.params).toEqual({ key: 'files.a', value_base64: 'AQL/' });
});

test('an error carries reason, state and details of the server', async () => {
  const { client } = await serve({
    put: () => {
      throw new WireError('conflict', { current: { version: 4 } });
    },
  });
  const error = await failure(client.data.put('a.b', 1, { if_version: 3 }));
  expect(error).toMatchObject({ reason: 'conflict', state: 'unchanged', details: { current: { version: 4 } } });
});

test('what the server says will pass is tried again, and what will not is not', async () => {
  let calls = 0;
  const { client } = await serve({
    get: () => {
      if (++calls < 3) throw new WireError('rate_limited', { retry_after: 0 });
      return null;
    },
    delete: () => {
      calls += 100;
      throw new WireError('forbidden');
    },
  });
  expect(await client.data.get('a.b')).toBeNull();
  expect(calls).toBe(3);
  expect((await failure(client.data.delete('a.b'))).reason).toBe('forbidden');
  expect(calls).toBe(103);
});

test('a write whose outcome is unknown is repeated only when it carries a request_id', async () => {
  let calls = 0;
  const { client } = await serve({
    put: (_params, connection) => {
      calls++;
      connection.cut();
    },
  });
  expect(await failure(client.data.put('a.b', 1))).toMatchObject({ reason: 'connection', state: 'unknown' });
  expect(calls).toBe(1);
  await failure(client.data.put('a.b', 1, { request_id: 'once' }));
  expect(calls).toBe(4);
});

test('a socket that nobody serves is named, and nothing happened', async () => {
  const client = createClient({ socket: '/nonexistent/data.sock', retries: 0 });
  expect(await failure(client.data.get('a.b'))).toMatchObject({
    reason: 'connection',
    state: 'unchanged',
    message: 'no node is running: there is no socket at /nonexistent/data.sock',
  });
});

test('a call ends at its time limit and on its signal', async () => {
  const { client } = await serve({ get: () => new Promise(() => {}) });
  expect((await failure(client.data.get('a.b', { timeoutMs: 20 }))).reason).toBe('timeout');
  const stop = new AbortController();
  const waiting = failure(client.data.get('a.b', { signal: stop.signal }));
  stop.abort();
  expect((await waiting).reason).toBe('aborted');
  expect((await failure(client.data.get('a.b', { signal: AbortSignal.abort() }))).reason).toBe('aborted');
});

test('closing the client rejects what is under way and what comes after', async () => {
  const { client, server } = await serve({ get: () => new Promise(() => {}) });
  const waiting = failure(client.data.get('a.b'));
  while (server.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  client.close();
  expect((await waiting).reason).toBe('closed');
  expect((await failure(client.data.get('a.b'))).reason).toBe('closed');
});

test('an answer that is not the protocol is reported as such', async () => {
  const { client } = await serve({ 'POST /access/v1/evaluation': () => 'nonsense' });
  expect(await client.evaluation.isAllowed(request)).toBe(false);
  const wrong = createClient({ url: 'http://127.0.0.1:1', retries: 0 });
  expect((await failure(wrong.data.get('a.b'))).reason).toBe('connection');
});

const request = {
  subject: { type: 'user', id: 'alice' },
  action: { name: 'deploy' },
  resource: { type: 'deployment', id: 'd1' },
};

test('AuthZEN answers a boolean, and a problem document becomes an error', async () => {
  let refuse = false;
  const { client } = await serve({
    'POST /access/v1/evaluation': () => {
      if (refuse) throw new WireError('evaluation_error');
      return { decision: true };
    },
  });
  expect(await client.evaluation.isAllowed(request)).toBe(true);
  refuse = true;
  expect((await failure(client.evaluation.isAllowed(request))).reason).toBe('evaluation_error');
});

test('a query reads page after page', async () => {
  const { client } = await serve({
    query: ({ cursor }: { cursor?: string }) =>
      cursor === undefined
        ? { entries: [{ key: 'a.1' }, { key: 'a.2' }], cursor: 'next', complete: true }
        : { entries: [{ key: 'a.3' }], complete: true },
  });
  const keys: string[] = [];
  for await (const entry of client.data.query('a.*')) keys.push(entry.key);
  expect(keys).toEqual(['a.1', 'a.2', 'a.3']);
});

test('options that make no sense are refused by name', () => {
  expect(() => createClient({})).toThrow('give `socket` or `url`');
  expect(() => createClient({ url: 'ftp://x' })).toThrow('`url` must start with');
  expect(() => createClient({ socket: 'x', retries: -1 })).toThrow('`retries`');
});
