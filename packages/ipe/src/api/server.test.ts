import { connect } from 'node:net';
import { IpeError } from '@ipe/core';
import { pack, unpack } from 'msgpackr';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ask, openTestDoor, rpc, type TestDoor } from '../testkit/door.ts';
import { TestSession } from '../testkit/session.ts';
import type { CallContext, PlaneService } from './method.ts';

/** A data plane over a plain map: the door is what is tested here. */
function fakeData(): PlaneService & {
  entries: Map<string, { value: unknown; version: number }>;
  release: (() => void)[];
} {
  const entries = new Map<string, { value: unknown; version: number }>();
  const release: (() => void)[] = [];
  const shown = (key: string) => {
    const entry = entries.get(key);
    return entry === undefined ? null : { key, ...entry, etag: `e${entry.version}`, created_at: 1, updated_at: 2 };
  };
  return {
    plane: 'data',
    entries,
    release,
    missing: () => [],
    handlers: {
      get: (params) => shown((params as { key: string }).key),
      put: (params) => {
        const { key, value, if_version, if_match } = params as {
          key: string;
          value: unknown;
          if_version?: number;
          if_match?: string;
        };
        const current = shown(key);
        const wrongVersion = if_version !== undefined && if_version !== (current?.version ?? 0);
        if (wrongVersion || (if_match !== undefined && if_match !== current?.etag))
          throw new IpeError('conflict', 'the entry has changed', { details: { current } });
        entries.set(key, { value, version: (current?.version ?? 0) + 1 });
        return { ...shown(key), token: 't', ...(current === null && { created: true }) };
      },
      delete: (params) => {
        const { key } = params as { key: string };
        entries.delete(key);
        return { key, version: 9, etag: 'e9', tombstone: true };
      },
      query: () => ({ entries: [...entries.keys()].map(shown), complete: true }),
      stats: () => new Promise((resolve) => release.push(() => resolve({ slow: true }))),
      history: () => {
        throw new TypeError('a bug');
      },
      'batch-get': () => ({ deep: 10n }),
      subscribe: (params, { session }: CallContext) => {
        const { from } = params as { from?: string };
        void (async () => {
          for (let n = Number(from ?? 0) + 1; n <= 3; n++) await session!.notify('data-changed', { n }, String(n));
        })().catch(() => undefined);
        return { subscription: 's1' };
      },
    },
  };
}

let service: ReturnType<typeof fakeData>;
let door: TestDoor;
beforeEach(async () => {
  service = fakeData();
  door = await openTestDoor(service, {
    maxBodyBytes: 100_000,
    maxDepth: 32,
    maxBatch: 20,
  });
});
afterEach(() => door.close());

const call = (method: string, params?: unknown, token = door.tokens.service) =>
  rpc(door.socketPath, token, method, params);
const post = (body: string | Uint8Array, headers: Record<string, string> = { 'content-type': 'application/json' }) =>
  ask(door.socketPath, { path: '/rpc', token: door.tokens.service, body, headers });
const rest = (
  method: string,
  path: string,
  options: { body?: string; headers?: Record<string, string>; token?: string } = {},
) => ask(door.socketPath, { method, path, token: door.tokens.service, ...options });

