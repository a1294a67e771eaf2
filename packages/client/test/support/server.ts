import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeSse, SseParser } from '../../src/sse.ts';

/** What a method of the test server sees and does: its result is returned, a wire error thrown. */
export type TestHandler = (params: never, connection: Connection) => unknown;

/** The server's side of one session. */
export interface Connection {
  /** Writes a notification; false when the socket's buffer is full. */
  notify(event: string, params: unknown, id?: string): boolean;
  /** Cuts the connection without a word. */
  cut(): void;
}

/** Thrown by a handler to answer with an error. */
export class WireError extends Error {
  readonly data: Record<string, unknown>;

  constructor(reason: string, data: Record<string, unknown> = {}) {
    super(`said by the test: ${reason}`);
    this.data = { reason, state: 'unchanged', ...data };
  }
}

export interface TestServer {
  readonly socket: string;
  /** Requests seen on `/rpc`, oldest first. */
  readonly requests: { headers: IncomingMessage['headers']; method: string; params: unknown }[];
  /** Sessions opened so far. */
  readonly sessions: Connection[];
  close(): Promise<void>;
}

/** A few lines of the protocol on a unix socket, to test the client against without a node. */
export async function startTestServer(handlers: Record<string, TestHandler>): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), 'ipe-client-'));
  const socket = join(folder, 's.sock');
  const requests: TestServer['requests'] = [];
  const sessions: Connection[] = [];
  const server: Server = createServer((request, response) => {
    const served = request.url === '/stream' ? stream(request, response) : rpc(request, response);
    served.catch((error) => {
      if (!request.destroyed) throw error; // a client that went away is what some tests are about
    });
  });
  server.listen(socket);
  await once(server, 'listening');
  return {
    socket,
    requests,
    sessions,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };

  async function rpc(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request) text += chunk;
    const connection = { notify: () => false, cut: () => request.socket.destroy() };
    if (request.url !== '/rpc') {
      const [status, body] = await rest(`${request.method} ${request.url}`, JSON.parse(text || 'null'), connection);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      return;
    }
    const { id, method, params } = JSON.parse(text);
    requests.push({ headers: request.headers, method, params });
    const outcome = await answer(method, params, connection);
    if (!request.socket.destroyed) response.end(JSON.stringify({ jsonrpc: '2.0', id, ...outcome }));
  }

  async function rest(name: string, body: unknown, connection: Connection): Promise<[number, unknown]> {
    const outcome = await answer(name, body, connection);
    return 'error' in outcome ? [422, { title: 'refused', ...outcome.error }] : [200, outcome.result];
  }

  async function stream(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    const connection: Connection = {
      notify: (event, params, id) =>
        response.write(
          `event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify({ method: 'notification', params })}\n\n`,
        ),
      cut: () => request.socket.destroy(),
    };
    sessions.push(connection);
    const frames: { event: string; id?: string; data: string }[] = [];
    const parser = new SseParser((event) => frames.push(event));
    for await (const chunk of request.setEncoding('utf8')) {
      parser.push(chunk);
      for (const frame of frames.splice(0)) {
        const { method, params } = JSON.parse(frame.data);
        const outcome = await answer(method ?? frame.event, params, connection);
        response.write(encodeSse('error' in outcome ? 'error' : 'result', frame.id ?? '', JSON.stringify(outcome)));
      }
    }
    response.end();
  }

  async function answer(
    method: string,
    params: unknown,
    connection: Connection,
  ): Promise<{ result: unknown } | { error: object }> {
    try {
      const handler = handlers[method];
      if (handler === undefined) throw new WireError('method_not_found');
      return { result: (await handler(params as never, connection)) ?? null };
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return { error: { code: -32000, message: error.message, data: error.data } };
    }
  }
}
