import { IpeError } from '@ipe/core';
import type { MessagePlane, PlaneDelivery, PlaneInterest, PlaneMessage, PlaneSubscription } from '@ipe/core/plane';
import { Deliveries } from '../deliveries.ts';
import { wants } from '../interest.ts';
import { statusOf } from '../status.ts';

/** What the planes of one process share: the messages published so far, bounded. */
export class MemoryExchange {
  readonly #limit: number;
  readonly #watchers = new Set<() => void>();
  #first = 0;
  #messages: PlaneMessage[] = [];

  /** @param limit messages kept for subscribers that are behind; older ones are forgotten, as a broker's retention does. */
  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  append(message: PlaneMessage): void {
    this.#messages.push(message);
    if (this.#messages.length > this.#limit) {
      this.#messages.shift();
      this.#first++;
    }
    for (const watcher of this.#watchers) watcher();
  }

  /** The message at or after position `at`, with its own position. */
  read(at: number): { position: number; message: PlaneMessage } | undefined {
    const position = Math.max(at, this.#first);
    const message = this.#messages[position - this.#first];
    return message && { position, message };
  }

  get end(): number {
    return this.#first + this.#messages.length;
  }

  purge(): void {
    this.#first = this.end;
    this.#messages = [];
  }

  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }
}

/** A plane between replicas of one process: the reference for the contract, and the single node's plane. */
export function openMemoryPlane(exchange: MemoryExchange = new MemoryExchange()): MessagePlane {
  const subscriptions = new Set<MemorySubscription>();
  let published = 0;
  let closed = false;
  return {
    kind: 'memory',
    bodyBytesMax: 16 * 1024 * 1024,
    durable: true,
    async start() {},
    async publish(message) {
      if (closed) throw new IpeError('unavailable', 'the message plane is closed');
      if (message.body.length > this.bodyBytesMax) {
        throw new IpeError('too_large', `a batch of ${message.body.length} bytes is over the plane's limit`);
      }
      exchange.append({ ...message, body: message.body.slice() });
      published++;
    },
    subscribe(interest, deliver, cursor) {
      const subscription = new MemorySubscription(exchange, interest, deliver, cursor);
      subscriptions.add(subscription);
      return subscription;
    },
    status: () => statusOf({ problem: closed ? 'closed' : undefined, published, reconnects: 0, subscriptions }),
    async close() {
      closed = true;
      await Promise.all([...subscriptions].map((subscription) => subscription.close()));
    },
  };
}

class MemorySubscription implements PlaneSubscription {
  readonly ready = Promise.resolve();
  readonly #exchange: MemoryExchange;
  readonly #deliveries: Deliveries;
  readonly #unwatch: () => void;
  #interest: PlaneInterest;
  #position: number;
  #running = false;

  constructor(
    exchange: MemoryExchange,
    interest: PlaneInterest,
    deliver: (delivery: PlaneDelivery) => Promise<void>,
    cursor: string | undefined,
  ) {
    this.#exchange = exchange;
    this.#interest = interest;
    this.#deliveries = new Deliveries(deliver);
    const resumed = cursor === undefined ? Number.NaN : Number(cursor) + 1;
    this.#position = resumed <= exchange.end ? resumed : cursor === undefined ? exchange.end : 0;
    this.#unwatch = exchange.watch(() => void this.#run());
    queueMicrotask(() => void this.#run());
  }

  get delivered(): number {
    return this.#deliveries.delivered;
  }

  update(interest: PlaneInterest): void {
    this.#interest = interest;
  }

  async close(): Promise<void> {
    this.#unwatch();
    await this.#deliveries.close();
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      for (let next = this.#next(); next; next = this.#next()) {
        const { position, message } = next;
        if (wants(this.#interest, message.namespace)) {
          if (!(await this.#deliveries.push({ ...message, cursor: String(position) }))) return;
        }
        this.#position = position + 1;
      }
    } finally {
      this.#running = false;
    }
  }

  #next() {
    return this.#deliveries.signal.aborted ? undefined : this.#exchange.read(this.#position);
  }
}
