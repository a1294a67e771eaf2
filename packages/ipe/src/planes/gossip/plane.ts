import { IpeError } from '@ipe/core';
import type {
  MessagePlane,
  PlaneDelivery,
  PlaneInterest,
  PlaneMessage,
  PlaneStatus,
  PlaneSubscription,
} from '@ipe/core/plane';
import { Deliveries } from '../deliveries.ts';
import { wants } from '../interest.ts';
import { statusOf } from '../status.ts';
import { decodeGossip, encodeGossip } from './message.ts';
import { SeenIds } from './seen.ts';

/** A link to one peer, as far as gossip needs it; `PeerLink` is one. */
export interface GossipLink {
  readonly fingerprint: string;
  /** Bytes that wait in the socket. */
  readonly bufferedBytes: number;
  send(name: string, body: Uint8Array): unknown;
  request(name: string, body: Uint8Array): Promise<Uint8Array>;
  drain(): Promise<void>;
}

/** The links that there are, as far as gossip needs them; `Peers` are some. */
export interface GossipPeers {
  handle(name: string, handler: (body: Uint8Array, from: { readonly fingerprint: string }) => Promise<undefined>): void;
  on(event: 'up' | 'down', listener: (link: GossipLink) => void): unknown;
  links(): readonly GossipLink[];
}

/** How batches spread over the peer links. */
export interface GossipPlaneOptions {
  readonly peers: GossipPeers;
  /** Up to so many links, a batch is pushed to all of them and not relayed: one hop. Default 32. */
  readonly pushAllMax?: number;
  /** Beyond that, to how many peers an instance pushes or relays a batch that it sees first. Default 8. */
  readonly fanout?: number;
  /** A peer with more than this waiting in its socket misses batches, which anti-entropy brings later. Default 8 MiB. */
  readonly linkBufferBytesMax?: number;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

const pushName = 'gossip.push';
const interestName = 'gossip.interest';

/** The gossip plane, and what `hybrid` needs of it besides the contract. */
export interface GossipPlane extends MessagePlane {
  /** Publishes to every linked peer, also those whose interest does not cover the namespace now. */
  publishToAll(message: PlaneMessage): Promise<void>;
  subscribe(interest: PlaneInterest, deliver: (delivery: PlaneDelivery) => Promise<void>): GossipSubscription;
}

export interface GossipSubscription extends PlaneSubscription {
  /**
   * Asks peers not to push for this subscription (or to push again). What comes all the same, because it was sent
   * before they heard, is still delivered.
   */
  hush(on: boolean): void;
}

/**
 * The message plane over the peer links that exist anyway: no daemon, no library, one hop up to 32 members. Call before
 * `peers.start()`, since it registers its handlers there. Peers that are not linked, or too slow, miss batches.
 */
export function openGossipPlane(options: GossipPlaneOptions): GossipPlane {
  return new Gossip(options);
}

class Gossip implements GossipPlane {
  readonly kind = 'gossip';
  readonly durable = false;
  /** A frame of a peer link, less room for its head. */
  readonly bodyBytesMax = 4 * 1024 * 1024;
  readonly #peers: GossipPeers;
  readonly #pushAllMax: number;
  readonly #fanout: number;
  readonly #linkBufferBytesMax: number;
  readonly #random: () => number;
  readonly #subscriptions = new Set<Subscription>();
  /** What each linked peer wants; a peer that has not said wants nothing yet. */
  readonly #interests = new Map<string, PlaneInterest>();
  readonly #seen = new SeenIds(100_000);
  #published = 0;
  #dropped = 0;
  #reconnects = 0;
  #started = false;
  #closed = false;

