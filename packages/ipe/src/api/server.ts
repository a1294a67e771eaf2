import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ErrorBody } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import findMyWay from 'find-my-way';
import type { Authenticator } from '../security/authenticator.ts';
import { discard, mediaType, readBody } from './body.ts';
import { Departure } from './departure.ts';
import { type CallReport, createDispatch, shorten } from './dispatch.ts';
import { EventStream, subscriptionParams } from './events.ts';
import { parseJson } from './json.ts';
import { largeJsonBytes, parseLargeJson } from './json-slices.ts';
import type { ApiLimits } from './limits.ts';
import type { CallContext, Caller, PlaneService, Route, RouteRequest, RouteResponse } from './method.ts';
import { PreconditionFailed } from './precondition.ts';
import { errorBody, errorHeaders, problem, type ReportInternal, statusOf } from './problem.ts';
import { RateLimiter } from './rate.ts';
import { controlRoutes } from './rest-control.ts';
import { dataRoutes } from './rest-data.ts';
import { answerRpc } from './rpc.ts';
import { StreamSession } from './stream.ts';

export interface PlaneServerOptions {
  readonly service: PlaneService;
  readonly limits: ApiLimits;
  readonly reportInternal: ReportInternal;
  readonly onCall: (report: CallReport) => void;
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number;
  /** Text of `/metrics`, on the plane that offers it. */
  readonly metrics?: () => Promise<{ contentType: string; text: string }>;
}

/** One plane's HTTP door; any number of listeners hand their requests to it. */
export interface PlaneServer {
  handle(request: IncomingMessage, response: ServerResponse, authenticator: Authenticator): void;
  /** Requests and sessions under way. */
  readonly underWay: number;
  /** Refuses what is new, ends sessions, and resolves when everything begun has been answered. */
  drain(): Promise<void>;
}

/** How a request is answered once its path is known. */
type Door =
  | { readonly kind: 'health'; readonly answer: () => RouteResponse | Promise<RouteResponse> }
  | { readonly kind: 'rpc' | 'stream' | 'events' }
  | { readonly kind: 'route'; readonly route: Route };

/** Everything known about one request before its body is read. */
interface Arrival {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly authenticator: Authenticator;
  readonly params: Record<string, string>;
  readonly requestId: string | undefined;
  readonly departure: Departure;
}

const planeRoutes = { control: controlRoutes, data: dataRoutes, evaluation: [] } as const;

