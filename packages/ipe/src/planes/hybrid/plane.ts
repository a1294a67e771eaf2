import { IpeError } from '@ipe/core';
import type {
  MessagePlane,
  PlaneDelivery,
  PlaneInterest,
  PlaneMessage,
  PlaneStatus,
  PlaneSubscription,
} from '@ipe/core/plane';
import type { GossipPlane, GossipSubscription } from '../gossip/plane.ts';

/** What is watched to tell that the broker is away. */
const watchIntervalMs = 250;

/**
 * A broker as the fast path and gossip as the fallback (RFC-005, "Hybrid"). With the broker in reach a batch goes to it,
 * and over gossip only to peers that lost theirs; without it, over gossip to everybody. A batch may come both ways:
 * the replica knows it by its dots.
 */
export function openHybridPlane(broker: MessagePlane, gossip: GossipPlane): MessagePlane {
  const subscriptions = new Set<HybridSubscription>();
  let watcher: NodeJS.Timeout | undefined;
  let closed = false;
  return {
    kind: 'hybrid',
    bodyBytesMax: Math.min(broker.bodyBytesMax, gossip.bodyBytesMax),
    durable: broker.durable,
    async start() {
      await gossip.start();
      await broker.start();
      watcher = setInterval(() => {
        for (const subscription of subscriptions) subscription.follow(broker.status().connected);
      }, watchIntervalMs).unref();
    },
    async publish(message: PlaneMessage) {
      if (closed) throw new IpeError('unavailable', 'the message plane is closed');
      if (message.body.length > this.bodyBytesMax) {
        throw new IpeError(
          'too_large',
          `a batch of ${message.body.length} bytes is over the limit of ${this.bodyBytesMax}`,
        );
      }
      if (broker.status().connected) {
        void gossip.publish(message).catch(() => {});
        try {
          await broker.publish(message);
          return;
        } catch {
          // It went away meanwhile: gossip, below.
        }
      }
      await gossip.publishToAll(message);
    },
    ...(broker.mirror && { mirror: (namespace: string, json: Uint8Array) => broker.mirror!(namespace, json) }),
    subscribe(interest, deliver, cursor) {
      const subscription = new HybridSubscription(broker, gossip, interest, deliver, cursor, () =>
        subscriptions.delete(subscription),
      );
      subscriptions.add(subscription);
      return subscription;
    },
    status(): PlaneStatus {
      const [fast, slow] = [broker.status(), gossip.status()];
      const connected = !closed && (fast.connected || slow.connected);
      const problem = closed
        ? 'closed'
        : fast.connected
          ? undefined
          : `${broker.kind}: ${fast.problem ?? 'disconnected'}; gossip ${slow.connected ? 'carries the batches' : `too: ${slow.problem}`}`;
      return {
        connected,
        published: fast.published + slow.published,
        delivered: fast.delivered + slow.delivered,
        reconnects: fast.reconnects + slow.reconnects,
        ...(problem !== undefined && { problem }),
      };
    },
    async close() {
      if (closed) return;
      closed = true;
      clearInterval(watcher);
      await broker.close();
      await gossip.close();
    },
  };
}

class HybridSubscription implements PlaneSubscription {
  readonly #fast: PlaneSubscription;
  readonly #slow: GossipSubscription;
  readonly #onClose: () => void;
  readonly ready: Promise<void>;
  #brokerReady = false;
  #gossipQuiet = false;

  constructor(
    broker: MessagePlane,
    gossip: GossipPlane,
    interest: PlaneInterest,
    deliver: (delivery: PlaneDelivery) => Promise<void>,
    cursor: string | undefined,
    onClose: () => void,
  ) {
    this.#onClose = onClose;
    this.#fast = broker.subscribe(interest, deliver, cursor);
    this.#slow = gossip.subscribe(interest, deliver);
    this.ready = Promise.race([this.#fast.ready, this.#slow.ready]);
    // Until the broker's reader has begun, a batch that goes to the broker alone would pass unseen.
    void this.#fast.ready.then(() => {
      this.#brokerReady = true;
      this.follow(broker.status().connected);
    });
  }

  /** While the broker is away, peers are asked to push; when it is back, to stop. */
  follow(brokerConnected: boolean): void {
    const quiet = brokerConnected && this.#brokerReady;
    if (quiet === this.#gossipQuiet) return;
    this.#gossipQuiet = quiet;
    this.#slow.hush(quiet);
  }

  update(interest: PlaneInterest): void {
    this.#fast.update(interest);
    this.#slow.update(interest);
  }

  async close(): Promise<void> {
    this.#onClose();
    await Promise.all([this.#fast.close(), this.#slow.close()]);
  }
}