  constructor(options: GossipPlaneOptions) {
    this.#peers = options.peers;
    this.#pushAllMax = options.pushAllMax ?? 32;
    this.#fanout = options.fanout ?? 8;
    this.#linkBufferBytesMax = options.linkBufferBytesMax ?? 8 * 1024 * 1024;
    this.#random = options.random ?? Math.random;
    this.#peers.handle(pushName, async (body, { fingerprint }) => {
      this.#receive(body, fingerprint);
      return undefined;
    });
    this.#peers.handle(interestName, async (body, { fingerprint }) => {
      this.#interests.set(fingerprint, readInterest(body));
      return undefined;
    });
    this.#peers.on('up', (link) => {
      if (this.#started) void this.announce([link]);
    });
    this.#peers.on('down', (link) => {
      this.#interests.delete(link.fingerprint);
      this.#reconnects++;
    });
  }

  async start(): Promise<void> {
    this.#started = true;
    await this.announce();
  }

  async publish(message: PlaneMessage): Promise<void> {
    await this.#publish(message, false);
  }

  async publishToAll(message: PlaneMessage): Promise<void> {
    await this.#publish(message, true);
  }

  subscribe(interest: PlaneInterest, deliver: (delivery: PlaneDelivery) => Promise<void>): GossipSubscription {
    const subscription = new Subscription(this, interest, deliver);
    this.#subscriptions.add(subscription);
    void this.announce();
    return subscription;
  }

  status(): PlaneStatus & { readonly dropped: number } {
    const problem = this.#closed
      ? 'closed'
      : !this.#started
        ? 'not started'
        : this.#peers.links().length === 0
          ? 'no peer is linked'
          : undefined;
    const status = statusOf({
      problem,
      published: this.#published,
      reconnects: this.#reconnects,
      subscriptions: this.#subscriptions,
    });
    return { ...status, dropped: this.#dropped };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()));
  }

  forget(subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
    if (!this.#closed) void this.announce();
  }

  /** Tells peers what is wanted here, and the subscriptions that they know. */
  async announce(links: readonly GossipLink[] = this.#peers.links()): Promise<void> {
    if (!this.#started || this.#closed) return;
    const covered = [...this.#subscriptions];
    const body = Buffer.from(JSON.stringify(union(covered.map((subscription) => subscription.wanted()))));
    const told = await Promise.allSettled(links.map((link) => link.request(interestName, body)));
    if (told.some(({ status }) => status === 'fulfilled')) for (const subscription of covered) subscription.announced();
  }

  async #publish(message: PlaneMessage, toAll: boolean): Promise<void> {
    if (this.#closed || !this.#started) {
      throw new IpeError('unavailable', `the message plane is ${this.#closed ? 'closed' : 'not started'}`);
    }
    if (message.body.length > this.bodyBytesMax) {
      throw new IpeError(
        'too_large',
        `a batch of ${message.body.length} bytes is over the limit of ${this.bodyBytesMax}`,
      );
    }
    const links = this.#peers.links();
    if (links.length === 0) throw new IpeError('unavailable', 'the message plane is not connected: no peer is linked');
    this.#seen.add(message.id);
    await Promise.all(this.#push(links, message, toAll).map((link) => link.drain()));
    this.#published++;
  }

  /** Sends to those that want it; with many members to some of them, interested or not, since they relay. */
  #push(links: readonly GossipLink[], message: PlaneMessage, toAll: boolean): GossipLink[] {
    const relays = links.length > this.#pushAllMax;
    const targets = relays
      ? sample(links, this.#fanout, this.#random)
      : links.filter((link) => toAll || wants(this.#interests.get(link.fingerprint) ?? [], message.namespace));
    if (targets.length === 0) return [];
    const frame = encodeGossip(message, relays);
    const sent: GossipLink[] = [];
    for (const link of targets) {
      if (link.bufferedBytes > this.#linkBufferBytesMax) this.#dropped++;
      else {
        link.send(pushName, frame);
        sent.push(link);
      }
    }
    return sent;
  }

  #receive(bytes: Uint8Array, from: string): void {
    if (this.#closed) return;
    const { message, relay } = decodeGossip(bytes);
    if (!this.#seen.add(message.id)) return;
    if (relay) {
      const others = this.#peers.links().filter((link) => link.fingerprint !== from);
      this.#push(others, message, true);
    }
    for (const subscription of this.#subscriptions) subscription.offer(message);
  }
}

/** What may wait for a slow subscriber; more is dropped, as the plane may lose anything. */
const queuedBytesMax = 32 * 1024 * 1024;

class Subscription implements GossipSubscription {
  readonly #plane: Gossip;
  readonly #deliveries: Deliveries;
  #resolveReady: () => void = () => {};
  readonly ready: Promise<void> = new Promise((resolve) => {
    this.#resolveReady = resolve;
  });
  #queuedBytes = 0;
  #hushed = false;
  interest: PlaneInterest;

  constructor(plane: Gossip, interest: PlaneInterest, deliver: (delivery: PlaneDelivery) => Promise<void>) {
    this.#plane = plane;
    this.interest = interest;
    this.#deliveries = new Deliveries(deliver);
  }

  get delivered(): number {
    return this.#deliveries.delivered;
  }

  update(interest: PlaneInterest): void {
    this.interest = interest;
    // Peers that miss the announcement hear it when their link comes up again.
    void this.#plane.announce();
  }

  hush(on: boolean): void {
    if (this.#hushed === on) return;
    this.#hushed = on;
    void this.#plane.announce();
  }

  /** What peers are asked to push. */
  wanted(): PlaneInterest {
    return this.#hushed ? [] : this.interest;
  }

  announced(): void {
    this.#resolveReady();
  }

  offer(message: PlaneMessage): void {
    if (!wants(this.interest, message.namespace) || this.#queuedBytes >= queuedBytesMax) return;
    this.#queuedBytes += message.body.length;
    void this.#deliveries.push(message).finally(() => {
      this.#queuedBytes -= message.body.length;
    });
  }

  async close(): Promise<void> {
    this.#plane.forget(this);
    await this.#deliveries.close();
  }
}

function union(interests: readonly PlaneInterest[]): PlaneInterest {
  return interests.includes('all') ? 'all' : [...new Set(interests.flat())];
}

function readInterest(body: Uint8Array): PlaneInterest {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    if (value === 'all') return value;
    if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return value as string[];
  } catch {
    // Falls through to the error that says what was expected.
  }
  throw new IpeError('invalid_params', 'an interest is `"all"` or a list of namespaces');
}

/** `count` distinct items, each equally likely (Fisher-Yates, stopped early). */
function sample<Item>(items: readonly Item[], count: number, random: () => number): Item[] {
  const pool = [...items];
  const n = Math.min(count, pool.length);
  for (let i = 0; i < n; i++) {
    const j = i + Math.floor(random() * (pool.length - i));
    [pool[i], pool[j]] = [pool[j]!, pool[i]!];
  }
  return pool.slice(0, n);
}
