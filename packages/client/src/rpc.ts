import { errorFromWire, IpeClientError, mayRetry } from './errors.ts';
import type { CallOptions, Settings } from './options.ts';
import { methods, type Plane } from './protocol/index.ts';
import { type Answer, abortError, type HttpCall, type Transport } from './transport.ts';

/** Calls one method; how it travels (a request of its own, or a session) is the caller's choice. */
export interface Caller {
  call(plane: Plane, method: string, params: unknown, options?: CallOptions): Promise<unknown>;
}

/** JSON-RPC 2.0 over `POST /rpc`, one request a call, repeated where the error says that it helps. */
export class Rpc implements Caller {
  readonly #transport: Transport;
  readonly #settings: Settings;
  #lastId = 0;

  constructor(transport: Transport, settings: Settings) {
    this.#transport = transport;
    this.#settings = settings;
  }

  call(plane: Plane, method: string, params: unknown, options: CallOptions = {}): Promise<unknown> {
    return this.#bounded(method, options, (signal) =>
      this.#repeated(isRepeatable(plane, method, params), signal, () => this.#once(method, params, signal)),
    );
  }

  /** Sends a REST request; a status of 400 and above becomes the error its problem document states. */
  rest(request: Omit<HttpCall, 'signal'>, options: CallOptions = {}): Promise<Answer> {
    return this.#bounded(`${request.method} ${request.path}`, options, (signal) =>
      this.#repeated(request.method === 'GET', signal, async () => {
        const answer = await this.#send({ ...request, signal });
        if (answer.status >= 400) throw errorFromWire(parseJson(answer.body), answer.status);
        return answer;
      }),
    );
  }

  async #once(method: string, params: unknown, signal: AbortSignal | undefined): Promise<unknown> {
    const id = ++this.#lastId;
    const answer = await this.#send({
      method: 'POST',
      path: '/rpc',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id, method, params }),
      signal,
    });
    const body = parseJson(answer.body) as { result?: unknown; error?: unknown } | null;
    if (answer.status < 400 && typeof body === 'object' && body !== null && 'result' in body) return body.result;
    throw errorFromWire(body, answer.status);
  }

  async #send(request: HttpCall): Promise<Answer> {
    try {
      return await this.#transport.send(request);
    } catch (cause) {
      throw this.#transport.failure(cause, request.signal);
    }
  }

  async #repeated<T>(repeatable: boolean, signal: AbortSignal | undefined, attempt: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await attempt();
      } catch (error) {
        if (tries >= this.#settings.retries || !mayRetry(error, repeatable)) throw error;
        await pause(delayMs(error, tries), signal);
      }
    }
  }

  /** Runs a call under the caller's signal and the time limit, whichever ends first. */
  async #bounded<T>(
    what: string,
    options: CallOptions,
    run: (signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    const timeoutMs = options.timeoutMs ?? this.#settings.timeoutMs;
    if (timeoutMs === 0) return run(options.signal);
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(timeoutError(what, timeoutMs)), timeoutMs);
    const forward = () => limit.abort(abortError(options.signal!));
    if (options.signal?.aborted) forward();
    options.signal?.addEventListener('abort', forward, { once: true });
    try {
      return await run(limit.signal);
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', forward);
    }
  }
}

export function timeoutError(what: string, timeoutMs: number): IpeClientError {
  return new IpeClientError('timeout', `no answer to \`${what}\` within ${timeoutMs} ms`, { details: { timeoutMs } });
}

/** Reads may be repeated freely, writes once they carry a `request_id`. */
function isRepeatable(plane: Plane, method: string, params: unknown): boolean {
  const row = (methods[plane] as Record<string, { verb: string }>)[method];
  if (row?.verb === 'read') return true;
  return typeof params === 'object' && params !== null && 'request_id' in params && params.request_id !== undefined;
}

/** What the server asked for (`retry_after`, seconds), else 50 ms doubling, with jitter so that clients spread out. */
export function delayMs(error: IpeClientError, tries: number): number {
  const asked = error.details['retry_after'];
  if (typeof asked === 'number' && asked >= 0) return asked * 1000;
  return Math.min(5_000, 50 * 2 ** tries) * (0.5 + Math.random());
}

/** Resolves after the time, or rejects as soon as the signal fires. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(abortError(signal!));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', end);
      resolve();
    }, ms);
    if (signal?.aborted) end();
    else signal?.addEventListener('abort', end, { once: true });
  });
}

export function parseJson(body: Buffer): unknown {
  const text = body.toString('utf8');
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
