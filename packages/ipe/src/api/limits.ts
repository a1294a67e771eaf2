/** Bounds on what one plane's clients may send; `[limits]` of the configuration. */
export interface ApiLimits {
  /** Largest request body or event-stream frame. */
  readonly maxBodyBytes: number;
  /** Deepest nesting of JSON or MessagePack. */
  readonly maxDepth: number;
  /** Most requests in one JSON-RPC batch. */
  readonly maxBatch: number;
  /** Most open connections on one socket. */
  readonly maxConnections: number;
  /** Most unanswered requests on one event-stream session before reading from it pauses. */
  readonly maxInFlight: number;
  /** Most requests a second for one token; 0: no limit. */
  readonly requestsPerSecond: number;
  readonly headerTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  /** Longest time that a client may leave a response unread. */
  readonly stallTimeoutMs: number;
  /** Longest time that a draining server waits for requests under way. */
  readonly drainTimeoutMs: number;
}

export const defaultLimits: ApiLimits = {
  maxBodyBytes: 16 * 1024 * 1024,
  maxDepth: 128,
  maxBatch: 10_000,
  maxConnections: 4096,
  maxInFlight: 1024,
  requestsPerSecond: 0,
  headerTimeoutMs: 10_000,
  bodyTimeoutMs: 30_000,
  stallTimeoutMs: 60_000,
  drainTimeoutMs: 10_000,
};
