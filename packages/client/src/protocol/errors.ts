/**
 * Wire codes of every error reason: the JSON-RPC code and the HTTP status (API.md, "Errors").
 * `conflict` is 409 for `expected_root` and friends, and 412 where an HTTP precondition failed.
 */
export const errorCodes = {
  parse_error: { code: -32700, status: 400 },
  invalid_request: { code: -32600, status: 400 },
  method_not_found: { code: -32601, status: 404 },
  invalid_params: { code: -32602, status: 400 },
  internal: { code: -32603, status: 500 },
  not_found: { code: -32000, status: 404 },
  policy_invalid: { code: -32001, status: 422 },
  evaluation_error: { code: -32002, status: 422 },
  unauthenticated: { code: -32003, status: 401 },
  forbidden: { code: -32004, status: 403 },
  conflict: { code: -32005, status: 409 },
  too_large: { code: -32006, status: 413 },
  rate_limited: { code: -32007, status: 429 },
  unavailable: { code: -32008, status: 503 },
  corrupt: { code: -32009, status: 500 },
} as const satisfies Record<string, { readonly code: number; readonly status: number }>;

/** Stable, machine-readable name of an error condition. */
export type ErrorReason = keyof typeof errorCodes;

/** The `error` member of a JSON-RPC response; REST carries the same fields as `application/problem+json`. */
export interface ErrorBody {
  readonly code: number;
  readonly message: string;
  readonly data: {
    readonly reason: ErrorReason;
    /** What the failed request did to stored state. */
    readonly state: 'unchanged' | 'applied' | 'unknown';
    readonly [detail: string]: unknown;
  };
}
