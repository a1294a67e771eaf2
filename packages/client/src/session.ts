import type { ClientRequest, IncomingMessage } from 'node:http';
import { StringDecoder } from 'node:string_decoder';
import { errorFromWire, IpeClientError } from './errors.ts';
import type { CallOptions } from './options.ts';
import type { Plane } from './protocol/index.ts';
import { type Caller, parseJson, timeoutError } from './rpc.ts';
import { encodeSse, type SseEvent, SseParser } from './sse.ts';
import { abortError, answerTo, bodyOf, type Transport } from './transport.ts';

/** A frame that answers no request: a subscription's notification. */
export interface Notification {
  readonly event: string;
  readonly params: unknown;
  readonly id?: string;
}

export interface SessionOptions {
  /** Requests sent ahead of their answers; a call beyond waits. Default 512; more trades latency for throughput. */
  readonly maxInFlight?: number;
  /** Receives what subscriptions send. Reading from the socket stops while the promise it returned is pending. */
  readonly onNotification?: (notification: Notification) => void | Promise<void>;
}

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: IpeClientError) => void;
}

/**
 * An event-stream session (`POST /stream`): many requests under way on one connection, answered in the order sent.
 *
 * Back-pressure works both ways: `call` waits while `maxInFlight` answers are outstanding or the socket's buffer is
 * full, and notifications are read no faster than `onNotification` takes them. A session that broke stays broken:
 * calls outstanding reject with reason `connection` and state `unknown`; open another.
 */
export class Session implements Caller {
  readonly #request: ClientRequest;
  readonly #response: IncomingMessage;
  readonly #transport: Transport;
  readonly #options: Required<Pick<SessionOptions, 'maxInFlight'>> & SessionOptions;
  readonly #timeoutMs: number;
  readonly #pending = new Map<string, Pending>();
  readonly #waiting: (() => void)[] = [];
  /** Places given to calls that waited and have not run on yet. */
  #reserved = 0;
  /** Frames of this tick, written in one go. */
  #outgoing = '';
  #bufferFull = false;
  #lastId = 0;
  #over: IpeClientError | undefined;
  readonly #ended: Promise<void>;
  #end: () => void = () => {};

  private constructor(
    request: ClientRequest,
    response: IncomingMessage,
    transport: Transport,
    options: SessionOptions,
    timeoutMs: number,
  ) {
    this.#request = request;
    this.#response = response;
    this.#transport = transport;
    this.#options = { maxInFlight: 512, ...options };
    this.#timeoutMs = timeoutMs;
    this.#ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    request.on('error', (error) => this.#finish(error));
    request.on('drain', () => {
      this.#bufferFull = false;
      this.#admit();
    });
    this.#read();
  }

  /** @throws IpeClientError as any call: `unauthenticated`, `connection`, `unavailable`, ... */
  static async open(transport: Transport, options: SessionOptions & CallOptions, timeoutMs: number): Promise<Session> {
    const headers = {
      'content-type': 'text/event-stream',
      accept: 'text/event-stream',
      'transfer-encoding': 'chunked',
    };
    const request = transport.open('POST', '/stream', headers);
    try {
      const response = await answerTo(request, options.signal, () => request.flushHeaders());
      if (response.statusCode !== 200) {
        const body = await bodyOf(response, request);
        request.destroy();
        throw errorFromWire(parseJson(body), response.statusCode);
      }
      return new Session(request, response, transport, options, timeoutMs);
    } catch (cause) {
      throw transport.failure(cause, options.signal);
    }
  }

  /** Resolves when the session is over, whichever side ended it. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Why the session is over; undefined while it is not. */
  get failure(): IpeClientError | undefined {
    return this.#over;
  }

