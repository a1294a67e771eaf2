import { IpeError } from '@ipe/core';
import type {
  MessagePlane,
  PlaneDelivery,
  PlaneInterest,
  PlaneMessage,
  PlaneStatus,
  PlaneSubscription,
} from '@ipe/core/plane';
import { type BrokerTlsFiles, parseBrokerUrl, readTlsFiles } from '../address.ts';
import { pause, reconnectDelayMs } from '../deliveries.ts';
import { loadBrokerClient } from '../load.ts';
import { statusOf } from '../status.ts';
import { BrokerSubscription, type SubscriptionRequest } from '../subscription.ts';

/** How to reach and use a Redis server. */
export interface RedisPlaneOptions {
  /** `redis://` or `rediss://`, user and password in the URL where the server wants them. */
  readonly url: string;
  /** Prefix of every key. Default `ipe`. */
  readonly prefix?: string;
  /** Batches kept in each stream, approximately. Default 100,000. */
  readonly streamLengthMax?: number;
  readonly tls?: BrokerTlsFiles;
}

const blockMs = 1_000;
/** A connection on which nothing came for so long, pings answered included, is given up: nobody would tell otherwise. */
const silenceMaxMs = 5_000;
const readCount = 64;

type Redis = typeof import('redis');
type Client = ReturnType<typeof createClient>;

/**
 * The message plane over Redis Streams: one stream a namespace, `<prefix>:data.<namespace>`, and one that lists the
 * namespaces, so that an interest in all of them needs no scan. Reading blocks and has a connection of its own.
 */
export function openRedisPlane(options: RedisPlaneOptions): MessagePlane {
  return new RedisPlane(options);
}

function createClient(redis: Redis, options: RedisPlaneOptions) {
  const socket = {
    connectTimeout: 2_000,
    socketTimeout: silenceMaxMs,
    reconnectStrategy: (attempt: number) => reconnectDelayMs(attempt),
    ...(parseBrokerUrl(options.url).isSecure && { tls: true as const, ...readTlsFiles(options.tls ?? {}) }),
  };
  return redis.createClient({
    url: options.url,
    RESP: 3,
    // A batch that waits unseen in the client would look taken: refuse while disconnected, the log is the outbox.
    disableOfflineQueue: true,
    socket: socket as object,
    pingInterval: silenceMaxMs / 3,
    commandOptions: { typeMapping: { [redis.RESP_TYPES.BLOB_STRING]: Buffer } },
  });
}

class RedisPlane implements MessagePlane {
  readonly kind = 'redis';
  readonly durable = true;
  /** Redis takes 512 MB; a batch that large would block it for everybody. */
  readonly bodyBytesMax = 8 * 1024 * 1024;
  readonly options: RedisPlaneOptions;
  readonly #subscriptions = new Set<RedisSubscription>();
  readonly #announced = new Set<string>();
  #client: Client | undefined;
  #redis: Redis | undefined;
  #starting: Promise<void> | undefined;
  #problem: string | undefined = 'not started';
  #published = 0;
  #reconnects = 0;
  #closed = false;

  constructor(options: RedisPlaneOptions) {
    this.options = options;
  }

  get prefix(): string {
    return this.options.prefix ?? 'ipe';
  }

  streamOf(namespace: string): string {
    return `${this.prefix}:data.${namespace}`;
  }

  get registry(): string {
    return `${this.prefix}:namespaces`;
  }

  async start(): Promise<void> {
    this.#starting ??= this.#connect();
    await this.#starting;
  }

