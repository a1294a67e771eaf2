import { EventEmitter } from 'node:events';
import { connect, createSecureContext, createServer, type Server, type TLSSocket } from 'node:tls';
import { IpeError } from '@ipe/core';
import { parseAddress } from './address.ts';
import type { Identity } from './identity.ts';
import { type LinkHandler, PeerLink } from './link.ts';
import type { MemberDirectory, MemberRecord } from './members.ts';
import { type PeerTls, PeerTrust, peerFingerprint, type Recognised } from './trust.ts';

/** Time and chance, handed in so that tests and the simulator can own them. */
export interface PeerTimers {
  setTimeout(callback: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
  /** Uniform in [0, 1). */
  random(): number;
}

export interface PeersOptions {
  readonly identity: Identity;
  readonly directory: MemberDirectory;
  /** `host:port` of the peer listener; absent: this instance only dials. */
  readonly listen?: string;
  /** Certificates of one's own authority, in place of the identity's. */
  readonly tls?: PeerTls;
  /** Addresses tried for ever besides those of the member records. */
  readonly seeds?: readonly string[];
  /** How often a peer that says nothing is asked whether it is there. Default: 500. */
  readonly heartbeatIntervalMs?: number;
  readonly timers?: PeerTimers;
  /** Handlers that a certificate without a record may call: joining, and nothing else. */
  readonly strangers?: ReadonlyMap<string, LinkHandler>;
}

/** What `Peers` tells its owner. `refused` names why, for the log and the metric. */
export interface PeerEvents {
  up: [link: PeerLink, member: MemberRecord];
  down: [link: PeerLink, member: MemberRecord];
  refused: [fingerprint: string, why: string];
}

const missedHeartbeatsMax = 3;
/**
 * How long an address may leave a connection unanswered: short, because TCP repeats a request that was lost only after
 * a second, and what was cut off is to be linked as soon as it is not. Every fourth attempt waits for far places.
 */
const connectTimeoutsMs = [500, 500, 500, 3_000] as const;
/** Whoever answered is there; how long the handshake takes is a matter of its load. */
const handshakeTimeoutMs = 10_000;
const dialDelayMinMs = 100;
/** Short, because the time to the next attempt is the time a healed partition stays unhealed. */
const dialDelayMaxMs = 500;
/** A stranger has a join request to send, nothing larger, and not for long. */
const strangerFrameBytesMax = 64 * 1024;
const strangerTimeMs = 10_000;

const wallTimers: PeerTimers = {
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs).unref(),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
  random: Math.random,
};

/**
 * The links to all other members: listens, dials for ever, authenticates by certificate (`PeerTrust`), watches heartbeats.
 * At most one link a member is handed out; `handle` registers what peers may ask before `start`.
 */
export class Peers extends EventEmitter<PeerEvents> {
  readonly #options: PeersOptions;
  readonly #timers: PeerTimers;
  readonly #trust: PeerTrust;
  readonly #handlers = new Map<string, LinkHandler>();
  readonly #links = new Map<string, Held>();
  readonly #dialers = new Map<string, Dialer>();
  readonly #strangers = new Set<PeerLink>();
  #server: Server | undefined;
  #stopWatching: (() => void) | undefined;
  #heartbeat: unknown;
  #closed = false;

  constructor(options: PeersOptions) {
    super();
    this.#options = options;
    this.#timers = options.timers ?? wallTimers;
    this.#trust = new PeerTrust(options.identity, options.directory, options.tls);
  }

  /** Fingerprint of the certificate that is shown to whoever connects: what a join token pins. */
  get fingerprint(): string {
    return this.#trust.fingerprint;
  }

