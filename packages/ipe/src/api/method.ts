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
  /** Whether configuration lets this service write a namespace (`allowed_writers`, `namespace_auth`); absent: yes. */
  readonly mayWrite?: (namespace: string) => boolean;
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

/** One REST request, its path matched, its caller authenticated and its body read. */
export interface RouteRequest {
  /** Percent-decoded parts of the path, by the names in `Route.path`. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** Lower-case names; repeated ones joined by `, `. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** The body as received, empty where there is none. */
  readonly body: Uint8Array;
  /** Media type without parameters, lower case; empty where there is none. */
  readonly contentType: string;
  /** The body as JSON. @throws IpeError `invalid_request` for another media type, `parse_error`, `too_large`. */
  json(): unknown;
  /** Calls a method of this plane with every check that `/rpc` makes. */
  call(method: string, params: unknown): Promise<unknown>;
}

/** What a route answers; `body` is sent as JSON unless it is bytes or `headers` name another `content-type`. */
export interface RouteResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** A REST door to a method. Throws like a handler; errors become `application/problem+json`. */
export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** `/policies/:path`; a parameter ends at the next `/`, which may be percent-encoded inside it. */
  readonly path: string;
  /** Name in the plane's method table whose row says which tokens may use the route; absent: no token is needed. */
  readonly guard?: string;
  handle(request: RouteRequest, context: CallContext): Promise<RouteResponse> | RouteResponse;
}

/** What a plane hands to the listeners. */
export interface PlaneService {
  readonly plane: Plane;
  readonly handlers: Handlers;
  /** REST routes beyond those that the transport has for data and control: AuthZEN's, for one. */
  readonly routes?: readonly Route[];
  /** Empty when the plane can do its work; else what is missing, for `/readyz`. */
  missing(): readonly string[];
}
