import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { IpeError } from '@ipe/core';
import type {
  MessagePlane,
  PlaneDelivery,
  PlaneInterest,
  PlaneMessage,
  PlaneStatus,
  PlaneSubscription,
} from '@ipe/core/plane';
import type { DeliverPolicy, JetStreamClient, JetStreamManager, JsMsg } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { type BrokerTlsFiles, parseBrokerUrl } from '../address.ts';
import { closeTimeoutMs, settledWithin } from '../closing.ts';
import { pause, reconnectDelayMs } from '../deliveries.ts';
import { loadBrokerClient } from '../load.ts';
import { statusOf } from '../status.ts';
import { BrokerSubscription, type SubscriptionRequest } from '../subscription.ts';

/** How to reach and use a NATS server with JetStream. */
export interface NatsPlaneOptions {
  /** `nats://` or `tls://`, one server or several of a cluster; user and password, or a token, where they are wanted. */
  readonly url: string;
  /** Stream that holds the batches; one a cluster. Default `IPE`. */
  readonly stream?: string;
  /** Copies kept by a clustered server. Default 1. */
  readonly replicas?: number;
  /** Bytes the stream may hold before the oldest batches go; laggards then catch up by anti-entropy. Default 1 GiB. */
  readonly streamBytesMax?: number;
  /** How long a batch is kept. Default one day. */
  readonly maxAgeMs?: number;
  readonly tls?: BrokerTlsFiles;
  /** A `.creds` file, for servers with decentralised authentication, or a file that holds the seed of an nkey. */
  readonly credentialsFile?: string;
}

interface Position {
  /** When the broker made the stream: a new time means another stream, whose numbers say nothing about ours. */
  readonly created: string;
  readonly sequence: number;
}

const subjectPrefix = 'data';
const publishTimeoutMs = 5_000;
const healthIntervalMs = 2_000;
/** `DeliverPolicy.StartSequence`, as a type only: the client is loaded when a configuration names it. */
const startSequence = 'by_start_sequence' as DeliverPolicy;

/**
 * The message plane over NATS JetStream: subjects `data.<namespace>.<origin>`, one stream, an ordered consumer for each
 * namespace of interest. Tried against nats-server 2.9, whose consumers take one filter each.
 */
export function openNatsPlane(options: NatsPlaneOptions): MessagePlane {
  return new NatsPlane(options);
}

class NatsPlane implements MessagePlane {
  readonly kind = 'nats';
  readonly durable = true;
  readonly #options: NatsPlaneOptions;
  readonly #subscriptions = new Set<NatsSubscription>();
  readonly #closing = new AbortController();
  #connection: NatsConnection | undefined;
  #jetstream: JetStreamClient | undefined;
  #manager: JetStreamManager | undefined;
  #connecting: Promise<void> | undefined;
  #problem: string | undefined = 'not started';
  #published = 0;
  #reconnects = 0;
  /** The server's `max_payload`, less room for headers. */
  bodyBytesMax = 1024 * 1024 - 1024;

  constructor(options: NatsPlaneOptions) {
    this.#options = options;
  }

  get stream(): string {
    return this.#options.stream ?? 'IPE';
  }

  async start(): Promise<void> {
    this.#connecting ??= this.#connect();
  }