export function createPlaneServer(options: PlaneServerOptions): PlaneServer {
  const { service, limits } = options;
  const dispatch = createDispatch({ service, onCall: options.onCall, now: options.now });
  const rate = new RateLimiter(limits.requestsPerSecond, options.now);
  const router = makeRouter(options, () => draining);
  const open = new Set<{ drain(): Promise<void> }>();
  /** Answers handed to the connection and not taken by the client yet, with the time. */
  const sending = new Map<ServerResponse, number>();
  const sweep = setInterval(cutStalled, Math.min(1000, limits.stallTimeoutMs));
  sweep.unref();
  let draining = false;
  let underWay = 0;
  let onIdle: (() => void) | undefined;

  const explain = (error: unknown): ErrorBody => errorBody(error, options.reportInternal);

  function handle(request: IncomingMessage, response: ServerResponse, authenticator: Authenticator): void {
    underWay++;
    const departure = new Departure();
    response.once('close', () => {
      underWay--;
      sending.delete(response);
      if (!response.writableFinished) departure.leave();
      if (underWay === 0) onIdle?.();
    });
    const requestId = request.headers['x-request-id'];
    if (typeof requestId === 'string') response.setHeader('x-request-id', requestId.slice(0, 256));
    const id = typeof requestId === 'string' ? { requestId: requestId.slice(0, 256) } : { requestId: undefined };
    answer({ request, response, authenticator, params: {}, departure, ...id }).catch((error) =>
      fail(request, response, error),
    );
  }

  async function answer(arrival: Arrival): Promise<void> {
    const { request } = arrival;
    const found = router.find(request.method as findMyWay.HTTPMethod, request.url ?? '/');
    const door = found?.store as Door | undefined;
    if (found === null || door === undefined) throw noSuchPath(request, service);
    if (door.kind === 'health') return send(arrival, await door.answer());
    const here = { ...arrival, params: found.params as Record<string, string> };
    if (door.kind === 'route' && door.route.guard === undefined) return answerRoute(here, door.route, nobody);
    const caller = arrival.authenticator.authenticate(request.headers.authorization);
    if (draining) throw new IpeError('unavailable', 'the node is stopping', { details: { retry_after: 1 } });
    if (door.kind === 'stream') return answerStream(here, caller);
    rate.take(caller.tokenId);
    switch (door.kind) {
      case 'rpc':
        return answerRpcBody(here, caller);
      case 'events':
        return answerEvents(here, caller);
      case 'route':
        return answerRoute(here, door.route, caller);
    }
  }

  async function answerRpcBody(arrival: Arrival, caller: Caller): Promise<void> {
    const { request } = arrival;
    const type = mediaType(request.headers['content-type']);
    if (type !== 'application/json' && type !== 'application/msgpack' && type !== '')
      throw new IpeError(
        'invalid_request',
        `\`${shorten(type)}\` is not taken here: send application/json or application/msgpack`,
      );
    const bytes = await readBody(request, limits.maxBodyBytes, limits.bodyTimeoutMs);
    const msgpack = type === 'application/msgpack' ? await import('./msgpack.ts') : undefined;
    const body =
      msgpack !== undefined
        ? msgpack.decodeMsgpack(bytes, limits.maxDepth)
        : bytes.length < largeJsonBytes
          ? parseJson(bytes, limits.maxDepth)
          : await parseLargeJson(bytes, limits.maxDepth);
    const context = contextOf(arrival, caller);
    const result = await answerRpc(body, {
      maxBatch: limits.maxBatch,
      explain,
      call: (method, params) => dispatch.call(method, params, context),
    });
    if (result === undefined) return send(arrival, { status: 204 });
    if (msgpack === undefined) return send(arrival, { status: 200, body: result });
    const packed = msgpack.encodeMsgpack(result);
    return send(arrival, { status: 200, headers: { 'content-type': 'application/msgpack' }, body: packed });
  }

  async function answerStream(arrival: Arrival, caller: Caller): Promise<void> {
    const { request, response, authenticator } = arrival;
    const type = mediaType(request.headers['content-type']);
    if (type !== 'text/event-stream' && type !== '')
      throw new IpeError('invalid_request', `\`${shorten(type)}\` is not taken here: send text/event-stream`);
    const base = contextOf(arrival, caller);
    const session = new StreamSession(request, response, {
      limits,
      explain,
      call: (method, params, own) => {
        if (!authenticator.stands(caller)) throw revoked();
        rate.take(caller.tokenId);
        return dispatch.call(
          method,
          params,
          dispatch.isStreaming(method) ? { ...contextOf(arrival, caller), session: own() } : base,
        );
      },
    });
    await keepOpen(session, arrival, caller, () => session.refuse(revoked()));
  }

  async function answerEvents(arrival: Arrival, caller: Caller): Promise<void> {
    const { request, response } = arrival;
    const last = request.headers['last-event-id'];
    const params = subscriptionParams(queryOf(request), typeof last === 'string' ? last : undefined);
    const stream = new EventStream(response, limits.stallTimeoutMs);
    await dispatch.call('subscribe', params, { ...contextOf(arrival, caller), session: stream.session });
    stream.open();
    await keepOpen(stream, arrival, caller, () => void stream.drain());
  }

  /** Holds a session until it closes, and ends it when its token stops standing. */
  async function keepOpen(session: { drain(): Promise<void> }, arrival: Arrival, caller: Caller, cut: () => void) {
    open.add(session);
    const forget = arrival.authenticator.onChange(() => {
      if (!arrival.authenticator.stands(caller)) cut();
    });
    await new Promise<void>((resolve) => arrival.response.once('close', resolve));
    forget();
    open.delete(session);
  }

  async function answerRoute(arrival: Arrival, route: Route, caller: Caller): Promise<void> {
    const { request, response } = arrival;
    if (route.guard !== undefined) dispatch.authorize(route.guard, { caller });
    const body = await readBody(request, limits.maxBodyBytes, limits.bodyTimeoutMs);
    const context = contextOf(arrival, caller);
    const contentType = mediaType(request.headers['content-type']);
    const routeRequest: RouteRequest = {
      params: arrival.params,
      query: queryOf(request),
      headers: flatHeaders(request),
      body,
      contentType,
      json: () => readJson(body, contentType, limits.maxDepth),
      call: (method, params) => dispatch.call(method, params, context),
    };
    const result = await route.handle(routeRequest, context);
    if (!response.destroyed) send(arrival, result);
  }

  function fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const body = explain(error);
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    const status = error instanceof PreconditionFailed ? 412 : statusOf(body);
    const isRpc = request.url === '/rpc';
    const payload = isRpc ? { jsonrpc: '2.0', id: null, error: body } : problem(body, status);
    void discard(request).then(() => {
      if (response.destroyed) return;
      if (!request.complete) response.shouldKeepAlive = false;
      for (const [name, value] of Object.entries(errorHeaders(body))) response.setHeader(name, value);
      write(response, status, isRpc ? 'application/json' : 'application/problem+json', JSON.stringify(payload));
    });
  }

  function send({ request, response }: Arrival, { status, headers = {}, body }: RouteResponse): void {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (status === 204 || status === 304) {
      response.writeHead(status).end();
      return;
    }
    const isBytes = body instanceof Uint8Array;
    const type = headers['content-type'] ?? (isBytes ? 'application/octet-stream' : 'application/json');
    const payload =
      isBytes || (typeof body === 'string' && headers['content-type'] !== undefined)
        ? body
        : JSON.stringify(body ?? null);
    if (!request.complete) void discard(request).then(() => write(response, status, type, payload));
    else write(response, status, type, payload);
  }

  function write(response: ServerResponse, status: number, type: string, payload: string | Uint8Array): void {
    response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(payload) });
    response.end(payload);
    sending.set(response, options.now());
  }

  /** Cuts off clients that leave their answer unread: one look at all of them is cheaper than a timer for each. */
  function cutStalled(): void {
    const since = options.now() - limits.stallTimeoutMs;
    for (const [response, at] of sending) if (at < since) response.destroy();
  }

  async function drain(): Promise<void> {
    draining = true;
    const idle = new Promise<void>((resolve) => {
      onIdle = resolve;
      if (underWay === 0) resolve();
    });
    for (const session of open) void session.drain();
    await idle;
    clearInterval(sweep);
  }

  return {
    handle,
    drain,
    get underWay() {
      return underWay;
    },
  };
}