describe('JSON-RPC', () => {
  test('a request is answered with its id, and X-Request-ID is echoed', async () => {
    const answer = await ask(door.socketPath, {
      path: '/rpc',
      token: door.tokens.service,
      headers: { 'content-type': 'application/json; charset=utf-8', 'x-request-id': 'r-1' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 'a', method: 'put', params: { key: 'a.b', value: 1 } }),
    });
    expect(answer.json).toMatchObject({ jsonrpc: '2.0', id: 'a', result: { version: 1 } });
    expect(answer.headers['x-request-id']).toBe('r-1');
  });

  test('a batch is answered in order, without its notifications; a batch of notifications gets nothing', async () => {
    const put = (id: number | undefined, key: string) => ({
      jsonrpc: '2.0',
      ...(id === undefined ? {} : { id }),
      method: 'put',
      params: { key, value: id ?? 0 },
    });
    const answer = await post(
      JSON.stringify([
        put(1, 'a.a'),
        put(undefined, 'a.b'),
        put(2, 'a.c'),
        7,
        { jsonrpc: '2.0', id: 3, method: 'gett' },
      ]),
    );
    expect(answer.json.map((each: { id: unknown; error?: { code: number } }) => [each.id, each.error?.code])).toEqual([
      [1, undefined],
      [2, undefined],
      [null, -32600],
      [3, -32601],
    ]);
    expect(service.entries.size).toBe(3);
    const silent = await post(JSON.stringify([put(undefined, 'a.d')]));
    expect([silent.status, silent.text]).toEqual([204, '']);
  });

  test('an unknown method names the nearest, one of another plane names the plane', async () => {
    expect((await call('putt')).json.error).toMatchObject({ code: -32601, message: expect.stringContaining('`put`') });
    expect((await call('evaluate')).json.error.message).toContain('evaluation plane');
    expect((await call('constructor')).json.error.code).toBe(-32601);
    expect((await call('transaction')).json.error.code).toBe(-32601);
  });

  test('subscribe is refused, and says where it can be asked', async () => {
    expect((await call('subscribe', { pattern: 'a.*' })).json.error).toMatchObject({
      code: -32600,
      message: expect.stringContaining('/stream'),
    });
  });

  test('MessagePack is answered in MessagePack, bytes become value_base64', async () => {
    const answer = await post(
      pack({ jsonrpc: '2.0', id: 1, method: 'put', params: { key: 'a.b', value: Buffer.from('hi') } }),
      { 'content-type': 'application/msgpack' },
    );
    expect(answer.headers['content-type']).toBe('application/msgpack');
    expect(unpack(answer.bytes)).toMatchObject({ id: 1, result: { version: 1 } });
  });

  test('a bug is answered as internal with an id, and logged; results that are not JSON are bugs', async () => {
    expect((await call('history', { key: 'a.b' })).json.error).toMatchObject({
      code: -32603,
      data: { reason: 'internal', state: 'unknown' },
    });
    expect(String(door.internalErrors[0])).toContain('a bug');
    expect((await call('batch-get')).json.error.code).toBe(-32603);
  });
});

describe('bad input gets its error and changes nothing', () => {
  test.each([
    ['not JSON', '{"jsonrpc": ', 400, -32700],
    ['empty', '', 400, -32700],
    ['not UTF-8', Buffer.from([0x22, 0xff, 0x22]), 400, -32700],
    ['nested 10,000 deep', '['.repeat(10_000), 413, -32006],
    [
      '10,000 deep inside a value',
      `{"jsonrpc":"2.0","id":1,"method":"put","params":{"key":"a.b","value":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}}`,
      413,
      -32006,
    ],
    ['over the size', `"${'x'.repeat(200_000)}"`, 413, -32006],
    ['a text', '"put"', 200, -32600],
    ['null', 'null', 200, -32600],
    ['an empty batch', '[]', 200, -32600],
    ['a batch over the limit', `[${Array(21).fill('{}').join()}]`, 200, -32006],
    ['no version', '{"id":1,"method":"put"}', 200, -32600],
    ['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"put"}', 200, -32600],
    ['a method that is a number', '{"jsonrpc":"2.0","id":1,"method":5}', 200, -32600],
    ['positional params', '{"jsonrpc":"2.0","id":1,"method":"put","params":["a.b",1]}', 200, -32602],
    ['params that are a text', '{"jsonrpc":"2.0","id":1,"method":"put","params":"x"}', 200, -32602],
    [
      '__proto__',
      '{"jsonrpc":"2.0","id":1,"method":"put","params":{"key":"a.b","value":{"__proto__":{"x":1}}}}',
      400,
      -32600,
    ],
    [
      'escaped __proto__',
      '{"jsonrpc":"2.0","id":1,"method":"put","params":{"key":"a.b","value":{"\\u005f_proto__":1}}}',
      400,
      -32600,
    ],
  ])('%s', async (_, body, status, code) => {
    const answer = await post(body);
    expect([answer.status, answer.json.error.code]).toEqual([status, code]);
    expect(answer.json.error.data.state).toBe('unchanged');
    expect(service.entries.size).toBe(0);
    expect(door.internalErrors).toEqual([]);
  });

  test.each([
    ['cut off', Buffer.from([0x82, 0xa1])],
    ['a length of four billion', Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])],
    ['a map length of four billion', Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, 0x61])],
    ['trailing bytes', Buffer.from([0xc0, 0xc0])],
    ['an extension', Buffer.from([0xd4, 0x72, 0x40])],
    ['a name that is a number', Buffer.from([0x81, 0x01, 0x01])],
    ['NaN', Buffer.from([0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0])],
    ['__proto__', Buffer.concat([Buffer.from([0x81, 0xa9]), Buffer.from('__proto__'), Buffer.from([0x80])])],
    ['bytes in a wrong place', Buffer.from([0xc4, 1, 0])],
    ['nested 10,000 deep', Buffer.alloc(10_000, 0x91)],
    ['nothing', Buffer.alloc(0)],
  ])('MessagePack: %s', async (_, body) => {
    const answer = await post(body, { 'content-type': 'application/msgpack' });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(door.internalErrors).toEqual([]);
  });

  test('another media type is refused', async () => {
    expect((await post('{}', { 'content-type': 'text/plain' })).json.error.code).toBe(-32600);
  });

  test('a path nothing answers on is not found', async () => {
    const answer = await rest('GET', '/nope?x=1');
    expect([answer.status, answer.json.reason ?? answer.json.error.data.reason]).toEqual([404, 'method_not_found']);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect((await rest('GET', '/data/%zz')).status).toBe(404);
  });
});