  async publish(message: PlaneMessage): Promise<void> {
    if (message.body.length > this.bodyBytesMax) {
      throw new IpeError(
        'too_large',
        `a batch of ${message.body.length} bytes is over the server's ${this.bodyBytesMax}`,
      );
    }
    const jetstream = this.#jetstream;
    if (!jetstream || this.#problem !== undefined) throw this.#unavailable();
    try {
      await jetstream.publish(`${subjectPrefix}.${message.namespace}.${message.origin}`, message.body, {
        msgID: message.id,
        timeout: publishTimeoutMs,
      });
    } catch (cause) {
      throw new IpeError('unavailable', `NATS did not take a batch: ${(cause as Error).message}`, { cause });
    }
    this.#published++;
  }

  async mirror(namespace: string, json: Uint8Array): Promise<void> {
    if (!this.#connection || this.#problem !== undefined) throw this.#unavailable();
    this.#connection.publish(`data-json.${namespace}`, json);
  }

  subscribe(
    interest: PlaneInterest,
    deliver: (delivery: PlaneDelivery) => Promise<void>,
    cursor?: string,
  ): PlaneSubscription {
    const onClose = () => this.#subscriptions.delete(subscription);
    const subscription: NatsSubscription = new NatsSubscription(this, { interest, deliver, cursor, onClose });
    this.#subscriptions.add(subscription);
    if (this.#manager) subscription.connected();
    return subscription;
  }

  status(): PlaneStatus {
    return statusOf({
      problem: this.#problem,
      published: this.#published,
      reconnects: this.#reconnects,
      subscriptions: this.#subscriptions,
    });
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#problem = 'closed';
    await settledWithin(closeTimeoutMs, this.#drain());
    // A server that hangs or is away answers no drain, and the client would go on connecting for ever.
    await this.#connection?.close();
  }

  async #drain(): Promise<void> {
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()));
    // In this order: draining a connection whose first requests are under way would never end.
    await this.#connecting;
    if (this.#connection && !this.#connection.isClosed()) await this.#connection.drain();
  }

  /** The stream as the server has it now, or undefined while there is no answer. */
  async streamState(): Promise<{ created: string; firstSequence: number; lastSequence: number } | undefined> {
    try {
      const info = await this.#manager?.streams.info(this.stream);
      // It answers: whatever was wrong when the connection came back is over.
      if (info && this.#problem !== 'disconnected' && !this.#closing.signal.aborted) this.#problem = undefined;
      return info && { created: info.created, firstSequence: info.state.first_seq, lastSequence: info.state.last_seq };
    } catch (error) {
      if (/not found/i.test((error as Error).message)) await this.#ensureStream().catch(() => {});
      return undefined;
    }
  }

  /** An ordered consumer's messages, from a sequence or the first after it that is kept. */
  async consume(filter: string, from: number) {
    const consumer = await this.#jetstream!.consumers.get(this.stream, {
      filter_subjects: filter,
      deliver_policy: startSequence,
      opt_start_seq: from,
    });
    // Short heartbeats: with the defaults a consumer stalls for 45 s after the server is killed.
    return await consumer.consume({ idle_heartbeat: 1_000, expires: 5_000, max_messages: 256 });
  }

  #unavailable(): IpeError {
    return new IpeError('unavailable', `the message plane is not connected: ${this.#problem ?? 'starting'}`);
  }

  async #connect(): Promise<void> {
    const client = await loadBrokerClient(
      () => import('@nats-io/transport-node'),
      '@nats-io/transport-node @nats-io/jetstream',
    );
    const { jetstream, jetstreamManager } = await import('@nats-io/jetstream');
    for (let attempt = 0; !this.#closing.signal.aborted; attempt++) {
      try {
        this.#connection = await client.connect({
          ...(await connectionOptions(client, this.#options)),
          name: 'ipe',
          maxReconnectAttempts: -1,
          reconnectTimeWait: 100,
          reconnectJitter: 200,
          reconnectJitterTLS: 200,
          timeout: 2_000,
          pingInterval: 5_000,
          // Two stack traces a request are a thirtieth of what publishing a lone fact costs, and name no place of ours.
          noAsyncTraces: true,
        });
        this.#manager = await jetstreamManager(this.#connection);
        this.#jetstream = jetstream(this.#connection);
        this.bodyBytesMax = (this.#connection.info?.max_payload ?? 1024 * 1024) - 1024;
        await this.#ensureStream();
        break;
      } catch (error) {
        this.#problem = (error as Error).message;
        await this.#connection?.close().catch(() => {});
        await pause(reconnectDelayMs(attempt), this.#closing.signal);
      }
    }
    const connection = this.#connection;
    if (!connection || this.#closing.signal.aborted) {
      await connection?.close().catch(() => {});
      return;
    }
    this.#problem = undefined;
    void this.#watch(connection);
    void this.#checkHealth();
    for (const subscription of this.#subscriptions) subscription.connected();
  }

  async #watch(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (this.#closing.signal.aborted) return;
      if (status.type === 'disconnect') this.#problem = 'disconnected';
      if (status.type === 'reconnect') {
        this.#reconnects++;
        await this.#ensureStream().catch((error) => {
          this.#problem = (error as Error).message;
        });
        for (const subscription of this.#subscriptions) subscription.connected();
      }
    }
  }

  /** A stream can be purged, deleted or recreated behind our back, which no client event tells. */
  async #checkHealth(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      await pause(healthIntervalMs, this.#closing.signal);
      if (this.#problem === 'disconnected' || this.#closing.signal.aborted) continue;
      const state = await this.streamState();
      if (state) for (const subscription of this.#subscriptions) subscription.compare(state);
    }
  }

  async #ensureStream(): Promise<void> {
    const manager = this.#manager!;
    const config = {
      name: this.stream,
      subjects: [`${subjectPrefix}.>`],
      max_bytes: this.#options.streamBytesMax ?? 1024 ** 3,
      max_age: (this.#options.maxAgeMs ?? 86_400_000) * 1_000_000,
      num_replicas: this.#options.replicas ?? 1,
      duplicate_window: 120_000 * 1_000_000,
    };
    try {
      await manager.streams.info(this.stream);
    } catch (error) {
      if (!/not found/i.test((error as Error).message)) throw error;
      // Another instance may have made it meanwhile, which is as good.
      await manager.streams.add({ ...config, storage: 'file', retention: 'limits', discard: 'old' } as Parameters<
        typeof manager.streams.add
      >[0]);
    }
    this.#problem = undefined;
  }
}