const nobody: Caller = { kind: 'application', tokenId: 'none', name: 'anonymous' };

const revoked = () => new IpeError('unauthenticated', 'the token was revoked or has expired');

function contextOf(arrival: Arrival, caller: Caller): CallContext {
  const { departure, requestId } = arrival;
  const context = {
    caller,
    get signal() {
      return departure.signal;
    },
  };
  return requestId === undefined ? context : Object.assign(context, { requestId });
}

function makeRouter(
  options: PlaneServerOptions,
  isDraining: () => boolean,
): findMyWay.Instance<findMyWay.HTTPVersion.V1> {
  const router = findMyWay({ maxParamLength: 2048, ignoreTrailingSlash: true, defaultRoute: () => {} });
  const { service } = options;
  const add = (method: findMyWay.HTTPMethod, path: string, door: Door) => router.on(method, path, () => {}, door);
  const missing = () => (isDraining() ? ['the node is stopping'] : service.missing());
  const health = (ready: boolean): RouteResponse => {
    const lacking = missing();
    const status = ready && lacking.length > 0 ? 503 : 200;
    return {
      status,
      headers: { 'cache-control': 'no-store' },
      body: { plane: service.plane, ready: lacking.length === 0, missing: lacking },
    };
  };
  add('GET', '/livez', { kind: 'health', answer: () => ({ status: 200, body: { plane: service.plane, live: true } }) });
  add('GET', '/readyz', { kind: 'health', answer: () => health(true) });
  add('GET', '/healthz', { kind: 'health', answer: () => health(true) });
  if (options.metrics !== undefined) {
    const scrape = options.metrics;
    const answer = async () => {
      const { contentType, text } = await scrape();
      return { status: 200, headers: { 'content-type': contentType }, body: text };
    };
    add('GET', '/metrics', { kind: 'health', answer });
  }
  add('POST', '/rpc', { kind: 'rpc' });
  add('POST', '/stream', { kind: 'stream' });
  add('GET', '/events', { kind: 'events' });
  for (const route of [...planeRoutes[service.plane], ...(service.routes ?? [])])
    add(route.method, route.path, { kind: 'route', route });
  return router;
}

function noSuchPath(request: IncomingMessage, service: PlaneService): IpeError {
  const path = (request.url ?? '/').split('?', 1)[0]!;
  return new IpeError(
    'method_not_found',
    `nothing answers \`${request.method} ${shorten(path)}\` on the ${service.plane} plane`,
    {
      details: { plane: service.plane },
    },
  );
}

function queryOf(request: IncomingMessage): URLSearchParams {
  const url = request.url ?? '';
  const at = url.indexOf('?');
  return new URLSearchParams(at === -1 ? '' : url.slice(at + 1));
}

function flatHeaders(request: IncomingMessage): Record<string, string | undefined> {
  const flat: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(request.headers))
    flat[name] = Array.isArray(value) ? value.join(', ') : value;
  return flat;
}

function readJson(body: Buffer, contentType: string, maxDepth: number): unknown {
  const fine =
    contentType === '' ||
    contentType === 'application/x-www-form-urlencoded' ||
    contentType === 'application/json' ||
    contentType.endsWith('+json');
  if (!fine)
    throw new IpeError('invalid_request', `\`${shorten(contentType)}\` is not taken here: send application/json`);
  return parseJson(body, maxDepth);
}
