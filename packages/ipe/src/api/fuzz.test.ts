import { connect, type Socket } from 'node:net';
import { IpeError } from '@ipe/core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask, openTestDoor, type TestDoor } from '../testkit/door.ts';
import type { PlaneService } from './method.ts';
import { readParams } from './params.ts';

/** A plane that reads its parameters as the real ones do. */
const service: PlaneService = {
  plane: 'data',
  missing: () => [],
  handlers: {
    get: (params) => ({ key: readParams(params, ['key']).string('key', { maxBytes: 512 }) }),
    put: (params) => {
      const fields = readParams(params, ['key', 'value', 'ttl', 'if_version']);
      fields.optionalNumber('ttl', { min: 0 });
      if (fields.raw('value') === undefined) throw new IpeError('invalid_params', '`value` is missing');
      return { key: fields.string('key'), value: fields.raw('value'), version: 1, etag: 'e' };
    },
    delete: () => ({ version: 1, etag: 'e' }),
    query: () => ({ entries: [], complete: true }),
  },
};

let door: TestDoor;
beforeAll(async () => {
  door = await openTestDoor(service, {
    maxBodyBytes: 50_000,
    maxDepth: 16,
    maxBatch: 50,
  });
});
afterAll(() => door.close());

const runs = Number(process.env['IPE_FUZZ_RUNS'] ?? 250);
const healthy = async () => {
  expect(door.internalErrors).toEqual([]);
  expect((await ask(door.socketPath, { path: '/livez' })).status).toBe(200);
};

const nasty = fc.oneof(
  fc.constantFrom<unknown>(
    '__proto__',
    'constructor',
    'toString',
    '\u0000',
    '\ud800',
    '',
    'a.b',
    '\u202e',
    1e308,
    -0,
    2 ** 53,
    null,
    true,
    [],
    {},
    [[[]]],
  ),
  fc.jsonValue({ maxDepth: 4 }),
);
const envelope = fc.record(
  {
    jsonrpc: fc.oneof({ weight: 8, arbitrary: fc.constant<unknown>('2.0') }, nasty),
    id: fc.oneof(fc.constantFrom<unknown>(1, 'x', null), nasty),
    method: fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom<unknown>('get', 'put', 'delete', 'query', 'subscribe', 'evaluate') },
      nasty,
    ),
    params: fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ key: nasty, value: nasty, ttl: nasty, if_version: nasty }, { requiredKeys: [] }),
      },
      nasty,
    ),
  },
  { requiredKeys: [] },
);

test('JSON-RPC bodies of every shape get an answer, never a crash or an internal error', async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(envelope, fc.array(envelope, { maxLength: 5 }), nasty), async (body) => {
      const answer = await ask(door.socketPath, {
        path: '/rpc',
        token: door.tokens.service,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      expect([200, 204, 400, 413]).toContain(answer.status);
      for (const each of [answer.json].flat()) if (each?.error !== undefined) expect(each.error.code).not.toBe(-32603);
    }),
    { numRuns: runs },
  );
  await healthy();
});

test('bytes damaged anywhere get an answer, as JSON and as MessagePack', async () => {
  const { pack } = await import('msgpackr');
  await fc.assert(
    fc.asyncProperty(
      envelope,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      fc.boolean(),
      async (body, damage, msgpack) => {
        const bytes = Buffer.from(msgpack ? pack(JSON.parse(JSON.stringify(body))) : JSON.stringify(body));
        for (const [at, value] of damage) if (bytes.length > 0) bytes[at % bytes.length] = value;
        const type = msgpack ? 'application/msgpack' : 'application/json';
        const answer = await ask(door.socketPath, {
          path: '/rpc',
          token: door.tokens.service,
          headers: { 'content-type': type },
          body: bytes,
        });
        expect([200, 204, 400, 413]).toContain(answer.status);
      },
    ),
    { numRuns: runs },
  );
  await healthy();
});

test('REST requests with any path, method and headers get an answer', async () => {
  const header = fc.constantFrom(
    'if-match',
    'if-none-match',
    'ipe-ttl',
    'accept',
    'content-type',
    'last-event-id',
    'idempotency-key',
    'x-request-id',
  );
  const text = fc.string({ maxLength: 20 }).map((each) => each.replace(/[^\x20-\x7e]/g, '?'));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'PUT', 'DELETE', 'POST', 'PATCH', 'HEAD', 'OPTIONS'),
      fc.constantFrom('/data/', '/data?', '/events?', '/rpc', '/', '/policies/', '/%'),
      text.map((each) => each.replace(/[ #]/g, '_')),
      fc.dictionary(header, text, { maxKeys: 3 }),
      fc.option(text, { nil: undefined }),
      async (method, base, rest, headers, body) => {
        const answer = await ask(door.socketPath, {
          method,
          path: base + rest,
          token: door.tokens.service,
          headers,
          ...(body === undefined || method === 'GET' || method === 'HEAD' ? {} : { body }),
        });
        expect(answer.status).toBeGreaterThanOrEqual(200);
        expect(answer.status).toBeLessThan(500);
      },
    ),
    { numRuns: runs },
  );
  await healthy();
});

/** Sends bytes on a raw connection and resolves when the server has closed it, or once it has answered. */
function throwAt(bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket: Socket = connect(door.socketPath, () => socket.end(bytes));
    socket.on('data', () => {});
    socket.on('error', () => resolve());
    socket.on('close', () => resolve());
  });
}

test('event-stream frames of every shape, and noise, end in answers or a closed connection', async () => {
  const line = fc.oneof(
    envelope.map((data) => `data: ${JSON.stringify(data)}`),
    fc.constantFrom(
      'event: put',
      'event: get',
      'id: 1',
      ':',
      '',
      '',
      'data',
      'data: {',
      'event',
      'retry: x',
      '\r',
      'data: [[[[[[[[[[[[[[[[[[[[',
    ),
    fc.string({ maxLength: 30 }),
  );
  const head = `POST /stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${door.tokens.service}\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n`;
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 30 }), async (lines) => {
      const body = Buffer.from(lines.join('\n'));
      const chunk = body.length === 0 ? '' : `${body.length.toString(16)}\r\n${body.toString('latin1')}\r\n`;
      await throwAt(Buffer.from(`${head}${chunk}0\r\n\r\n`, 'latin1'));
    }),
    { numRuns: Math.ceil(runs / 2) },
  );
  await healthy();
});

test('noise in place of HTTP closes the connection and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 300 }),
      fc.constantFrom('', 'GET ', 'POST /rpc HTTP/1.1\r\n', 'GET /data/a.b HTTP/1.1\r\nHost: x\r\n\r\n'),
      async (noise, start) => {
        await throwAt(Buffer.concat([Buffer.from(start), noise, Buffer.from('\r\n\r\n')]));
      },
    ),
    { numRuns: Math.ceil(runs / 2) },
  );
  await healthy();
});

test('memory does not grow with requests that are refused', async () => {
  const body = Buffer.from(
    `{"jsonrpc":"2.0","id":1,"method":"put","params":{"key":5,"value":"${'x'.repeat(10_000)}"}}`,
  );
  const flood = async (count: number) => {
    for (let i = 0; i < count; i++) await ask(door.socketPath, { path: '/rpc', token: door.tokens.service, body });
  };
  await flood(200);
  door.calls.length = 0;
  const before = process.memoryUsage();
  await flood(600);
  door.calls.length = 0;
  const after = process.memoryUsage();
  expect(after.external - before.external).toBeLessThan(10_000_000);
  expect(door.server.underWay).toBe(0);
});