describe('credentials', () => {
  test.each([
    ['none', undefined],
    ['another scheme', 'Basic YTpi'],
    ['a made-up token', `Bearer ipe_service_${'0'.repeat(16)}_${'a'.repeat(43)}`],
    ['an empty one', 'Bearer '],
    ['a long one', `Bearer ${'x'.repeat(5000)}`],
  ])('%s is unauthenticated', async (_, authorization) => {
    const headers = { 'content-type': 'application/json', ...(authorization === undefined ? {} : { authorization }) };
    const answer = await ask(door.socketPath, { path: '/rpc', headers, body: '{}' });
    expect([answer.status, answer.json.error.code]).toEqual([401, -32003]);
    expect(answer.headers['www-authenticate']).toContain('Bearer');
  });

  test('the wrong kind of token is forbidden, on every way in', async () => {
    expect((await call('put', { key: 'a.b', value: 1 }, door.tokens.application)).json.error).toMatchObject({
      code: -32004,
      data: { reason: 'forbidden', state: 'unchanged' },
    });
    expect((await rest('PUT', '/data/a.b', { body: '1', token: door.tokens.application })).status).toBe(403);
    const session = new TestSession(door.socketPath, { token: door.tokens.application });
    session.send('put', '1', { params: { key: 'a.b', value: 1 } });
    expect(await session.next()).toMatchObject({ event: 'error', id: '1', data: { error: { code: -32004 } } });
    session.close();
    expect(service.entries.size).toBe(0);
  });

  test('a revoked token stops at once, open sessions included', async () => {
    const session = new TestSession(door.socketPath, { token: door.tokens.service });
    session.send('put', '1', { params: { key: 'a.b', value: 1 } });
    expect((await session.next())?.event).toBe('result');
    door.registry.replace(door.records.filter(({ kind }) => kind !== 'service'));
    expect(await session.next()).toMatchObject({ event: 'error', data: { error: { code: -32003 } } });
    expect(await session.next()).toBeUndefined();
    expect((await call('get', { key: 'a.b' })).status).toBe(401);
  });

  test('an expired token is unauthenticated', async () => {
    const token = door.issue({ kind: 'service', name: 'late', expires_at: Date.now() / 1000 - 1 });
    expect((await call('get', { key: 'a.b' }, token)).json.error.message).toContain('expired');
  });

  test('too many requests a second are rate limited by token, with the time to wait', async () => {
    const limited = await openTestDoor(fakeData(), { requestsPerSecond: 2 });
    const get = () => rpc(limited.socketPath, limited.tokens.service, 'get', { key: 'a.b' });
    const answers = await Promise.all(Array.from({ length: 40 }, get));
    expect(answers.map(({ status }) => status)).toContain(429);
    const refused = answers.find(({ status }) => status === 429)!;
    expect(refused.json.error.data.retry_after).toBeGreaterThan(0);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect((await rpc(limited.socketPath, limited.tokens.admin, 'get', { key: 'a.b' })).status).toBe(200);
    await limited.close();
  });
});