  /** Sends one request; resolves with its result. The plane is the endpoint's own, so it is not sent. */
  async call(_plane: Plane, method: string, params: unknown, options: CallOptions = {}): Promise<unknown> {
    // Calls go out in the order made: whoever comes while others wait, waits behind them.
    if (this.#over === undefined && (this.#waiting.length > 0 || this.#room() <= 0)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      this.#reserved--;
    }
    if (this.#over !== undefined)
      throw new IpeClientError('closed', `the session is over: ${this.#over.message}`, {
        state: 'unchanged',
        cause: this.#over,
      });
    if (options.signal?.aborted) throw abortError(options.signal);
    const id = String(++this.#lastId);
    const answer = new Promise<unknown>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.#send(encodeSse(method, id, JSON.stringify({ method, params: params ?? {} })));
    return this.#bounded(id, method, answer, options);
  }

  /** Ends the session once everything outstanding is answered. */
  async close(): Promise<void> {
    if (this.#over === undefined) {
      this.#flush();
      this.#request.end();
    }
    await this.#ended;
  }

  /** Ends the session at once. */
  destroy(): void {
    this.#finish(new IpeClientError('closed', 'the session was closed'));
  }

  #bounded(id: string, method: string, answer: Promise<unknown>, options: CallOptions): Promise<unknown> {
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
    const { signal } = options;
    const giveUp = (error: IpeClientError) => {
      this.#pending.get(id)?.reject(error);
      this.#settle(id);
    };
    const onAbort = () => giveUp(abortError(signal!));
    const timer = timeoutMs === 0 ? undefined : setTimeout(() => giveUp(timeoutError(method, timeoutMs)), timeoutMs);
    signal?.addEventListener('abort', onAbort, { once: true });
    return answer.finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    });
  }

  #send(frame: string): void {
    if (this.#outgoing === '') queueMicrotask(() => this.#flush());
    this.#outgoing += frame;
  }

  #flush(): void {
    const frames = this.#outgoing;
    this.#outgoing = '';
    if (frames !== '' && this.#over === undefined) this.#bufferFull = !this.#request.write(frames);
  }

  #read(): void {
    const decoder = new StringDecoder('utf8');
    let handled: Promise<void> | undefined;
    const parser = new SseParser((event) => {
      const busy = this.#receive(event);
      if (busy !== undefined) handled = handled === undefined ? busy : Promise.all([handled, busy]).then(() => {});
    });
    this.#response.on('data', (chunk: Buffer) => {
      try {
        parser.push(decoder.write(chunk));
      } catch (error) {
        this.#finish(new IpeClientError('protocol', (error as Error).message, { cause: error }));
      }
      if (handled === undefined) return;
      this.#response.pause();
      void handled.catch((error) => this.#finish(error)).then(() => this.#response.resume());
      handled = undefined;
    });
    this.#response.once('error', (error) => this.#finish(error));
    this.#response.once('close', () => this.#finish(new Error('the other side ended the session')));
  }

  /** Returns a promise where a notification's receiver asked to be waited for. */
  #receive(event: SseEvent): Promise<void> | undefined {
    let data: { result?: unknown; error?: unknown; params?: unknown };
    try {
      data = JSON.parse(event.data);
    } catch (cause) {
      throw new IpeClientError('protocol', `frame \`${event.event}\` is not JSON`, { cause });
    }
    if (event.event === 'result' || event.event === 'error') {
      const pending = this.#pending.get(event.id ?? '');
      if (pending === undefined) {
        // An error frame without an id ends the session: the server could not tell which request it was about.
        if (event.event === 'error' && event.id === undefined) this.#finish(errorFromWire(data));
        return undefined; // else an answer to a call that was given up
      }
      if (event.event === 'result')
        pending.resolve(data !== null && typeof data === 'object' && 'result' in data ? data.result : data);
      else pending.reject(errorFromWire(data));
      this.#settle(event.id!);
      return undefined;
    }
    const done = this.#options.onNotification?.({
      event: event.event,
      params: data?.params ?? data,
      ...(event.id === undefined ? {} : { id: event.id }),
    });
    return done instanceof Promise ? done : undefined;
  }

  #settle(id: string): void {
    this.#pending.delete(id);
    this.#admit();
  }

  #room(): number {
    return this.#bufferFull ? 0 : this.#options.maxInFlight - this.#pending.size - this.#reserved;
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#room() > 0) this.#wakeOne();
  }

  #wakeOne(): void {
    this.#reserved++;
    this.#waiting.shift()!();
  }

  #finish(cause: unknown): void {
    if (this.#over !== undefined) return;
    this.#over = this.#transport.failure(cause, undefined);
    this.#request.destroy();
    for (const { reject } of this.#pending.values()) reject(this.#over);
    this.#pending.clear();
    while (this.#waiting.length > 0) this.#wakeOne();
    this.#end();
  }
}
