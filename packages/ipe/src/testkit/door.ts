import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { CallReport } from '../api/dispatch.ts';
import { type ApiLimits, defaultLimits } from '../api/limits.ts';
import { type Listener, listenUnix } from '../api/listen.ts';
import type { PlaneService } from '../api/method.ts';
import { createPlaneServer, type PlaneServer } from '../api/server.ts';
import { TokenRegistry } from '../security/authenticator.ts';
import { issueToken, type TokenGrant, type TokenRecord } from '../security/tokens.ts';

/** An answer, its body read whole. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly bytes: Buffer;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly json: any;
}

export interface Ask {
  readonly method?: string;
  readonly path: string;
  readonly token?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
}

/** Sends one HTTP request over a unix socket and reads the answer. */
export function ask(socketPath: string, { method, path, token, headers, body }: Ask): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        socketPath,
        path,
        method: method ?? (body === undefined ? 'GET' : 'POST'),
        agent: false,
        headers: { ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () => {
          const bytes = Buffer.concat(chunks);
          const text = bytes.toString('utf8');
          let json: unknown;
          try {
            json = JSON.parse(text);
          } catch {}
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, bytes, json });
        });
      },
    );
    request.once('error', reject);
    request.end(body);
  });
}

/** Calls one method by JSON-RPC over a unix socket. */
export async function rpc(socketPath: string, token: string, method: string, params: unknown = {}): Promise<Answer> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  return ask(socketPath, { path: '/rpc', token, body, headers: { 'content-type': 'application/json' } });
}

/** A plane's door on a socket of its own, with tokens of every kind. */
export interface TestDoor {
  readonly socketPath: string;
  readonly server: PlaneServer;
  readonly listener: Listener;
  readonly tokens: Record<'admin' | 'service' | 'application', string>;
  readonly registry: TokenRegistry;
  readonly records: TokenRecord[];
  readonly internalErrors: unknown[];
  readonly calls: CallReport[];
  issue(grant: TokenGrant): string;
  close(): Promise<void>;
}

/** Opens a door for `service` on a unix socket in a folder of its own. */
export async function openTestDoor(service: PlaneService, limits: Partial<ApiLimits> = {}): Promise<TestDoor> {
  const folder = await mkdtemp(join(tmpdir(), 'ipe-'));
  const records: TokenRecord[] = [];
  const registry = new TokenRegistry({ nowSeconds: () => Date.now() / 1000, rules: { enforceNamespaces: true } });
  const issue = (grant: TokenGrant) => {
    const { token, record } = issueToken(grant, Date.now() / 1000);
    records.push(record);
    registry.replace(records);
    return token;
  };
  const internalErrors: unknown[] = [];
  const calls: CallReport[] = [];
  const merged = { ...defaultLimits, ...limits };
  const server = createPlaneServer({
    service,
    limits: merged,
    reportInternal: (_, error) => internalErrors.push(error),
    onCall: (report) => calls.push(report),
    now: () => performance.now(),
  });
  const socketPath = join(folder, 'p.sock');
  const listener = await listenUnix(socketPath, 0o600, merged, (request, response) =>
    server.handle(request, response, registry),
  );
  return {
    socketPath,
    server,
    listener,
    registry,
    records,
    internalErrors,
    calls,
    issue,
    tokens: {
      admin: issue({ kind: 'admin', name: 'admin' }),
      service: issue({ kind: 'service', name: 'writer' }),
      application: issue({ kind: 'application', name: 'app' }),
    },
    close: async () => {
      await listener.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