describe('REST', () => {
  test('an entry is created, replaced, read with its tags, and deleted', async () => {
    const created = await rest('PUT', '/data/users.alice%40example.com', {
      body: '{"a":1}',
      headers: { 'content-type': 'application/json' },
    });
    expect([created.status, created.headers['etag'], created.headers['ipe-version']]).toEqual([201, '"e1"', '1']);
    expect((await rest('PUT', '/data/users.alice%40example.com', { body: '2' })).status).toBe(200);
    const read = await rest('GET', '/data/users.alice@example.com');
    expect([read.status, read.json, read.headers['etag']]).toEqual([200, 2, '"e2"']);
    expect((await rest('GET', '/data/users.alice@example.com', { headers: { 'if-none-match': '"e2"' } })).status).toBe(
      304,
    );
    expect((await rest('DELETE', '/data/users.alice@example.com')).status).toBe(204);
    expect((await rest('GET', '/data/users.alice@example.com')).status).toBe(404);
  });

  test('a failed condition is 412 with the current entry', async () => {
    await rest('PUT', '/data/a.b', { body: '1' });
    for (const headers of [{ 'if-none-match': '*' }, { 'if-match': '"other"' }]) {
      const answer = await rest('PUT', '/data/a.b', { body: '2', headers });
      expect([answer.status, answer.json.error.code, answer.json.error.data.current.value]).toEqual([412, -32005, 1]);
    }
    expect((await rest('PUT', '/data/a.b', { body: '3', headers: { 'if-match': '"e1"' } })).status).toBe(200);
  });

  test.each([
    [{ 'ipe-ttl': 'soon' }, 'IPE-TTL'],
    [{ 'if-match': 'a', 'if-none-match': '*' }, 'If-Match'],
    [{ 'if-match': '"a", "b"' }, 'If-Match'],
    [{ 'if-none-match': '"a"' }, 'If-None-Match'],
  ])('%j is refused by name', async (headers, field) => {
    const answer = await rest('PUT', '/data/a.b', { body: '1', headers: headers as unknown as Record<string, string> });
    expect([answer.status, answer.json.error.data.field]).toEqual([400, field]);
    expect(service.entries.size).toBe(0);
  });

  test('health answers without a token', async () => {
    for (const path of ['/livez', '/readyz', '/healthz'])
      expect((await ask(door.socketPath, { path })).status).toBe(200);
    const notReady = await openTestDoor({ ...fakeData(), missing: () => ['the store is loading'] });
    expect((await ask(notReady.socketPath, { path: '/livez' })).status).toBe(200);
    const ready = await ask(notReady.socketPath, { path: '/readyz' });
    expect([ready.status, ready.json.missing]).toEqual([503, ['the store is loading']]);
    await notReady.close();
  });
});

describe('event-stream sessions', () => {
  test('requests are begun as they come and answered in order', async () => {
    const session = new TestSession(door.socketPath, { token: door.tokens.service });
    session.send('stats', 'slow', {});
    session.send('put', 'fast', { method: 'put', params: { key: 'a.b', value: 1 } });
    while (service.entries.size === 0 || service.release.length === 0) await new Promise(setImmediate);
    service.release[0]!();
    expect(await session.next()).toMatchObject({ event: 'result', id: 'slow', data: { result: { slow: true } } });
    expect(await session.next()).toMatchObject({ event: 'result', id: 'fast', data: { result: { version: 1 } } });
    session.close();
  });

  test('bad frames are answered one by one and the session goes on', async () => {
    const session = new TestSession(door.socketPath, { token: door.tokens.service });
    session.request.write('event: put\nid: 1\ndata: {"params"\n\n');
    session.request.write(`event: put\r\nid: 2\r\ndata: ${'['.repeat(100)}\r\n\r\n`);
    session.request.write('id: 3\ndata: {}\n\n: comment\n\nevent: get\nid: 4\ndata: {"method":"put"}\n\n');
    session.send('get', '5', { params: { key: 'a.b' } });
    const frames = [];
    for (let i = 0; i < 5; i++) frames.push(await session.next());
    expect(frames.map((frame) => [frame?.id, frame?.event, frame?.data.error?.code])).toEqual([
      ['1', 'error', -32700],
      ['2', 'error', -32006],
      ['3', 'error', -32600],
      ['4', 'error', -32600],
      ['5', 'result', undefined],
    ]);
    session.close();
  });

  test('a frame over the limit ends the session with its error', async () => {
    const session = new TestSession(door.socketPath, { token: door.tokens.service });
    session.request.write(`event: put\ndata: ${'x'.repeat(200_000)}`);
    expect(await session.next()).toMatchObject({ event: 'error', data: { error: { code: -32006 } } });
    expect(await session.next()).toBeUndefined();
  });

  test('the answer to subscribe comes before its notifications', async () => {
    const session = new TestSession(door.socketPath, { token: door.tokens.service });
    session.send('subscribe', '1', { params: { pattern: 'a.*' } });
    expect(await session.next()).toMatchObject({ event: 'result', id: '1', data: { result: { subscription: 's1' } } });
    expect(await session.next()).toMatchObject({
      event: 'data-changed',
      data: { method: 'notification', params: { n: 1 } },
    });
    session.close();
  });

  test('a session whose input ends is ended once all is answered', async () => {
    const session = new TestSession(door.socketPath, { token: door.tokens.service });
    for (let i = 0; i < 50; i++) session.send('put', String(i), { params: { key: `a.k${i}`, value: i } });
    session.request.end();
    for (let i = 0; i < 50; i++) expect((await session.next())?.id).toBe(String(i));
    expect(await session.next()).toBeUndefined();
  });

  test('GET /events gives the events with their tokens as ids, and resumes after the last', async () => {
    const events = new TestSession(door.socketPath, {
      token: door.tokens.service,
      method: 'GET',
      path: '/events?pattern=a.*',
      headers: { 'last-event-id': '1' },
    });
    expect(await events.next()).toMatchObject({ event: 'data-changed', id: '2', data: { params: { n: 2 } } });
    expect(await events.next()).toMatchObject({ id: '3' });
    events.close();
  });

  test('draining answers what was begun, ends sessions and refuses what is new', async () => {
    const session = new TestSession(door.socketPath, { token: door.tokens.service });
    session.send('stats', '1', {});
    while (service.release.length === 0) await new Promise(setImmediate);
    const drained = door.server.drain();
    expect((await call('get', { key: 'a.b' })).json.error).toMatchObject({ code: -32008 });
    service.release[0]!();
    expect((await session.next())?.id).toBe('1');
    expect(await session.next()).toBeUndefined();
    await drained;
    expect(door.server.underWay).toBe(0);
  });
});

