import { decodeMsgpack, encodeMsgpack } from '../api/msgpack.ts';
import type { Json } from './data-node.ts';
import { type Answer, ask, type TestDoor } from './door.ts';
import { TestSession } from './session.ts';

/** A call that was refused, the same whatever way it went. */
export class Refused extends Error {
  readonly code: number;
  readonly reason: string;
  readonly data: Json;
  /** HTTP status, where the way has one for each call. */
  readonly status: number | undefined;

  constructor({ code, message, data }: Json, status?: number) {
    super(message);
    this.code = code;
    this.reason = data.reason;
    this.data = data;
    this.status = status;
  }
}

/** One of the ways into the data plane. Every call resolves with the method's result or rejects with `Refused`. */
export interface WayIn {
  /** The methods it has a form for. */
  readonly methods: 'all' | readonly string[];
  call(method: string, params: Json): Promise<Json>;
  /** Subscribes and takes so many notifications, which must come while `meanwhile` runs. */
  follow?(params: Json, count: number, meanwhile: () => Promise<unknown>): Promise<readonly Json[]>;
  close(): void;
}

/** Every way into the data plane (API.md, transport), by name. */
export const waysIn: Readonly<Record<string, (door: TestDoor) => WayIn>> = {
  'JSON-RPC': (door) => rpcWay(door, 'application/json', JSON.stringify, ({ text }) => JSON.parse(text)),
  MessagePack: (door) =>
    rpcWay(
      door,
      'application/msgpack',
      (value) => Buffer.from(encodeMsgpack(value)),
      ({ bytes }) => decodeMsgpack(bytes, 64),
    ),
  'an event stream': streamWay,
  REST: restWay,
};

function rpcWay(
  { socketPath, tokens }: TestDoor,
  type: string,
  encode: (value: Json) => string | Uint8Array,
  decode: (answer: Answer) => Json,
): WayIn {
  const headers = { 'content-type': type, accept: type };
  return {
    methods: 'all',
    call: async (method, params) => {
      const body = encode({ jsonrpc: '2.0', id: 'x', method, params });
      const { error, result } = decode(await ask(socketPath, { path: '/rpc', token: tokens.service, headers, body }));
      if (error !== undefined) throw new Refused(error);
      return result;
    },
    close: () => {},
  };
}

function streamWay({ socketPath, tokens }: TestDoor): WayIn {
  const session = new TestSession(socketPath, { token: tokens.service });
  const events: Json[] = [];
  let id = 0;
  let lastAnswer: Promise<unknown> = Promise.resolve();
  const next = async () => {
    const frame = await session.next();
    if (frame === undefined) throw new Error('the session ended');
    return frame;
  };
  // Answers come in the order of the calls: each waits for the one before to have read its own.
  const call = (method: string, params: Json): Promise<Json> => {
    session.send(method, String(++id), { method, params });
    const answer = lastAnswer.then(async () => {
      for (;;) {
        const { event, data } = await next();
        if (event === 'result') return data.result;
        if (event === 'error') throw new Refused(data.error);
        events.push(data.params);
      }
    });
    lastAnswer = answer.catch(() => {});
    return answer;
  };
  return {
    methods: 'all',
    call,
    follow: async (params, count, meanwhile) => {
      events.length = 0;
      const { subscription } = await call('subscribe', params);
      await meanwhile();
      await lastAnswer;
      while (events.length < count) events.push((await next()).data.params);
      await call('unsubscribe', { subscription });
      return events.slice(0, count);
    },
    close: () => session.close(),
  };
}

const restMethods = ['get', 'put', 'delete', 'query', 'subscribe'];

function restWay({ socketPath, tokens }: TestDoor): WayIn {
  const send = async (
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body?: string | Uint8Array,
  ) => {
    const answer = await ask(socketPath, {
      method,
      path,
      token: tokens.service,
      headers,
      ...(body !== undefined && { body }),
    });
    if (answer.status >= 400) throw new Refused(answer.json.error, answer.status);
    return answer;
  };
  const at = (key: string) => `/data/${encodeURIComponent(key)}`;
  const calls: Readonly<Record<string, (params: Json) => Promise<Json>>> = {
    put: async ({ key, value, value_base64, ttl, request_id, ack, ...conditions }) => {
      const headers = {
        'content-type': value_base64 === undefined ? 'application/json' : 'application/octet-stream',
        ...(ttl !== undefined && { 'ipe-ttl': String(ttl) }),
        ...(request_id !== undefined && { 'idempotency-key': request_id }),
        ...(ack !== undefined && { 'ipe-ack': ack }),
        ...conditionHeaders(conditions),
      };
      const body = value_base64 === undefined ? JSON.stringify(value) : Buffer.from(value_base64, 'base64');
      const answer = await send('PUT', at(key), headers, body);
      if ((answer.status === 201) !== (answer.json.created === true)) throw new Error('201 means created');
      return answer.json;
    },
    get: async ({ key, fresh_as_of }) => {
      const query = fresh_as_of === undefined ? '' : `?fresh_as_of=${encodeURIComponent(fresh_as_of)}`;
      try {
        const { headers, bytes, json } = await send('GET', at(key) + query);
        const isJson = headers['content-type']!.startsWith('application/json');
        return {
          key,
          ...(isJson ? { value: json } : { value_base64: bytes.toString('base64') }),
          version: Number(headers['ipe-version']),
          etag: JSON.parse(headers.etag!),
          created_at: Number(headers['ipe-created-at']),
          updated_at: Number(headers['ipe-updated-at']),
          ...(headers['ipe-expires-at'] !== undefined && { expires_at: Number(headers['ipe-expires-at']) }),
        };
      } catch (error) {
        if (error instanceof Refused && error.status === 404 && error.reason === 'not_found') return null;
        throw error;
      }
    },
    delete: async ({ key, ...conditions }) => {
      const { headers } = await send('DELETE', at(key), conditionHeaders(conditions));
      return { key, version: Number(headers['ipe-version']), etag: JSON.parse(headers.etag!), tombstone: true };
    },
    query: async (params) => (await send('GET', `/data?${new URLSearchParams(params)}`)).json,
  };
  return {
    methods: restMethods,
    call: (method, params) => calls[method]!(params),
    follow: async (params, count, meanwhile) => {
      const path = `/events?${new URLSearchParams(params)}`;
      const events = new TestSession(socketPath, { token: tokens.service, method: 'GET', path });
      events.request.end();
      while (events.response === undefined) await new Promise((resolve) => events.request.once('response', resolve));
      await meanwhile();
      const taken: Json[] = [];
      while (taken.length < count) {
        const frame = await events.next();
        if (frame === undefined) throw new Error('the stream ended');
        taken.push(frame.data.params);
      }
      events.close();
      return taken;
    },
    close: () => {},
  };
}

function conditionHeaders({ if_version, if_match }: Json): Record<string, string> {
  if (if_version !== undefined && if_version !== 0) throw new Error('REST has no form for a version');
  if (if_version === 0) return { 'if-none-match': '*' };
  return if_match === undefined ? {} : { 'if-match': if_match === '*' ? '"*"' : JSON.stringify(if_match) };
}
