/**
 * The fast path between instances: takes batches of log records to whoever wants them, and may lose, repeat, delay or
 * reorder any of them. Nothing rests on it: what it loses, anti-entropy on the peer links finds (DESIGN §4).
 * Bodies are opaque here: the replica signs, compresses and checks them.
 *
 * Every plane passes `runPlaneConformance` of `@ipe/core/testkit`.
 */
export interface MessagePlane {
  /** `memory`, `nats`, `redis`, `kafka`, `gossip`: for configuration, logs and metrics. */
  readonly kind: string;
  /** Largest `body` that can be published; larger records are announced and pulled over the peer links. */
  readonly bodyBytesMax: number;
  /** Whether the plane keeps messages for subscribers that are away, so that a cursor can resume. */
  readonly durable: boolean;

  /**
   * Begins to connect, and reconnects for ever with jitter. Resolves at once: a broker that is down at start is a
   * state, not an error.
   */
  start(): Promise<void>;

  /**
   * Hands one batch to the plane. Resolves once the plane has taken it (a broker's acknowledgement; for gossip, the
   * sockets' buffers), which promises nothing about who will see it.
   * @throws IpeError `unavailable` while disconnected or when the broker refuses; `too_large` over `bodyBytesMax`.
   *   The caller keeps the batch (the log is the outbox) and decides when to try again.
   */
  publish(message: PlaneMessage): Promise<void>;

  /**
   * Delivers messages of the interest, own ones possibly included, to `deliver`, one at a time for a cursor: the next
   * waits until the promise resolves, which is the back-pressure. A rejection delivers the message again later.
   * @param cursor as a delivery handed it out; resumes after that message where the plane is durable. A cursor that the
   *   broker no longer knows (purged, reset, trimmed) resumes at what it still has. None: begins with what is published
   *   once `ready` has resolved.
   */
  subscribe(
    interest: PlaneInterest,
    deliver: (delivery: PlaneDelivery) => Promise<void>,
    cursor?: string,
  ): PlaneSubscription;

  /**
   * Publishes a change as the JSON of RFC-005 for other programs, on `data-json.<namespace>`. Nobody's delivery depends
   * on it. Absent on planes that other programs cannot read.
   * @throws IpeError `unavailable` while disconnected; the change is then missing from the mirror.
   */
  mirror?(namespace: string, json: Uint8Array): Promise<void>;

  status(): PlaneStatus;

  /** Flushes what was taken, then disconnects. Idempotent. */
  close(): Promise<void>;
}

/** Namespaces to receive: all of them, or a list. */
export type PlaneInterest = 'all' | readonly string[];

export interface PlaneMessage {
  readonly namespace: string;
  /** Whose log records the body holds: 16 hexadecimal digits. */
  readonly origin: string;
  /** Names the batch for the broker's own deduplication, which is welcome and not relied upon. */
  readonly id: string;
  readonly body: Uint8Array;
}

export interface PlaneDelivery extends PlaneMessage {
  /** Where to resume after this message; opaque, at most 4 KiB. Absent on planes that keep nothing. */
  readonly cursor?: string;
}

export interface PlaneSubscription {
  /** Resolves once messages published from then on are delivered; waits for a broker that is away. */
  readonly ready: Promise<void>;
  /** Replaces the interest; messages of namespaces no longer wanted stop soon after. */
  update(interest: PlaneInterest): void;
  /** Stops deliveries; resolves when none is under way. */
  close(): Promise<void>;
}

export interface PlaneStatus {
  readonly connected: boolean;
  /** What keeps it from being connected, in words for an operator. */
  readonly problem?: string;
  readonly published: number;
  readonly delivered: number;
  readonly reconnects: number;
}