describe('slow clients', () => {
  const raw = (text: string, { socketPath } = door) =>
    new Promise<string>((resolve) => {
      const socket = connect(socketPath, () => socket.write(text));
      let got = '';
      socket.on('data', (chunk) => (got += String(chunk)));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(got));
    });

  test('a head that does not come is given up', async () => {
    const impatient = await openTestDoor(service, { headerTimeoutMs: 100 });
    expect(await raw('POST /rpc HTT', impatient)).toContain('did not arrive');
    await impatient.close();
  });

  test('a body that does not come is given up', async () => {
    const impatient = await openTestDoor(service, { bodyTimeoutMs: 100 });
    const head = `POST /rpc HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${impatient.tokens.service}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a"`;
    const got = await raw(head, impatient);
    expect(got).toContain('HTTP/1.1 400');
    expect(got).toContain('did not arrive');
    await impatient.close();
  });

  test('what is not HTTP is told so', async () => {
    expect(await raw('hello there\r\n\r\n')).toContain('not an HTTP request');
  });

  test('a head over the limit is too large', async () => {
    expect(await raw(`GET /livez HTTP/1.1\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`)).toContain('too_large');
  });

  test('a subscriber that does not read holds its writer back, and is cut off in the end', async () => {
    let sent = 0;
    let ended: unknown;
    const flooding: PlaneService = {
      ...fakeData(),
      handlers: {
        subscribe: (_, { session }) => {
          void (async () => {
            try {
              for (;;) {
                await session!.notify('data-changed', { text: 'x'.repeat(10_000) });
                sent++;
              }
            } catch (error) {
              ended = error;
            }
          })();
          return { subscription: 's' };
        },
      },
    };
    const small = await openTestDoor(flooding, { stallTimeoutMs: 200 });
    const frame = 'event: subscribe\nid: 1\ndata: {}\n\n';
    const socket = connect(small.socketPath);
    socket.pause();
    socket.on('error', () => undefined);
    socket.write(
      `POST /stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${small.tokens.service}\r\nTransfer-Encoding: chunked\r\n\r\n${frame.length.toString(16)}\r\n${frame}\r\n`,
    );
    while (ended === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(ended).toMatchObject({ reason: 'unavailable' });
    // What the kernel's buffers and the outbox hold, and no more.
    expect(sent * 10_000).toBeLessThan(4_000_000);
    socket.destroy();
    await small.close();
  });

  test('connections beyond the limit are told to come back', async () => {
    const small = await openTestDoor(fakeData(), { maxConnections: 1 });
    const first = connect(small.socketPath);
    await new Promise((resolve) => first.once('connect', resolve));
    const answer = await ask(small.socketPath, { path: '/livez' });
    expect([answer.status, answer.json.error.code]).toEqual([503, -32008]);
    first.destroy();
    await small.close();
  });
});