/** Where to connect to, and as whom. */
async function connectionOptions(
  client: typeof import('@nats-io/transport-node'),
  { url, tls, credentialsFile }: NatsPlaneOptions,
) {
  const { servers, isSecure, username, password } = parseBrokerUrl(url);
  const secret = credentialsFile === undefined ? undefined : await readFile(credentialsFile);
  return {
    servers: [...servers],
    ...(username !== undefined && (password === undefined ? { token: username } : { user: username, pass: password })),
    ...(secret && {
      authenticator: isNkeySeed(secret)
        ? client.nkeyAuthenticator(new TextEncoder().encode(secret.toString().trim()))
        : client.credsAuthenticator(secret),
    }),
    ...(isSecure && { tls: { ...tls, ...checkedAddress(servers) } }),
  };
}

/** The client compares a certificate with a server's name only; for one that is named by its address this adds that. */
function checkedAddress(servers: readonly string[]): { host?: string } {
  const host = servers[0]!.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  return servers.length === 1 && isIP(host) !== 0 ? { host } : {};
}

/** A seed alone, such as `SUAM...`; a `.creds` file holds one among other things. */
const isNkeySeed = (secret: Buffer) => /^\s*SU[A-Z2-7]{56}\s*$/.test(secret.toString());

class NatsSubscription extends BrokerSubscription<Position> {
  readonly #plane: NatsPlane;
  readonly #readers = new Map<string, Reader>();
  /** Filters whose first reader has not begun. */
  readonly #waiting: Set<string>;

  constructor(plane: NatsPlane, request: SubscriptionRequest) {
    super(request);
    this.#plane = plane;
    this.#waiting = new Set(request.interest === 'all' ? ['*'] : request.interest);
    if (this.#waiting.size === 0) this.becomeReady();
  }

  /** (Re)starts the readers of the interest; called whenever the connection is new. */
  connected(): void {
    const filters = this.interest === 'all' ? ['*'] : this.interest;
    for (const [filter, reader] of this.#readers) {
      if (!filters.includes(filter)) this.#readers.delete(filter);
      reader.stop();
    }
    if (this.deliveries.signal.aborted) return;
    for (const filter of filters) {
      const reader = new Reader();
      this.#readers.set(filter, reader);
      void this.#read(filter, reader);
    }
  }

  /** Restarts where the broker's stream is not the one our positions are of, or went back behind them. */
  compare(state: { created: string; lastSequence: number }): void {
    for (const position of this.positions.values()) {
      if (position.created !== state.created || position.sequence > state.lastSequence) {
        this.connected();
        return;
      }
    }
  }

  protected interestChanged(): void {
    this.connected();
  }

  protected async stopReading(): Promise<void> {
    for (const reader of this.#readers.values()) reader.stop();
  }

  async #read(filter: string, reader: Reader): Promise<void> {
    for (let attempt = 0; !reader.stopped && !this.deliveries.signal.aborted; attempt++) {
      const state = await this.#plane.streamState();
      if (state && !reader.stopped) {
        try {
          const from = this.#positionIn(state, filter);
          const subject = filter === '*' ? `${subjectPrefix}.>` : `${subjectPrefix}.${filter}.*`;
          const messages = await this.#plane.consume(subject, from.sequence + 1);
          reader.onStop(() => void messages.close());
          this.#started(filter);
          for await (const message of messages) {
            if (reader.stopped || !(await this.#take(filter, state.created, message))) break;
            attempt = 0;
          }
          await messages.close();
        } catch {
          // The connection's own status says why; the loop starts again from the last position.
        }
      }
      if (!reader.stopped) await pause(reconnectDelayMs(attempt), this.deliveries.signal);
    }
  }

  /** Where a reader begins: after the last message taken, at the stream's end at first, at its start if it is another. */
  #positionIn(state: { created: string; lastSequence: number }, filter: string): Position {
    const held = this.positions.get(filter);
    if (held?.created === state.created && held.sequence <= state.lastSequence) return held;
    const position = { created: state.created, sequence: held ? 0 : state.lastSequence };
    this.positions.set(filter, position);
    return position;
  }

  #started(filter: string): void {
    this.#waiting.delete(filter);
    if (this.#waiting.size === 0) this.becomeReady();
  }

  async #take(filter: string, created: string, message: JsMsg): Promise<boolean> {
    const [, namespace, origin] = message.subject.split('.');
    return await this.take(
      filter,
      { created, sequence: message.seq },
      {
        namespace: namespace!,
        origin: origin!,
        id: message.headers?.get('Nats-Msg-Id') ?? '',
        body: message.data,
      },
    );
  }
}

/** One running consumer, which can be told to stop before it has begun. */
class Reader {
  #stop: (() => void) | undefined;
  stopped = false;

  onStop(stop: () => void): void {
    this.#stop = stop;
    if (this.stopped) stop();
  }

  stop(): void {
    this.stopped = true;
    this.#stop?.();
  }
}
