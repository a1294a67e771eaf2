import { IpeError } from '@ipe/core';
import type {
  MessagePlane,
  PlaneDelivery,
  PlaneInterest,
  PlaneMessage,
  PlaneStatus,
  PlaneSubscription,
} from '@ipe/core/plane';
import type { Admin, Consumer, EachMessagePayload, Kafka, KafkaConfig, Producer, SASLOptions } from 'kafkajs';
import { type BrokerTlsFiles, parseBrokerUrl, readTlsFiles } from '../address.ts';
import { closeTimeoutMs, settledWithin } from '../closing.ts';
import { pause, reconnectDelayMs } from '../deliveries.ts';
import { loadBrokerClient } from '../load.ts';
import { statusOf } from '../status.ts';
import { BrokerSubscription, type SubscriptionRequest } from '../subscription.ts';
import { KafkaSockets } from './sockets.ts';

/** How to reach and use a Kafka cluster. */
export interface KafkaPlaneOptions {
  /**
   * `kafka://host:port[,host:port...]`, or `kafkas://` for TLS. User and password in the URL mean SASL, by
   * `?mechanism=scram-sha-256`, `scram-sha-512` or `plain`, the default, which wants TLS.
   */
  readonly url: string;
  /** Group that this instance reads as: one of its own, since every instance takes every batch. */
  readonly groupId: string;
  readonly tls?: BrokerTlsFiles;
}

const topicPrefix = 'data.';
const topicPattern = /^data\.([a-z_][a-z0-9_-]*)$/;
const discoverIntervalMs = 10_000;
const requestTimeoutMs = 5_000;

/**
 * The message plane over Kafka: a topic a namespace, keyed by origin so that one origin's batches stay in order.
 * Positions are our own cursor; the group's committed offsets are not used. Topics are made by the broker on first use
 * (`auto.create.topics.enable`) or beforehand by its operator.
 */
export function openKafkaPlane(options: KafkaPlaneOptions): MessagePlane {
  return new KafkaPlane(options);
}

class KafkaPlane implements MessagePlane {
  readonly kind = 'kafka';
  readonly durable = true;
  /** The broker's default `message.max.bytes`, less room for headers. */
  readonly bodyBytesMax = 1_000_000 - 1_024;
  readonly #options: KafkaPlaneOptions;
  readonly #subscriptions = new Set<KafkaSubscription>();
  readonly #closing = new AbortController();
  readonly #sockets = new KafkaSockets();
  #kafka: Kafka | undefined;
  #producer: Producer | undefined;
  #admin: Admin | undefined;
  #connecting: Promise<void> | undefined;
  /** The client connects anew by itself once it has been connected; until then nothing is sent. */
  #isConnected = false;
  #problem: string | undefined = 'not started';
  #published = 0;
  #reconnects = 0;

  constructor(options: KafkaPlaneOptions) {
    this.#options = options;
  }

  get admin(): Admin {
    return this.#admin!;
  }

