import { type ErrorReason, errorCodes } from './protocol/index.ts';

/** What the client itself can run into, beside the reasons a server states. */
export type ClientReason =
  /** The connection could not be made, or broke. */
  | 'connection'
  /** No answer within `timeoutMs`. */
  | 'timeout'
  /** The caller's `AbortSignal` fired. */
  | 'aborted'
  /** The client or the session was closed before the call. */
  | 'closed'
  /** The other side answered something that is not the protocol. */
  | 'protocol';

/**
 * The one error this package raises.
 *
 * `reason` is stable and for machines, `message` for people; `state` says what the failed call did to stored state
 * (`unknown`: it may or may not have happened, so read before writing again); `details` is what the server sent beside
 * (`nearest`, `retry_after`, the current entry of a conflict, ...).
 *
 * @example
 * try {
 *   await client.data.put('approvals.d1', value, { if_version: 3 });
 * } catch (error) {
 *   if (isIpeClientError(error) && error.reason === 'conflict') merge(error.details.current);
 *   else throw error;
 * }
 */
export class IpeClientError extends Error {
  readonly reason: ErrorReason | ClientReason;
  readonly state: 'unchanged' | 'applied' | 'unknown';
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    reason: ErrorReason | ClientReason,
    message: string,
    options: {
      state?: IpeClientError['state'];
      details?: Readonly<Record<string, unknown>>;
      cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'IpeClientError';
    this.reason = reason;
    this.state = options.state ?? 'unknown';
    this.details = options.details ?? {};
    Object.defineProperty(this, brand, { value: true });
  }
}

const brand = Symbol.for('ipe.client-error');

/** Tells an `IpeClientError` from any other value, also when two copies of this package are installed. */
export function isIpeClientError(value: unknown): value is IpeClientError {
  return typeof value === 'object' && value !== null && brand in value;
}

/** Reasons after which the very same request may succeed a little later. */
const passing: ReadonlySet<string> = new Set<ErrorReason>(['rate_limited', 'unavailable']);

/**
 * Whether sending the same request again is right: the condition passes and the first attempt changed nothing, or the
 * connection failed and repeating is harmless (`repeatable`: a read, or a write with a `request_id`).
 */
export function mayRetry(error: unknown, repeatable: boolean): error is IpeClientError {
  if (!isIpeClientError(error)) return false;
  if (passing.has(error.reason)) return error.state === 'unchanged' || repeatable;
  return error.reason === 'connection' && (error.state === 'unchanged' || repeatable);
}

/**
 * Reads an error off the wire: the `error` member of a JSON-RPC response, or a problem document of REST. Anything else
 * becomes a `protocol` error that quotes what came.
 */
export function errorFromWire(body: unknown, status?: number): IpeClientError {
  const outer = asRecord(body);
  const error = asRecord(outer?.['error']) ?? outer;
  const data = asRecord(error?.['data']) ?? error;
  const reason = data?.['reason'];
  if (error === undefined || data === undefined || typeof reason !== 'string' || !Object.hasOwn(errorCodes, reason)) {
    const quoted = typeof body === 'string' ? body.slice(0, 200) : JSON.stringify(body)?.slice(0, 200);
    return new IpeClientError(
      'protocol',
      `unexpected answer${status === undefined ? '' : ` with status ${status}`}: ${quoted}`,
    );
  }
  const message = [error['message'], error['detail'], error['title'], reason].find((text) => typeof text === 'string');
  const state = data['state'] === 'applied' || data['state'] === 'unknown' ? data['state'] : 'unchanged';
  return new IpeClientError(reason as ErrorReason, message as string, { state, details: data });
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
