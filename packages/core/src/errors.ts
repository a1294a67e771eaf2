/**
 * The one registry of errors that IPE raises.
 *
 * A *reason* is the stable, machine-readable name of a condition; messages may be improved, reasons may not be reused.
 * JSON-RPC codes and HTTP statuses for each reason are wire matters and live in `@ipe/client/protocol`; a test in `ipe`
 * holds both tables equal.
 */
export const reasons = {
  parse_error: { when: 'the body is not JSON (or MessagePack)', category: 'invalid', state: 'unchanged', retry: 'no' },
  invalid_request: {
    when: 'the envelope, the media type or the HTTP request is wrong',
    category: 'invalid',
    state: 'unchanged',
    retry: 'no',
  },
  method_not_found: { when: 'unknown, or not on this plane', category: 'not-found', state: 'unchanged', retry: 'no' },
  invalid_params: {
    when: 'names the field and what was expected',
    category: 'invalid',
    state: 'unchanged',
    retry: 'no',
  },
  internal: { when: 'a bug: logged with an id', category: 'internal', state: 'unknown', retry: 'no' },
  not_found: {
    when: 'policy, root, token; a key over REST only, `get` answers null',
    category: 'not-found',
    state: 'unchanged',
    retry: 'no',
  },
  policy_invalid: {
    when: 'with line, column, expression and each problem',
    category: 'invalid',
    state: 'unchanged',
    retry: 'no',
  },
  evaluation_error: {
    when: 'a request that cannot be evaluated at all',
    category: 'invalid',
    state: 'unchanged',
    retry: 'no',
  },
  unauthenticated: { when: 'no or bad credentials', category: 'invalid', state: 'unchanged', retry: 'no' },
  forbidden: { when: 'plane, method or namespace not allowed', category: 'invalid', state: 'unchanged', retry: 'no' },
  conflict: {
    when: '`expected_root`, `if_version`, `if_match`; carries what is current',
    category: 'conflict',
    state: 'unchanged',
    retry: 'after-reread',
  },
  too_large: { when: 'payload, depth, batch', category: 'invalid', state: 'unchanged', retry: 'no' },
  rate_limited: { when: 'with `retry_after` in seconds', category: 'unavailable', state: 'unchanged', retry: 'later' },
  unavailable: {
    when: 'draining, disk full, origin unreachable, stale',
    category: 'unavailable',
    state: 'unchanged',
    retry: 'later',
  },
  corrupt: { when: 'a stored object failed its hash; names it', category: 'corrupt', state: 'unchanged', retry: 'no' },
} as const satisfies Record<string, ReasonEntry>;

/** What a registry row says about a condition. */
export interface ReasonEntry {
  /** When it is raised, in a few words, for the reference. */
  readonly when: string;
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
