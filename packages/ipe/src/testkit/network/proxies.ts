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

  async close(): Promise<void> {
    for (const pipe of this.#pipes) pipe.end();
    for (const server of this.#servers) server.close();
  }

  #accept(socket: Socket, to: Place, port: number): void {
    const from = this.#ownerOf(socket);
    const isOpen = (a: Place | undefined, b: Place | undefined) =>
      a === undefined || b === undefined || !this.#cuts.has(wayName(a, b));
    const pipe = new Pipe(
      socket,
      () => dial({ port, host, allowHalfOpen: true }),
      () => isOpen(from, to),
      () => isOpen(to, from),
      () => this.#pipes.delete(pipe),
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

/** One proxied connection. What comes while its way is cut stays in the kernel's buffers until it is mended. */
class Pipe {
  readonly #near: Socket;
  readonly #dial: () => Socket;
  readonly #isOpenTo: () => boolean;
  readonly #isOpenBack: () => boolean;
  readonly #onEnd: () => void;
  #far: Socket | undefined;
  /** What to do with an end that came while its way was cut. */
  readonly #held: { isOpen: () => boolean; run: () => void }[] = [];

  constructor(
    near: Socket,
    dialFar: () => Socket,
    isOpenTo: () => boolean,
    isOpenBack: () => boolean,
    onEnd: () => void,
  ) {
    this.#near = near;
    this.#dial = dialFar;
    this.#isOpenTo = isOpenTo;
    this.#isOpenBack = isOpenBack;
    this.#onEnd = onEnd;
    near.pause();
    near.on('error', () => {});
    near.once('close', () => this.#when(isOpenTo, () => this.end()));
  }

  /** Looks again at what may pass. A connection is made once both ways are open, as a handshake needs both. */
  goOn(): void {
    for (const held of this.#held.splice(0)) this.#when(held.isOpen, held.run);
    if (this.#far === undefined) {
      if (this.#isOpenTo() && this.#isOpenBack() && !this.#near.destroyed) this.#connect();
      return;
    }
    for (const socket of [this.#near, this.#far]) socket.resume();
  }

  end(): void {
    this.#near.destroy();
    this.#far?.destroy();
    this.#onEnd();
  }

  #connect(): void {
    const far = this.#dial();
    this.#far = far;
    far.on('error', () => {});
    far.once('close', () => this.#when(this.#isOpenBack, () => this.end()));
    this.#carry(this.#near, far, this.#isOpenTo);
    this.#carry(far, this.#near, this.#isOpenBack);
    this.#near.resume();
  }

  #carry(from: Socket, to: Socket, isOpen: () => boolean): void {
    from.on('data', (chunk: Buffer) => {
      if (!isOpen()) {
        from.pause();
        from.unshift(chunk);
        return;
      }
      if (!to.write(chunk)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    });
    from.once('end', () => this.#when(isOpen, () => to.end()));
  }

  #when(isOpen: () => boolean, run: () => void): void {
    if (isOpen()) run();
    else this.#held.push({ isOpen, run });
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
