import { randomBytes } from 'node:crypto';
import { type ErrorBody, errorCodes } from '@ipe/client/protocol';
import { isIpeError } from '@ipe/core';

/** Where an `internal` error is written down, so that the id a client was given leads to its stack. */
export type ReportInternal = (id: string, error: unknown) => void;

/**
 * What a client is told about a failure. An error that is not IPE's own is a bug: the client gets `internal` and an id,
 * the log gets the id and the error.
 */
export function errorBody(error: unknown, report: ReportInternal): ErrorBody {
  if (isIpeError(error)) {
    const { code } = errorCodes[error.reason];
    return { code, message: error.message, data: { reason: error.reason, state: error.state, ...error.details } };
  }
  const id = randomBytes(6).toString('hex');
  report(id, error);
  const message = `internal error; the node's log has it under \`${id}\``;
  return { code: errorCodes.internal.code, message, data: { reason: 'internal', state: 'unknown', id } };
}

const statusOfCode = new Map<number, number>(Object.values(errorCodes).map(({ code, status }) => [code, status]));

/** The HTTP status of an error body. */
export function statusOf(body: ErrorBody): number {
  return statusOfCode.get(body.code) ?? 500;
}

/** An error as `application/problem+json` (RFC 9457): its members, and those of the JSON-RPC error beside them. */
export function problem(body: ErrorBody, status: number): Record<string, unknown> {
  return { title: body.data.reason.replaceAll('_', ' '), status, detail: body.message, ...body, error: body };
}

/** Headers that go with an error, whatever the door. */
export function errorHeaders(body: ErrorBody): Record<string, string> {
  const headers: Record<string, string> = {};
  if (body.code === errorCodes.unauthenticated.code) headers['www-authenticate'] = 'Bearer realm="ipe"';
  const retryAfter = body.data['retry_after'];
  if (typeof retryAfter === 'number') headers['retry-after'] = String(Math.max(1, Math.ceil(retryAfter)));
  return headers;
}
