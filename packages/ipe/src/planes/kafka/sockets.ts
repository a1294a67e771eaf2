import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ISocketFactory } from 'kafkajs';

const keepAliveMs = 60_000;

/** Makes the client's connections, and ends them all: it waits for answers itself, and a broker that hangs gives none. */
export class KafkaSockets {
  readonly #open = new Set<Socket>();
  #isClosed = false;

  readonly make: ISocketFactory = ({ host, port, ssl, onConnect }) => {
    const servername = isIP(host) ? {} : { servername: host };
    const socket = ssl
      ? connectTls({ host, port, ...servername, ...ssl }, onConnect)
      : connect({ host, port }, onConnect);
    socket.setKeepAlive(true, keepAliveMs);
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    if (this.#isClosed) socket.destroy(closedError());
    return socket;
  };

  /** Ends what is open, and from now on whatever is opened. */
  close(): void {
    this.#isClosed = true;
    for (const socket of this.#open) socket.destroy(closedError());
  }
}

const closedError = () => new Error('the message plane is closed');
