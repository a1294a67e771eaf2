import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Plane } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import type { CallReport } from '../api/dispatch.ts';
import type { ApiLimits } from '../api/limits.ts';
import { type Listener, listenPlain, listenTls, listenUnix, type TlsFiles } from '../api/listen.ts';
import type { PlaneService } from '../api/method.ts';
import type { ReportInternal } from '../api/problem.ts';
import { createPlaneServer, type PlaneServer } from '../api/server.ts';
import { settledWithin } from '../planes/closing.ts';
import { type Authenticator, openDoor } from '../security/authenticator.ts';
import { reloadEach } from './reload.ts';
import type { PlaneListening } from './settings.ts';

export interface DoorsOptions {
  readonly services: Readonly<Record<Plane, PlaneService>>;
  readonly listening: Readonly<Record<Plane, PlaneListening>>;
  readonly limits: ApiLimits;
  readonly authenticator: Authenticator;
  readonly reportInternal: ReportInternal;
  readonly onCall: (report: CallReport) => void;
  readonly now: () => number;
  readonly metrics: () => Promise<{ contentType: string; text: string }>;
  /** Address of a plain listener for metrics and health alone. */
  readonly metricsListen?: string;
}

/** Everything a node listens on. */
export interface Doors {
  /** What each plane can be reached at: its socket first, then its TCP address. */
  readonly addresses: Readonly<Record<Plane, readonly string[]>>;
  readonly metricsAddress: string | undefined;
  underWay(): number;
  /** Reads certificates again. @throws IpeError `invalid_params`; the old ones stay in use. */
  reload(): Promise<void>;
  /** Stops accepting, waits for requests under way up to the limit, closes. @returns how many were cut off. */
  close(): Promise<number>;
}

/** Opens the sockets of all planes, or none: what was opened before one failed is closed again. */
export async function openDoors(options: DoorsOptions): Promise<Doors> {
  const { services, listening, limits, authenticator } = options;
  const servers: PlaneServer[] = [];
  const listeners: { listener: Listener; tls?: NonNullable<PlaneListening['tcp']> }[] = [];
  const addresses: Record<Plane, string[]> = { control: [], data: [], evaluation: [] };
  const closeListeners = () => Promise.all(listeners.map(({ listener }) => listener.close()));
  let metricsAddress: string | undefined;
  try {
    for (const plane of ['control', 'data', 'evaluation'] as const) {
      const server = createPlaneServer({
        service: services[plane],
        limits,
        reportInternal: options.reportInternal,
        onCall: options.onCall,
        now: options.now,
        ...(plane === 'control' ? { metrics: options.metrics } : {}),
      });
      servers.push(server);
      const { socket, mode, requireAuth, tcp } = listening[plane];
      const local = requireAuth ? authenticator : openDoor(plane);
      const unix = await listenUnix(socket, mode, limits, (request, response) =>
        server.handle(request, response, local),
      );
      listeners.push({ listener: unix });
      addresses[plane].push(unix.address);
      if (tcp === undefined) continue;
      const remote = await listenTls(tcp.address, await readTls(tcp), limits, (request, response) =>
        server.handle(request, response, authenticator),
      );
      listeners.push({ listener: remote, tls: tcp });
      addresses[plane].push(remote.address);
    }
    if (options.metricsListen !== undefined) {
      const handle = onlyMetrics(servers[0]!, authenticator);
      const listener = await listenPlain(options.metricsListen, limits, handle);
      listeners.push({ listener });
      metricsAddress = listener.address;
    }
  } catch (error) {
    await closeListeners();
    throw error;
  }
  return {
    addresses,
    metricsAddress,
    underWay: () => servers.reduce((sum, server) => sum + server.underWay, 0),
    reload: async () => {
      await reloadEach(
        listeners.flatMap(({ listener, tls }) =>
          tls === undefined ? [] : [async () => listener.reload?.(await readTls(tls))],
        ),
      );
    },
    close: async () => {
      for (const { listener } of listeners) listener.stopAccepting();
      await settledWithin(limits.drainTimeoutMs, Promise.all(servers.map((server) => server.drain())));
      const cut = servers.reduce((sum, server) => sum + server.underWay, 0);
      await closeListeners();
      return cut;
    },
  };
}

const openPaths = new Set(['/metrics', '/livez', '/readyz', '/healthz']);

/** The control plane's door narrowed to what takes no token. */
function onlyMetrics(server: PlaneServer, authenticator: Authenticator) {
  return (request: IncomingMessage, response: ServerResponse) => {
    if (openPaths.has((request.url ?? '').split('?', 1)[0]!)) server.handle(request, response, authenticator);
    else response.writeHead(404, { connection: 'close' }).end();
  };
}

async function readTls(files: NonNullable<PlaneListening['tcp']>): Promise<TlsFiles> {
  const read = (path: string) =>
    readFile(path).catch((cause) => {
      throw new IpeError('invalid_params', `\`${path}\` cannot be read: ${(cause as NodeJS.ErrnoException).code}`, {
        details: { path },
        cause,
      });
    });
  const [cert, key] = [await read(files.cert), await read(files.key)];
  return files.clientCa === undefined ? { cert, key } : { cert, key, clientCa: await read(files.clientCa) };
}
