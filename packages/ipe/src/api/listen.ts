import { chmod, lstat, unlink } from 'node:fs/promises';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import { platform } from 'node:os';
import { IpeError } from '@ipe/core';
import type { ApiLimits } from './limits.ts';

/** A socket that requests come in on. */
export interface Listener {
  /** Path of a unix socket, or `host:port`. */
  readonly address: string;
  /** Stops accepting; open connections go on until they are idle. */
  stopAccepting(): void;
  /** Closes every connection and the socket. */
  close(): Promise<void>;
  /** Takes new certificates for connections from now on; only on TLS listeners. */
  reload?(tls: TlsFiles): void;
}

/** Contents of PEM files. */
export interface TlsFiles {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /** Authorities that client certificates must come from; absent: clients need none. */
  readonly clientCa?: string | Buffer;
}

type Handle = (request: IncomingMessage, response: ServerResponse) => void;

/** Bytes of a path that `sockaddr_un` holds, its terminating zero excluded. */
const socketPathMaxBytes = platform() === 'darwin' ? 103 : 107;

/**
 * Listens on a unix socket. The file of a node that died is replaced.
 * @param mode permissions of the socket file: who may connect.
 * @throws IpeError `invalid_params` (path too long, or another kind of file), `unavailable` (a live process listens).
 */
export async function listenUnix(path: string, mode: number, limits: ApiLimits, handle: Handle): Promise<Listener> {
  const sizeBytes = Buffer.byteLength(path);
  if (sizeBytes > socketPathMaxBytes)
    throw new IpeError(
      'invalid_params',
      `the socket path \`${path}\` has ${sizeBytes} bytes, the system allows ${socketPathMaxBytes}: choose a shorter directory, or set \`socket\``,
      { details: { path, limit: socketPathMaxBytes } },
    );
  await removeStale(path);
  const server = createHttpServer(serverOptions(limits), handle);
  // The file must never be open to more than `mode` says, not even before chmod: Node binds while listen() is called.
  const bind = () => {
    const before = process.umask(0o777 & ~mode);
    try {
      server.listen(path);
    } finally {
      process.umask(before);
    }
  };
  await listening(server, bind).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EADDRINUSE' ? taken(path) : error;
  });
  await chmod(path, mode);
  return listenerOf(server, path, limits);
}

/** Listens on TCP with TLS. @throws IpeError `unavailable` where the address is taken, `invalid_params` for bad certificates. */
export async function listenTls(address: string, tls: TlsFiles, limits: ApiLimits, handle: Handle): Promise<Listener> {
  let server: HttpsServer;
  try {
    server = createHttpsServer({ ...serverOptions(limits), ...secure(tls), minVersion: 'TLSv1.2' }, handle);
  } catch (cause) {
    throw badCertificate(address, cause);
  }
  await listenTcp(server, address);
  return {
    ...listenerOf(server, boundAddress(server, address), limits),
    reload: (files) => {
      try {
        server.setSecureContext(secure(files));
      } catch (cause) {
        throw badCertificate(address, cause);
      }
    },
  };
}

/** Listens on plain TCP, for metrics and health checks, which take no tokens. */
export async function listenPlain(address: string, limits: ApiLimits, handle: Handle): Promise<Listener> {
  const server = createHttpServer(serverOptions(limits), handle);
  await listenTcp(server, address);
  return listenerOf(server, boundAddress(server, address), limits);
}

function serverOptions(limits: ApiLimits) {
  return {
    headersTimeout: limits.headerTimeoutMs,
    // Sessions stay open for ever: bodies have a timeout of their own.
    requestTimeout: 0,
    keepAliveTimeout: 75_000,
    connectionsCheckingInterval: Math.max(100, Math.min(1000, limits.headerTimeoutMs / 4)),
    maxHeaderSize: 16 * 1024,
  };
}

const secure = (tls: TlsFiles) => ({
  cert: tls.cert,
  key: tls.key,
  ...(tls.clientCa === undefined ? {} : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true }),
});

const badCertificate = (address: string, cause: unknown) =>
  new IpeError(
    'invalid_params',
    `the certificate or key for ${address} cannot be used: ${cause instanceof Error ? cause.message : cause}`,
    { cause },
  );

async function listenTcp(server: Server | HttpsServer, address: string): Promise<void> {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at).replace(/^\[|\]$/g, '');
  try {
    await listening(server, () => server.listen({ host, port: Number(address.slice(at + 1)) }));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE')
      throw new IpeError('unavailable', `${address} is taken by another process`, { details: { address }, cause });
    throw new IpeError('invalid_params', `cannot listen on ${address}: ${code ?? cause}`, {
      details: { address },
      cause,
    });
  }
}

function boundAddress(server: Server | HttpsServer, wanted: string): string {
  const bound = server.address();
  return bound === null || typeof bound === 'string'
    ? wanted
    : `${wanted.slice(0, wanted.lastIndexOf(':'))}:${bound.port}`;
}

function listening(server: Server | HttpsServer, begin: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve();
    });
    begin();
  });
}

function listenerOf(server: Server | HttpsServer, address: string, limits: ApiLimits): Listener {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    if (sockets.size > limits.maxConnections)
      refuse(socket, 503, 'unavailable', -32008, `more than ${limits.maxConnections} connections`);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (socket.destroyed || !socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
    if (error.code === 'HPE_HEADER_OVERFLOW')
      return refuse(socket, 413, 'too_large', -32006, 'the head of the request has at most 16384 bytes');
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT')
      return refuse(
        socket,
        400,
        'invalid_request',
        -32600,
        `the head of the request did not arrive within ${limits.headerTimeoutMs} ms`,
      );
    refuse(socket, 400, 'invalid_request', -32600, 'not an HTTP request');
  });
  return {
    address,
    stopAccepting: () => {
      server.close();
      server.closeIdleConnections();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** Answers on a connection that no request could be made out on, and closes it. */
function refuse(socket: Socket, status: number, reason: string, code: number, message: string): void {
  const error = { code, message, data: { reason, state: 'unchanged' } };
  const body = JSON.stringify({ title: reason.replaceAll('_', ' '), status, detail: message, ...error, error });
  const head = `HTTP/1.1 ${status} ${status === 503 ? 'Service Unavailable' : 'Bad Request'}\r\n`;
  socket.end(
    `${head}Content-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

/** Removes the socket file of a process that is gone. */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket())
    throw new IpeError('invalid_params', `\`${path}\` is there and is not a socket: move it away, or set \`socket\``, {
      details: { path },
    });
  if (await answers(path)) throw taken(path);
  await unlink(path).catch(() => undefined);
}

const taken = (path: string) =>
  new IpeError(
    'unavailable',
    `the socket \`${path}\` is taken: another process listens on it. Stop it, or set another \`--dir\` or \`socket\``,
    {
      details: { path },
    },
  );

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
  });
}