  async start(): Promise<void> {
    if (this.#connecting) return;
    const { Kafka, logLevel, Partitioners } = await loadBrokerClient(() => import('kafkajs'), 'kafkajs');
    this.#kafka = new Kafka({
      ...kafkaConnection(this.#options),
      clientId: 'ipe',
      logLevel: logLevel.NOTHING,
      socketFactory: this.#sockets.make,
      connectionTimeout: 2_000,
      requestTimeout: requestTimeoutMs,
      // Bounded, so that a publish is refused in time; the outbox tries again.
      retry: { retries: 2, initialRetryTime: 100, maxRetryTime: 1_000 },
    });
    this.#producer = this.#kafka.producer({
      createPartitioner: Partitioners.DefaultPartitioner,
      allowAutoTopicCreation: true,
    });
    this.#admin = this.#kafka.admin();
    this.#connecting = this.#connect();
  }

  async publish(message: PlaneMessage): Promise<void> {
    if (message.body.length > this.bodyBytesMax) {
      throw new IpeError(
        'too_large',
        `a batch of ${message.body.length} bytes is over the limit of ${this.bodyBytesMax}`,
      );
    }
    const value = Buffer.from(message.body.buffer, message.body.byteOffset, message.body.length);
    await this.#send(topicPrefix + message.namespace, { key: message.origin, value, headers: { i: message.id } });
    this.#published++;
  }

  async mirror(namespace: string, json: Uint8Array): Promise<void> {
    await this.#send(`data-json.${namespace}`, { value: Buffer.from(json) });
  }

  subscribe(
    interest: PlaneInterest,
    deliver: (delivery: PlaneDelivery) => Promise<void>,
    cursor?: string,
  ): PlaneSubscription {
    const onClose = () => this.#subscriptions.delete(subscription);
    const subscription: KafkaSubscription = new KafkaSubscription(this, { interest, deliver, cursor, onClose });
    this.#subscriptions.add(subscription);
    subscription.begin();
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
    await settledWithin(closeTimeoutMs, this.#disconnect());
    this.#sockets.close();
  }

  async #disconnect(): Promise<void> {
    await this.#connecting;
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()));
    await Promise.allSettled([this.#producer?.disconnect(), this.#admin?.disconnect()]);
  }

  /** Resolves once the cluster answers; false when the plane closes first. */
  async connected(): Promise<boolean> {
    while (!this.#connecting && !this.#closing.signal.aborted) await pause(50, this.#closing.signal);
    await this.#connecting;
    return !this.#closing.signal.aborted;
  }

  /** A reader. Each start is a group of its own, because kafkajs leaves a group only after its session has timed out. */
  consumer(serial: number): Consumer {
    return this.#kafka!.consumer({
      groupId: `${this.#options.groupId}-${serial}`,
      sessionTimeout: 6_000,
      heartbeatInterval: 1_000,
      maxWaitTimeInMs: 500,
      allowAutoTopicCreation: true,
      retry: { retries: 2, initialRetryTime: 100, maxRetryTime: 1_000, restartOnFailure: async () => false },
    });
  }

  async #send(
    topic: string,
    message: { key?: string; value: Buffer; headers?: Record<string, string> },
  ): Promise<void> {
    const producer = this.#producer;
    if (!producer || !this.#isConnected || this.#closing.signal.aborted) {
      throw new IpeError('unavailable', `the message plane is not connected: ${this.#problem ?? 'starting'}`);
    }
    try {
      await producer.send({ topic, acks: -1, timeout: requestTimeoutMs, messages: [{ key: null, ...message }] });
      if (this.#problem !== undefined && !this.#closing.signal.aborted) {
        this.#problem = undefined;
        this.#reconnects++;
      }
    } catch (cause) {
      if (!this.#closing.signal.aborted) this.#problem = (cause as Error).message;
      throw new IpeError('unavailable', `Kafka did not take a batch: ${(cause as Error).message}`, { cause });
    }
  }

  async #connect(): Promise<void> {
    for (let attempt = 0; !this.#closing.signal.aborted; attempt++) {
      try {
        await this.#producer!.connect();
        await this.#admin!.connect();
        if (this.#closing.signal.aborted) return;
        this.#isConnected = true;
        this.#problem = undefined;
        return;
      } catch (error) {
        this.#problem = (error as Error).message;
        this.#reconnects++;
        await pause(reconnectDelayMs(attempt), this.#closing.signal);
      }
    }
  }
}

/** Where to connect to, and as whom. @throws IpeError `invalid_params` for a mechanism that is not known */
export function kafkaConnection({ url, tls }: Pick<KafkaPlaneOptions, 'url' | 'tls'>): KafkaConfig {
  const { servers, isSecure, username, password, parameters } = parseBrokerUrl(url);
  const mechanism = parameters.get('mechanism') ?? 'plain';
  if (!mechanisms.includes(mechanism)) {
    throw new IpeError(
      'invalid_params',
      `no SASL mechanism \`${mechanism}\`; expected one of ${mechanisms.join(', ')}`,
    );
  }
  return {
    brokers: [...servers],
    ...(isSecure && { ssl: tls === undefined ? true : readTlsFiles(tls) }),
    ...(username !== undefined && password !== undefined && { sasl: { mechanism, username, password } as SASLOptions }),
  };
}

const mechanisms: readonly string[] = ['plain', 'scram-sha-256', 'scram-sha-512'];

let groupSerial = 0;

/** Positions are the next offsets to read, by `namespace/partition`. */
class KafkaSubscription extends BrokerSubscription<number> {
  readonly #plane: KafkaPlane;
  #restart = new AbortController();
  #running: Promise<void> | undefined;

  constructor(plane: KafkaPlane, request: SubscriptionRequest) {
    super(request);
    this.#plane = plane;
  }

  begin(): void {
    this.#running ??= this.#run();
  }

  protected interestChanged(): void {
    this.#restart.abort();
  }

  protected async stopReading(): Promise<void> {
    this.#restart.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    if (!(await this.#plane.connected())) return;
    let first = true;
    for (let attempt = 0; !this.deliveries.signal.aborted; attempt++) {
      this.#restart = new AbortController();
      try {
        const topics = await this.#topics();
        if (topics.length > 0) await this.#read(topics, first);
        else {
          this.becomeReady();
          await pause(discoverIntervalMs / 10, this.#restart.signal);
        }
        first = false;
      } catch {
        await pause(reconnectDelayMs(attempt), this.deliveries.signal);
      }
    }
  }

  async #topics(): Promise<string[]> {
    if (this.interest !== 'all') return this.interest.map((namespace) => topicPrefix + namespace);
    return (await this.#plane.admin.listTopics()).filter((topic) => topicPattern.test(topic));
  }

  /** Reads until the interest or the set of topics changes, or the consumer crashes. */
  async #read(topics: string[], first: boolean): Promise<void> {
    const restart = this.#restart;
    const consumer = this.#plane.consumer(groupSerial++);
    consumer.on(consumer.events.CRASH, () => restart.abort());
    const joined = new Promise<void>((resolve) => {
      consumer.on(consumer.events.GROUP_JOIN, () => resolve());
    });
    try {
      await consumer.connect();
      // Topics found later are new to us whole; a new subscription begins at the end, as `#align` seeks.
      await consumer.subscribe({ topics, fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachMessage: (payload) => this.#take(payload),
      });
      await Promise.race([joined, aborted(restart.signal)]);
      await this.#align(consumer, topics, first);
      this.becomeReady();
      await this.#untilChanged(topics, restart.signal);
    } finally {
      await consumer.disconnect().catch(() => {});
    }
  }

  async #align(consumer: Consumer, topics: readonly string[], first: boolean): Promise<void> {
    for (const topic of topics) {
      const namespace = topic.slice(topicPrefix.length);
      for (const { partition, low, high } of await this.#plane.admin.fetchTopicOffsets(topic)) {
        const key = `${namespace}/${partition}`;
        const held = this.positions.get(key);
        // Beyond the end: another topic under the same name. Below the start: trimmed.
        const usable = held !== undefined && held <= Number(high) && held >= Number(low);
        const offset = usable ? held : held === undefined && first ? Number(high) : Number(low);
        this.positions.set(key, offset);
        consumer.seek({ topic, partition, offset: String(offset) });
      }
    }
  }

  async #untilChanged(topics: readonly string[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(this.interest === 'all' ? discoverIntervalMs / 10 : discoverIntervalMs, signal);
      if (signal.aborted || this.interest !== 'all') continue;
      const now = await this.#topics();
      if (now.some((topic) => !topics.includes(topic))) return;
    }
  }

  async #take({ topic, partition, message }: EachMessagePayload): Promise<void> {
    const namespace = topic.slice(topicPrefix.length);
    const key = `${namespace}/${partition}`;
    const offset = Number(message.offset);
    // Fetched before the seek took effect: it comes again, or is older than where we begin.
    const held = this.positions.get(key);
    if (held === undefined || offset < held) return;
    await this.take(key, offset + 1, {
      namespace,
      origin: message.key?.toString() ?? '',
      id: message.headers?.['i']?.toString() ?? '',
      body: message.value ?? new Uint8Array(),
    });
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
