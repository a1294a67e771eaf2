import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net';
import type { Place, TestNetwork } from './network.ts';

/**
 * Places that are all on loopback, with a proxy of ours in front of every listener. Whose connection it is that a proxy
 * accepts is told by the process that holds its other end, which Linux shows under /proc without any right.
 * @throws Error where there is no /proc
 */
export function openProxyNetwork(): TestNetwork {
  readFileSync('/proc/net/tcp');
  return new ProxyNetwork();
}

const host = '127.0.0.1';

class ProxyNetwork implements TestNetwork {
  readonly kind = 'proxies';
  readonly #pids = new Map<Place, Set<number>>();
  readonly #servers: Server[] = [];
  readonly #pipes = new Set<Pipe>();
  readonly #cuts = new Set<string>();
  readonly #sentBytes = new Map<Place, number>();

  async place(name: string): Promise<Place> {
    const pids = new Set<number>();
    const place: Place = { name, host, wrap: (command) => command, owns: (pid) => pids.add(pid) };
    this.#pids.set(place, pids);
    return place;
  }

  async expose(place: Place, port: number): Promise<string> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket, place, port));
    server.listen(0, host);
    await once(server, 'listening');
    this.#servers.push(server);
    return `${host}:${(server.address() as AddressInfo).port}`;
  }

  cut(from: Place, to: Place): void {
    this.#cuts.add(wayName(from, to));
  }

  mend(from: Place, to: Place): void {
    this.#cuts.delete(wayName(from, to));
    for (const pipe of this.#pipes) pipe.goOn();
  }

  sentBytes(place: Place): number {
    return this.#sentBytes.get(place) ?? 0;
  }

  async close(): Promise<void> {
    for (const pipe of this.#pipes) pipe.end();
    for (const server of this.#servers) server.close();
  }

  #accept(socket: Socket, to: Place, port: number): void {
    const from = this.#ownerOf(socket);
    const isOpen = (a: Place | undefined, b: Place | undefined) =>
      a === undefined || b === undefined || !this.#cuts.has(wayName(a, b));
    const count = (place: Place | undefined) => (bytes: number) => {
      if (place) this.#sentBytes.set(place, this.sentBytes(place) + bytes);
    };
    const pipe = new Pipe(
      { near: socket, dial: () => dial({ port, host, allowHalfOpen: true }), onEnd: () => this.#pipes.delete(pipe) },
      { isOpen: () => isOpen(from, to), carried: count(from) },
      { isOpen: () => isOpen(to, from), carried: count(to) },
    );
    this.#pipes.add(pipe);
    pipe.goOn();
  }

  /** The place whose process holds the other end; none for the test itself. */
  #ownerOf({ remotePort, localPort }: Socket): Place | undefined {
    const inode = inodeOf(remotePort!, localPort!);
    if (inode === undefined) return undefined;
    for (const [place, pids] of this.#pids) for (const pid of pids) if (holds(pid, inode)) return place;
    return undefined;
  }
}

/** One direction of a connection. */
interface Way {
  isOpen(): boolean;
  carried(bytes: number): void;
}

interface Ends {
  readonly near: Socket;
  dial(): Socket;
  onEnd(): void;
}

/** One proxied connection. What comes while its way is cut stays in the kernel's buffers until it is mended. */
class Pipe {
  readonly #ends: Ends;
  readonly #to: Way;
  readonly #back: Way;
  #far: Socket | undefined;
  /** What to do about an end that came while its way was cut. */
  readonly #held: { readonly way: Way; readonly run: () => void }[] = [];

  constructor(ends: Ends, to: Way, back: Way) {
    this.#ends = ends;
    this.#to = to;
    this.#back = back;
    ends.near.pause();
    ends.near.on('error', () => {});
    ends.near.once('close', () => this.#when(to, () => this.end()));
  }

  /** Looks again at what may pass. A connection is made once both ways are open, as a handshake needs both. */
  goOn(): void {
    for (const { way, run } of this.#held.splice(0)) this.#when(way, run);
    const { near } = this.#ends;
    if (this.#far === undefined) {
      if (this.#to.isOpen() && this.#back.isOpen() && !near.destroyed) this.#connect();
      return;
    }
    for (const socket of [near, this.#far]) socket.resume();
  }

  end(): void {
    this.#ends.near.destroy();
    this.#far?.destroy();
    this.#ends.onEnd();
  }

  #connect(): void {
    const { near } = this.#ends;
    const far = this.#ends.dial();
    this.#far = far;
    far.on('error', () => {});
    far.once('close', () => this.#when(this.#back, () => this.end()));
    this.#carry(near, far, this.#to);
    this.#carry(far, near, this.#back);
    near.resume();
  }

  #carry(from: Socket, to: Socket, way: Way): void {
    from.on('data', (chunk: Buffer) => {
      if (!way.isOpen()) {
        from.pause();
        from.unshift(chunk);
        return;
      }
      way.carried(chunk.length);
      if (!to.write(chunk)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    });
    from.once('end', () => this.#when(way, () => to.end()));
  }

  #when(way: Way, run: () => void): void {
    if (way.isOpen()) run();
    else this.#held.push({ way, run });
  }
}

const wayName = (from: Place, to: Place) => `${from.name}>${to.name}`;

/** The kernel's number of the socket that is bound to `localPort` and connected to `remotePort`. */
function inodeOf(localPort: number, remotePort: number): string | undefined {
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    if (portOf(fields[1]) === localPort && portOf(fields[2]) === remotePort) return fields[9];
  }
  return undefined;
}

const portOf = (address: string | undefined) => Number.parseInt(address?.split(':')[1] ?? '', 16);

function holds(pid: number, inode: string): boolean {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => {
      try {
        return readlinkSync(`${folder}/${fd}`) === `socket:[${inode}]`;
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}
