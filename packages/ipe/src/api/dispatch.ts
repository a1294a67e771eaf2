import { type MethodRow, methods, type Plane, planes } from '@ipe/client/protocol';
import { IpeError, isIpeError, nearest } from '@ipe/core';
import type { CallContext, PlaneService } from './method.ts';

/** What became of one call; handed to metrics and audit. */
export interface CallReport {
  readonly plane: Plane;
  readonly method: string;
  readonly row: MethodRow;
  readonly params: unknown;
  readonly context: CallContext;
  readonly durationMs: number;
  /** Reason of the error, where the call failed. */
  readonly failure?: string;
}

export interface DispatchOptions {
  readonly service: PlaneService;
  /** Called after each call that was let through to its handler, or refused for its token's kind. */
  readonly onCall: (report: CallReport) => void;
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number;
}

/** The one gate in front of a plane's methods, whichever way a request came in. */
export interface Dispatch {
  /**
   * Checks plane, method, token kind and the shape of the parameters, then calls.
   * @throws IpeError `method_not_found`, `forbidden`, `invalid_request`, `invalid_params`, or what the handler throws.
   */
  call(method: string, params: unknown, context: CallContext): Promise<unknown>;
  /** The row of a method this plane has; its checks without a call. @throws as `call`. */
  authorize(method: string, context: Pick<CallContext, 'caller'>): MethodRow;
  /** Whether a method answers more than once, and so needs a session. */
  isStreaming(method: string): boolean;
}

export function createDispatch({ service, onCall, now }: DispatchOptions): Dispatch {
  const table: Readonly<Record<string, MethodRow>> = methods[service.plane];

  function find(method: string): MethodRow {
    if (Object.hasOwn(table, method) && Object.hasOwn(service.handlers, method)) return table[method]!;
    const elsewhere = planes.filter((plane) => plane !== service.plane && Object.hasOwn(methods[plane], method));
    const close = nearest(method, Object.keys(service.handlers));
    const hint =
      elsewhere.length > 0
        ? `; it is a method of the ${elsewhere.join(' and ')} plane`
        : close === undefined
          ? ''
          : `; did you mean \`${close}\`?`;
    throw new IpeError('method_not_found', `no method \`${shorten(method)}\` on the ${service.plane} plane${hint}`, {
      details: { plane: service.plane, ...(close === undefined ? {} : { nearest: close }) },
    });
  }

  function authorize(method: string, { caller }: Pick<CallContext, 'caller'>): MethodRow {
    const row = find(method);
    if (row.tokens.includes(caller.kind)) return row;
    throw new IpeError(
      'forbidden',
      `\`${method}\` on the ${service.plane} plane takes ${list(row.tokens)} tokens, this one is of kind \`${caller.kind}\``,
      {
        details: { plane: service.plane, method, tokens: row.tokens },
      },
    );
  }

  function report(method: string, params: unknown, context: CallContext, started: number, failure?: string): void {
    const row = Object.hasOwn(table, method) ? table[method] : undefined;
    if (row === undefined) return;
    const durationMs = now() - started;
    const base = { plane: service.plane, method, row, params, context, durationMs };
    onCall(failure === undefined ? base : { ...base, failure });
  }

  async function call(method: string, params: unknown, context: CallContext): Promise<unknown> {
    const started = now();
    try {
      const row = authorize(method, context);
      if (row.streaming === true && context.session === undefined)
        throw new IpeError(
          'invalid_request',
          `\`${method}\` answers more than once: use an event-stream session (POST /stream) or GET /events`,
        );
      const given = params === undefined ? {} : params;
      if (typeof given !== 'object' || given === null || Array.isArray(given))
        throw new IpeError('invalid_params', '`params` must be an object', { details: { field: 'params' } });
      const result = await service.handlers[method]!(given, context);
      report(method, params, context, started);
      return result;
    } catch (error) {
      report(method, params, context, started, isIpeError(error) ? error.reason : 'internal');
      throw error;
    }
  }

  const isStreaming = (method: string) => Object.hasOwn(table, method) && table[method]!.streaming === true;

  return { call, authorize, isStreaming };
}

const list = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(' or ');

/** Client text in a message, bounded. */
export const shorten = (text: string) => (text.length > 80 ? `${text.slice(0, 80)}...` : text);