  async publish(message: PlaneMessage): Promise<void> {
    if (message.body.length > this.bodyBytesMax) {
      throw new IpeError(
        'too_large',
        `a batch of ${message.body.length} bytes is over the limit of ${this.bodyBytesMax}`,
      );
    }
    const client = this.#client;
    if (!client?.isReady || this.#closed) throw this.#unavailable();
    const key = this.streamOf(message.namespace);
    const threshold = String(this.options.streamLengthMax ?? 100_000);
    try {
      const body = Buffer.from(message.body.buffer, message.body.byteOffset, message.body.length);
      await client.sendCommand([
        'XADD',
        key,
        'MAXLEN',
        '~',
        threshold,
        '*',
        'o',
        message.origin,
        'i',
        message.id,
        'b',
        body,
      ]);
      if (!this.#announced.has(message.namespace)) {
        await client.sendCommand(['XADD', this.registry, 'MAXLEN', '~', '10000', '*', 'n', message.namespace]);
        this.#announced.add(message.namespace);
      }
    } catch (cause) {
      throw new IpeError('unavailable', `Redis did not take a batch: ${(cause as Error).message}`, { cause });
    }
    this.#published++;
  }

  async mirror(namespace: string, json: Uint8Array): Promise<void> {
    const client = this.#client;
    if (!client?.isReady || this.#closed) throw this.#unavailable();
    await client.sendCommand(['PUBLISH', `data-json.${namespace}`, Buffer.from(json)]);
  }

  subscribe(
    interest: PlaneInterest,
    deliver: (delivery: PlaneDelivery) => Promise<void>,
    cursor?: string,
  ): PlaneSubscription {
    const onClose = () => this.#subscriptions.delete(subscription);
    const subscription: RedisSubscription = new RedisSubscription(this, { interest, deliver, cursor, onClose });
    this.#subscriptions.add(subscription);
    if (this.#redis) subscription.begin();
    return subscription;
  }

  status(): PlaneStatus {
    const connected = this.#client?.isReady === true && !this.#closed;
    return statusOf({
      problem: connected ? undefined : (this.#problem ?? 'disconnected'),
      published: this.#published,
      reconnects: this.#reconnects,
      subscriptions: this.#subscriptions,
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#problem = 'closed';
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()));
    dropClient(this.#client);
  }

  /** A connection of its own for a blocking reader; resolves when it is ready, for ever trying. */
  async connectReader(): Promise<Client> {
    const client = createClient(this.#redis!, this.options);
    client.on('error', () => {});
    await client.connect();
    return client;
  }

  #unavailable(): IpeError {
    return new IpeError('unavailable', `the message plane is not connected: ${this.#problem ?? 'disconnected'}`);
  }

  async #connect(): Promise<void> {
    this.#redis = await loadBrokerClient(() => import('redis'), 'redis');
    const client = createClient(this.#redis, this.options);
    this.#client = client;
    client.on('error', (error: Error) => {
      this.#problem = error.message || String(error);
    });
    let first = true;
    client.on('ready', () => {
      this.#problem = undefined;
      if (!first) this.#reconnects++;
      first = false;
      // The server may have come back empty, without the list of namespaces.
      this.#announced.clear();
    });
    void client.connect().catch((error: Error) => {
      this.#problem = error.message;
    });
    for (const subscription of this.#subscriptions) subscription.begin();
  }
}

/** Positions are the last ids taken of each stream, by namespace. */
class RedisSubscription extends BrokerSubscription<string> {
  readonly #plane: RedisPlane;
  #registryPosition = '0';
  #discovered = new Set<string>();
  #running: Promise<void> | undefined;
  #client: Client | undefined;

  constructor(plane: RedisPlane, request: SubscriptionRequest) {
    super(request);
    this.#plane = plane;
  }

  begin(): void {
    this.#running ??= this.#run();
  }

  /** The next read asks for what is wanted then. */
  protected interestChanged(): void {}

  protected async stopReading(): Promise<void> {
    dropClient(this.#client);
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.deliveries;
    let first = true;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        this.#client = await this.#plane.connectReader();
        // Close may have come while the connection was being made, and did not see it.
        if (signal.aborted) break;
        await this.#align(first);
        first = false;
        this.becomeReady();
        while (!signal.aborted && this.#client.isReady) {
          if (!(await this.#readOnce())) await this.#align(false);
          attempt = 0;
        }
      } catch {
        // Disconnected; the plane's own connection says why. Begin again from the last positions.
      }
      dropClient(this.#client);
      await pause(reconnectDelayMs(attempt), signal);
    }
    dropClient(this.#client);
  }

  /**
   * Sets where each stream is read from: behind the last message taken; at the stream's end when the subscription is
   * new; at its beginning when the stream is not the one the position is of (its last id is lower: purged or replaced).
   */
  async #align(first: boolean): Promise<void> {
    if (this.interest === 'all') await this.#discover();
    for (const namespace of this.#wanted()) {
      const held = this.positions.get(namespace);
      const last = await this.#lastId(namespace);
      if (held === undefined) this.positions.set(namespace, first ? last : '0');
      else if (compareIds(held, last) > 0) this.positions.set(namespace, '0');
    }
  }

  async #discover(): Promise<void> {
    const last = await this.#lastIdOf(this.#plane.registry);
    if (compareIds(this.#registryPosition, last) > 0) this.#registryPosition = '0';
    const rows = (await this.#client!.sendCommand([
      'XRANGE',
      this.#plane.registry,
      this.#registryPosition === '0' ? '-' : `(${this.#registryPosition}`,
      '+',
    ])) as [Buffer, Buffer[]][];
    for (const [id, fields] of rows) {
      this.#discovered.add(fields[1]!.toString());
      this.#registryPosition = id.toString();
    }
  }

  #wanted(): string[] {
    return this.interest === 'all' ? [...this.#discovered] : [...this.interest];
  }

  #lastId(namespace: string): Promise<string> {
    return this.#lastIdOf(this.#plane.streamOf(namespace));
  }

  async #lastIdOf(key: string): Promise<string> {
    const rows = (await this.#client!.sendCommand(['XREVRANGE', key, '+', '-', 'COUNT', '1'])) as [Buffer, unknown][];
    // A stream that was trimmed to nothing still knows its last id; one that was deleted does not.
    if (rows.length > 0) return rows[0]![0].toString();
    const exists = await this.#client!.sendCommand(['EXISTS', key]);
    if (Number(exists) === 0) return '0';
    const info = (await this.#client!.sendCommand(['XINFO', 'STREAM', key])) as unknown;
    return String(fieldOf(info, 'last-generated-id') ?? '0');
  }

  /** @returns false when nothing came in a while, which is when a look at the streams themselves is due. */
  async #readOnce(): Promise<boolean> {
    const wanted = this.#wanted();
    for (const namespace of wanted) if (!this.positions.has(namespace)) this.positions.set(namespace, '0');
    const keys = wanted.map((namespace) => this.#plane.streamOf(namespace));
    const ids = wanted.map((namespace) => this.positions.get(namespace)!);
    if (this.interest === 'all') {
      keys.push(this.#plane.registry);
      ids.push(this.#registryPosition);
    }
    if (keys.length === 0) {
      await pause(blockMs, this.deliveries.signal);
      return false;
    }
    const command = ['XREAD', 'COUNT', String(readCount), 'BLOCK', String(blockMs), 'STREAMS', ...keys, ...ids];
    const reply = (await this.#client!.sendCommand(command)) as unknown;
    if (reply === null) return false;
    for (const [key, rows] of streamsOf(reply)) {
      if (key === this.#plane.registry) await this.#discover();
      else if (!(await this.#take(key.slice(this.#plane.streamOf('').length), rows))) return true;
    }
    return true;
  }

  async #take(namespace: string, rows: readonly (readonly [Buffer, readonly Buffer[]])[]): Promise<boolean> {
    for (const [id, fields] of rows) {
      const taken = await this.take(namespace, id.toString(), {
        namespace,
        origin: field(fields, 'o')?.toString() ?? '',
        id: field(fields, 'i')?.toString() ?? '',
        body: field(fields, 'b') ?? new Uint8Array(),
      });
      if (!taken) return false;
    }
    return true;
  }
}

function field(fields: readonly Buffer[], name: string): Buffer | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i]!.toString() === name) return fields[i + 1];
  return undefined;
}

/** RESP 3 answers XREAD with a map, which the client hands over as one of several shapes. */
function streamsOf(reply: unknown): [string, [Buffer, Buffer[]][]][] {
  if (reply instanceof Map) return [...reply].map(([key, rows]) => [String(key), rows]);
  if (Array.isArray(reply)) {
    return Array.isArray(reply[0])
      ? reply.map(([key, rows]) => [String(key), rows])
      : reply.flatMap((key, i) => (i % 2 === 0 ? [[String(key), reply[i + 1]] as [string, [Buffer, Buffer[]][]]] : []));
  }
  return Object.entries(reply as Record<string, [Buffer, Buffer[]][]>);
}

function fieldOf(info: unknown, name: string): unknown {
  if (info instanceof Map) {
    for (const [key, value] of info) if (String(key) === name) return value;
    return undefined;
  }
  if (Array.isArray(info)) {
    const at = info.findIndex((item, i) => i % 2 === 0 && String(item) === name);
    return at < 0 ? undefined : info[at + 1];
  }
  return (info as Record<string, unknown>)[name];
}

/** Stream ids are `ms-sequence`. */
function compareIds(a: string, b: string): number {
  const [aMs = 0, aSequence = 0] = a.split('-').map(Number);
  const [bMs = 0, bSequence = 0] = b.split('-').map(Number);
  return aMs - bMs || aSequence - bSequence;
}

/** Drops a connection at once: what is still unanswered is in the log, and a server that hangs would never answer it. */
function dropClient(client: Client | undefined): void {
  try {
    client?.destroy();
  } catch {
    // It went away by itself.
  }
}
