import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ErrorBody } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import { encodeFrame, type Frame, FrameReader } from './frames.ts';
import { parseJsonText } from './json.ts';
import type { ApiLimits } from './limits.ts';
import type { Session } from './method.ts';
import { Outbox } from './outbox.ts';

export interface StreamOptions {
  readonly limits: ApiLimits;
  /** Calls a method; `session` makes what a subscription begun by it sends with. May throw at once. */
  call(method: string, params: unknown, session: () => Session): Promise<unknown>;
  explain(error: unknown): ErrorBody;
}

/** One request of the session: its answer waits here until those before it have been sent. */
interface Slot {
  answer: string | undefined;
  sent: boolean;
  whenSent: (() => void)[] | undefined;
}

/**
 * An event-stream session (`POST /stream`): frames come in on the request body, answers and notifications go out on the
 * response. Requests are begun as they arrive and answered in their order. Reading pauses while too many are
 * unanswered or the client does not read, so neither side can fill the other's memory.
 */
export class StreamSession {
  readonly #request: IncomingMessage;
  readonly #options: StreamOptions;
  readonly #out: Outbox;
  readonly #frames: FrameReader;
  #slots: Slot[] = [];
  #head = 0;
  #subscriptions = 0;
  #inputEnded = false;

  constructor(request: IncomingMessage, response: ServerResponse, options: StreamOptions) {
    this.#request = request;
    this.#options = options;
    this.#frames = new FrameReader(options.limits.maxBodyBytes);
    this.#out = new Outbox(response, options.limits.stallTimeoutMs, () => this.#gate());
    request.on('data', (chunk: Buffer) => this.#read(chunk));
    request.once('end', () => this.#stopReading());
  }

  /** Resolves when the connection is gone or the session has ended. */
  get closed(): Promise<void> {
    return this.#out.closed;
  }

  /** Takes no further requests, answers those begun, ends subscriptions, then the session. */
  drain(): Promise<void> {
    this.#subscriptions = 0;
    this.#request.removeAllListeners('data');
    this.#request.resume();
    this.#stopReading();
    return this.closed;
  }

  /** Ends the session with an error frame without an id, as when its token was revoked. */
  refuse(error: unknown): void {
    this.#out.write(encodeFrame('error', undefined, { error: this.#options.explain(error) }));
    this.#slots = [];
    this.#head = 0;
    void this.drain();
  }

  #read(chunk: Buffer): void {
    try {
      this.#frames.push(chunk, this.#begin);
    } catch (error) {
      this.refuse(error);
    }
    this.#gate();
  }

  readonly #begin = (frame: Frame): void => {
    const slot: Slot = { answer: undefined, sent: false, whenSent: undefined };
    this.#slots.push(slot);
    const { id } = frame;
    const fail = (error: unknown) =>
      this.#settle(slot, encodeFrame('error', id, { error: this.#options.explain(error) }));
    try {
      const { method, params } = readMessage(frame, this.#options.limits.maxDepth);
      const called = this.#options.call(method, params, () => this.#sessionOf(slot));
      called.then((result) => this.#succeed(slot, id, method, result)).catch(fail);
    } catch (error) {
      fail(error);
    }
  };

  #succeed(slot: Slot, id: string | undefined, method: string, result: unknown): void {
    const answer = encodeFrame('result', id, { result: result === undefined ? null : result });
    if (method === 'subscribe') this.#subscriptions++;
    else if (method === 'unsubscribe') this.#subscriptions = Math.max(0, this.#subscriptions - 1);
    this.#settle(slot, answer);
  }

  #settle(slot: Slot, answer: string): void {
    slot.answer = answer;
    while (this.#head < this.#slots.length) {
      const next = this.#slots[this.#head]!;
      if (next.answer === undefined) break;
      this.#out.write(next.answer);
      next.sent = true;
      for (const wake of next.whenSent ?? []) wake();
      this.#head++;
    }
    if (this.#head === this.#slots.length) {
      this.#slots = [];
      this.#head = 0;
    } else if (this.#head > 4096) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
    this.#gate();
    this.#endWhenDone();
  }

  /** What the method called by one request sends with: nothing before that request's own answer. */
  #sessionOf(slot: Slot): Session {
    return {
      signal: this.#out.signal,
      notify: async (event, data) => {
        if (!slot.sent) await new Promise<void>((resolve) => (slot.whenSent ??= []).push(resolve));
        await this.#out.writeAndWait(encodeFrame(event, undefined, { method: 'notification', params: data }));
      },
    };
  }

  #gate(): void {
    const unanswered = this.#slots.length - this.#head;
    const { maxInFlight } = this.#options.limits;
    if (this.#out.full || unanswered >= maxInFlight) this.#request.pause();
    else if (this.#request.isPaused() && unanswered <= maxInFlight / 2) this.#request.resume();
  }

  #stopReading(): void {
    this.#inputEnded = true;
    this.#endWhenDone();
  }

  #endWhenDone(): void {
    if (this.#inputEnded && this.#slots.length === 0 && this.#subscriptions === 0) this.#out.end();
  }
}

/** The method a frame calls: `data.method`, or the event's name where `data` is `{"params": ...}` alone or absent. */
function readMessage(frame: Frame, maxDepth: number): { method: string; params: unknown } {
  const data = frame.data.length === 0 ? {} : parseJsonText(frame.data, maxDepth);
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    throw new IpeError('invalid_request', '`data` must be an object such as {"method": "get", "params": {...}}');
  const { method, params } = data as Record<string, unknown>;
  if (method !== undefined && typeof method !== 'string')
    throw new IpeError('invalid_request', '`method` must be a string');
  if (method !== undefined && frame.event !== '' && frame.event !== 'message' && frame.event !== method)
    throw new IpeError(
      'invalid_request',
      `\`event\` and \`data.method\` name different methods: \`${frame.event}\`, \`${method}\``,
    );
  const name = method ?? frame.event;
  if (name === '') throw new IpeError('invalid_request', 'a frame names its method in `event` or in `data.method`');
  return { method: name, params };
}
