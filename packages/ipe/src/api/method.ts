import type { Plane, TokenKind } from '@ipe/client/protocol';

/** Who sent a request, as the plane's authentication established it. */
export interface Caller {
  readonly kind: TokenKind;
  /** Token id for audit and rate limits; `local` where `require_auth = false` on a unix socket. */
  readonly tokenId: string;
  /** Service or application name the token was issued to. */
  readonly name: string;
  /** Data namespaces a service token may touch; absent: all that are not reserved. */
  readonly namespaces?: readonly string[];
  /** Verbs granted on those namespaces; absent: both. */
  readonly verbs?: readonly ('read' | 'write')[];
  /** Extra grants, such as `explain` for application tokens. */
  readonly grants?: readonly string[];
}

/** What a method may use besides its parameters. */
export interface CallContext {
  readonly caller: Caller;
  /** Aborted when the client goes away or the node drains past its grace. */
  readonly signal: AbortSignal;
  /** `X-Request-ID`, where the client sent one. */
  readonly requestId?: string;
  /** Present on event-stream sessions and SSE only: how a subscription sends. */
  readonly session?: Session;
}

/** The server's side of a connection that can receive notifications. */
export interface Session {
  /**
   * Sends one notification frame. Resolves once the connection's buffer has room again, so awaiting it is the
   * back-pressure; rejects when the connection is gone.
   */
  notify(event: string, data: unknown, id?: string): Promise<void>;
  /** Aborted when the session ends; subscriptions stop on it. */
  readonly signal: AbortSignal;
}

/**
 * One method: checked JSON in, JSON-able result out. Throws `IpeError` for every expected failure; anything else is
 * answered as `internal` and logged with an id.
 */
export type Handler = (params: unknown, context: CallContext) => unknown | Promise<unknown>;

/** A plane's methods by name. The transport authenticates, checks token kind and plane, then calls. */
export type Handlers = Readonly<Record<string, Handler>>;

/** What a plane hands to the listeners. */
export interface PlaneService {
  readonly plane: Plane;
  readonly handlers: Handlers;
  /** Empty when the plane can do its work; else what is missing, for `/readyz`. */
  missing(): readonly string[];
}
