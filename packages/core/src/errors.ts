/**
 * The one registry of errors that IPE raises.
 *
 * A *reason* is the stable, machine-readable name of a condition; messages may be improved, reasons may not be reused.
 * JSON-RPC codes and HTTP statuses for each reason are wire matters and live in `@ipe/client/protocol`; a test in `ipe`
 * holds both tables equal.
 */
export const reasons = {
  parse_error: { category: 'invalid', state: 'unchanged', retry: 'no' },
  invalid_request: { category: 'invalid', state: 'unchanged', retry: 'no' },
  method_not_found: { category: 'not-found', state: 'unchanged', retry: 'no' },
  invalid_params: { category: 'invalid', state: 'unchanged', retry: 'no' },
  internal: { category: 'internal', state: 'unknown', retry: 'no' },
  not_found: { category: 'not-found', state: 'unchanged', retry: 'no' },
  policy_invalid: { category: 'invalid', state: 'unchanged', retry: 'no' },
  evaluation_error: { category: 'invalid', state: 'unchanged', retry: 'no' },
  unauthenticated: { category: 'invalid', state: 'unchanged', retry: 'no' },
  forbidden: { category: 'invalid', state: 'unchanged', retry: 'no' },
  conflict: { category: 'conflict', state: 'unchanged', retry: 'after-reread' },
  too_large: { category: 'invalid', state: 'unchanged', retry: 'no' },
  rate_limited: { category: 'unavailable', state: 'unchanged', retry: 'later' },
  unavailable: { category: 'unavailable', state: 'unchanged', retry: 'later' },
  corrupt: { category: 'corrupt', state: 'unchanged', retry: 'no' },
} as const satisfies Record<string, ReasonEntry>;

/** What a registry row says about a condition. */
export interface ReasonEntry {
  /** Family of the condition; decides how a caller should treat it. */
  readonly category: 'invalid' | 'not-found' | 'conflict' | 'unavailable' | 'corrupt' | 'internal';
  /** What happened to stored state, unless the error instance says otherwise. */
  readonly state: StateEffect;
  /** Whether sending the same request again can help. */
  readonly retry: 'no' | 'after-reread' | 'later';
}

/** What a failed request did to stored state: nothing, everything it asked, or we cannot know. */
export type StateEffect = 'unchanged' | 'applied' | 'unknown';

/** Stable name of an error condition. */
export type Reason = keyof typeof reasons;

/** Facts beside the message: JSON values only, sent to clients as `error.data`. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

const brand = Symbol.for('ipe.error');

/**
 * An error of the registry: a stable `reason`, a message for people, details for machines, and the effect on state.
 *
 * Messages start in lower case, put user input in backticks, and say what to do where something can be done.
 *
 * @example
 * throw new IpeError('not_found', 'no policy at `prod.deploymnt`', { details: { path, nearest: 'prod.deployment' } });
 */
export class IpeError extends Error {
  readonly reason: Reason;
  readonly details: ErrorDetails;
  readonly state: StateEffect;

  constructor(
    reason: Reason,
    message: string,
    options: { details?: ErrorDetails; state?: StateEffect; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'IpeError';
    this.reason = reason;
    this.details = options.details ?? {};
    this.state = options.state ?? reasons[reason].state;
    Object.defineProperty(this, brand, { value: true });
  }
}

/** Tells an `IpeError` from any other value, also when two copies of this package are installed. */
export function isIpeError(value: unknown): value is IpeError {
  return typeof value === 'object' && value !== null && brand in value;
}