  /**
   * Takes other certificates of one's own authority. Links that rest on an authority are made anew, so that one that is
   * trusted no more is cut off at once. @throws Error for certificates that do not fit together; nothing changes then
   */
  useTls(tls: PeerTls): void {
    createSecureContext(tls);
    this.#trust.use(tls);
    this.#server?.setSecureContext(this.#trust.tlsOptions);
    for (const { link, by } of [...this.#links.values()]) if (by === 'authority') link.close();
  }

  /** Registers what answers a peer's request or message `name`. */
  handle(name: string, handler: LinkHandler): void {
    this.#handlers.set(name, handler);
  }

  /** Listens and starts dialling. @returns the address that is listened on, if any. @throws when it is taken. */
  async start(): Promise<{ address: string | undefined }> {
    const address = this.#options.listen === undefined ? undefined : await this.#listen(this.#options.listen);
    for (const seed of this.#options.seeds ?? []) this.#dial(seed);
    for (const { body } of this.#options.directory.list()) this.#follow(body);
    this.#stopWatching = this.#options.directory.onChange((record) => this.#follow(record));
    this.#beat();
    return { address };
  }

  /** Live links, one a member. */
  links(): PeerLink[] {
    return [...this.#links.values()].map((held) => held.link);
  }

  /** The live link to the member with this certificate. */
  link(fingerprint: string): PeerLink | undefined {
    return this.#links.get(fingerprint)?.link;
  }

  /** Stops dialling and listening, and closes every link. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopWatching?.();
    this.#timers.clearTimeout(this.#heartbeat);
    for (const dialer of this.#dialers.values()) this.#stopDialer(dialer);
    this.#dialers.clear();
    for (const held of [...this.#links.values()]) held.link.close();
    for (const link of this.#strangers) link.close();
    const server = this.#server;
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #listen(text: string): Promise<string> {
    const { host, port } = parseAddress(text);
    const server = createServer({ ...this.#trust.tlsOptions, requestCert: true }, (socket) => this.#accept(socket));
    server.on('tlsClientError', () => {});
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause: NodeJS.ErrnoException) =>
        reject(
          new IpeError('unavailable', `cannot listen for peers on \`${text}\`: ${cause.message}`, {
            details: { address: text, code: cause.code },
            cause,
          }),
        ),
      );
      server.listen(port, host, resolve);
    });
    this.#server = server;
    const bound = server.address() as { port: number };
    return `${host.includes(':') ? `[${host}]` : host}:${bound.port}`;
  }

  #accept(socket: TLSSocket): void {
    socket.setNoDelay(true);
    const fingerprint = peerFingerprint(socket);
    if (fingerprint === undefined) {
      this.emit('refused', 'none', 'no certificate');
      socket.destroy();
      return;
    }
    const peer = this.#trust.recognise(socket);
    if (typeof peer === 'string') this.#acceptStranger(socket, fingerprint, peer);
    else this.#adopt(socket, peer, peer.member.fingerprint);
  }

  #acceptStranger(socket: TLSSocket, fingerprint: string, why: string): void {
    const handlers = this.#options.strangers;
    if (!handlers || handlers.size === 0) {
      this.emit('refused', fingerprint, why);
      socket.destroy();
      return;
    }
    const link = new PeerLink(socket, { fingerprint, handlers, frameBytesMax: strangerFrameBytesMax });
    const timer = this.#timers.setTimeout(() => link.close(), strangerTimeMs);
    this.#strangers.add(link);
    socket.once('close', () => {
      this.#timers.clearTimeout(timer);
      this.#strangers.delete(link);
    });
  }

  /** Takes over an authenticated socket. Of two that crossed, the one dialled by the smaller fingerprint stays. */
  #adopt(socket: TLSSocket, { member, by }: Recognised, dialledBy: string): void {
    const held = this.#links.get(member.fingerprint);
    if (held && !held.link.closed) {
      const [smaller] = [member.fingerprint, this.#options.identity.fingerprint].sort();
      if (held.dialledBy === smaller || dialledBy !== smaller) {
        socket.destroy();
        return;
      }
      held.link.close();
    }
    const link = new PeerLink(socket, {
      fingerprint: member.fingerprint,
      handlers: this.#handlers,
      onClose: () => this.#dropped(link, member),
    });
    this.#links.set(member.fingerprint, { link, dialledBy, by });
    this.emit('up', link, member);
  }

  #dropped(link: PeerLink, member: MemberRecord): void {
    if (this.#links.get(member.fingerprint)?.link !== link) return;
    this.#links.delete(member.fingerprint);
    this.emit('down', link, member);
    const dialer = member.address === null ? undefined : this.#dialers.get(member.address);
    if (dialer) {
      dialer.attempt = 0;
      this.#retry(dialer);
    }
  }

  /** Reacts to a member record: dials a new active member, cuts an evicted one. */
  #follow(record: MemberRecord): void {
    if (this.#closed || record.fingerprint === this.#options.identity.fingerprint) return;
    if (record.state === 'evicted') {
      this.#links.get(record.fingerprint)?.link.close();
      if (record.address !== null) this.#forget(record.address);
      return;
    }
    if (record.address !== null) this.#dial(record.address);
  }

  #forget(address: string): void {
    const dialer = this.#dialers.get(address);
    if (dialer) this.#stopDialer(dialer);
    this.#dialers.delete(address);
  }

  #dial(address: string): void {
    if (this.#closed || this.#dialers.has(address)) return;
    const dialer: Dialer = { address, attempt: 0, timer: undefined, socket: undefined, fingerprint: undefined };
    this.#dialers.set(address, dialer);
    this.#attempt(dialer);
  }

  #attempt(dialer: Dialer): void {
    const { host, port } = parseAddress(dialer.address);
    const socket = connect({ ...this.#trust.tlsOptions, host, port, checkServerIdentity: () => undefined });
    dialer.socket = socket;
    const giveUpAfter = (timeoutMs: number) =>
      this.#timers.setTimeout(() => socket.destroy(new Error('connect timeout')), timeoutMs);
    let timeout = giveUpAfter(connectTimeoutsMs[dialer.attempt % connectTimeoutsMs.length]!);
    const failed = () => {
      this.#timers.clearTimeout(timeout);
      this.#retry(dialer);
    };
    socket.once('error', () => {});
    socket.once('connect', () => {
      this.#timers.clearTimeout(timeout);
      timeout = giveUpAfter(handshakeTimeoutMs);
    });
    socket.once('close', failed);
    socket.once('secureConnect', () => {
      this.#timers.clearTimeout(timeout);
      if (this.#trust.isSelf(socket)) {
        // A seed list is often the same on every member, so it names this instance too: not an error, not a peer.
        socket.off('close', failed);
        socket.destroy();
        this.#dialers.delete(dialer.address);
        return;
      }
      const peer = this.#trust.recognise(socket);
      if (typeof peer === 'string') {
        this.emit(
          'refused',
          peerFingerprint(socket) ?? 'none',
          `who answers at \`${dialer.address}\` is refused: ${peer}`,
        );
        socket.destroy();
        return;
      }
      socket.setNoDelay(true);
      dialer.attempt = 0;
      dialer.socket = undefined;
      dialer.fingerprint = peer.member.fingerprint;
      this.#adopt(socket, peer, this.#options.identity.fingerprint);
    });
  }

  /** Full jitter, so that members that lost a broker or a switch together do not come back together. */
  #retry(dialer: Dialer): void {
    if (this.#closed || this.#dialers.get(dialer.address) !== dialer) return;
    const ceiling = Math.min(dialDelayMaxMs, dialDelayMinMs * 2 ** Math.min(dialer.attempt++, 10));
    const delayMs = dialDelayMinMs + this.#timers.random() * (ceiling - dialDelayMinMs);
    this.#timers.clearTimeout(dialer.timer);
    dialer.timer = this.#timers.setTimeout(() => {
      if (this.#isLinked(dialer)) this.#retry(dialer);
      else this.#attempt(dialer);
    }, delayMs);
  }

  /** Whether the member that answers at the dialler's address has a link already, by whoever's dialling. */
  #isLinked(dialer: Dialer): boolean {
    if (dialer.fingerprint !== undefined && this.#links.has(dialer.fingerprint)) return true;
    for (const fingerprint of this.#links.keys()) {
      if (this.#options.directory.active(fingerprint)?.address === dialer.address) return true;
    }
    return false;
  }

  #stopDialer(dialer: Dialer): void {
    this.#timers.clearTimeout(dialer.timer);
    dialer.socket?.destroy();
  }

  #beat(): void {
    if (this.#closed) return;
    for (const held of [...this.#links.values()]) {
      if (held.link.beat() >= missedHeartbeatsMax) {
        held.link.close(new IpeError('unavailable', 'the peer stopped answering heartbeats'));
      }
    }
    this.#heartbeat = this.#timers.setTimeout(() => this.#beat(), this.#options.heartbeatIntervalMs ?? 500);
  }
}

interface Held {
  readonly link: PeerLink;
  /** Fingerprint of the side that opened the connection. */
  readonly dialledBy: string;
  readonly by: Recognised['by'];
}

interface Dialer {
  readonly address: string;
  attempt: number;
  timer: unknown;
  /** The connection being opened; none once a link has taken it over. */
  socket: TLSSocket | undefined;
  /** Who answered here last: a member may be known under several addresses. */
  fingerprint: string | undefined;
}
