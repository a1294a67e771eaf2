import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { TiedSockets } from '../../src/testkit/network/tied.ts';

/** A door between two processes that can be held shut in the middle of what passes. */
export interface Gate {
  readonly address: string;
  /** Lets so many more bytes through to whoever connects here, then none, on this and every other connection. */
  holdAfter(bytes: number): void;
  release(): void;
  close(): Promise<void>;
}

/** Listens on a port of its own, or on a unix socket, and passes everything on to `target`, which is of the same kind. */
export async function openGate(target: string, socket?: string): Promise<Gate> {
  const [host, port] = target.split(':') as [string, string];
  let left = Number.POSITIVE_INFINITY;
  const sockets = new TiedSockets();
  const held = new Set<Socket>();
  const server: Server = createServer((near) => {
    const far = socket === undefined ? connect(Number(port), host) : connect(target);
    sockets.tie(near, far);
    far.on('data', (chunk) => {
      near.write(chunk);
      left -= chunk.length;
      if (left > 0) return;
      held.add(far);
      far.pause();
    });
  });
  if (socket === undefined) server.listen(0, '127.0.0.1');
  else server.listen(socket);
  await once(server, 'listening');
  return {
    address: socket ?? `127.0.0.1:${(server.address() as { port: number }).port}`,
    holdAfter: (bytes) => {
      left = bytes;
    },
    release: () => {
      left = Number.POSITIVE_INFINITY;
      for (const socket of held) socket.resume();
      held.clear();
    },
    close: async () => {
      sockets.destroyAll();
      server.close();
      await once(server, 'close');
    },
  };
}
