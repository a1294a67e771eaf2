import type { Duplex } from 'node:stream';
import { IpeError, isIpeError, type Reason, reasons } from '@ipe/core';
import { encodeFrame, type Frame, type FrameKind, FrameReader, frameKinds } from './frames.ts';

/** Answers one request of a peer: bytes at once, or chunks as they come. Throw `IpeError` for expected failures. */
export type LinkHandler = (
  body: Uint8Array,
  context: LinkContext,
) => Uint8Array | undefined | Promise<Uint8Array | undefined> | AsyncIterable<Uint8Array>;

export interface LinkContext {
  /** Fingerprint of the peer's certificate, as TLS proved it. */
  readonly fingerprint: string;
  /** Aborted when the peer cancels the request or the link closes. */
  readonly signal: AbortSignal;
}

export interface LinkOptions {
  readonly fingerprint: string;
  readonly handlers: ReadonlyMap<string, LinkHandler>;
  /** Bytes that may wait for one answer stream before its sender is paused. */
  readonly onClose?: (error: Error | undefined) => void;
  /** Largest frame accepted from this peer. */
  readonly frameBytesMax?: number;
}

/** When a request is given up before its answer is here. */
export interface RequestLimits {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number;
}

interface Pending {
  readonly chunk?: (body: Uint8Array) => void;
  readonly resolve: (body: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

/**
 * One connection to a peer: messages, requests and streams both ways, multiplexed by request id.
 * Owns the socket from construction on. Every request ends: with an answer, an error, its signal, or the link's close.
 */
export class PeerLink {
  readonly fingerprint: string;
  readonly #socket: Duplex;
  readonly #handlers: ReadonlyMap<string, LinkHandler>;
  readonly #reader: FrameReader;
  readonly #pending = new Map<number, Pending>();
  readonly #serving = new Map<number, AbortController>();
  readonly #onClose: ((error: Error | undefined) => void) | undefined;
  #nextId = 1;
  #closed = false;
  #unanswered = 0;
  /** Whether anything came in since the last heartbeat. */
  #hasHeard = false;
  #drained: Promise<void> | undefined;

  constructor(socket: Duplex, options: LinkOptions) {
    this.#socket = socket;
    this.fingerprint = options.fingerprint;
    this.#handlers = options.handlers;
    this.#reader = new FrameReader(options.frameBytesMax);
    this.#onClose = options.onClose;
    socket.on('data', (bytes: Buffer) => this.#read(bytes));
    socket.on('error', (error) => this.close(error));
    socket.on('close', () => this.close());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Bytes handed to the socket that it has not taken yet: a caller's measure of how far behind the peer is. */
  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  /** Sends without an answer. @returns false when the link is closed or its buffer is full (the frame is still queued). */
  send(name: string, body: Uint8Array): boolean {
    return this.#write({ kind: frameKinds.message, id: 0, name, body });
  }

  /** Resolves when the socket's buffer has room. */
  drain(): Promise<void> {
    if (this.#closed || !this.#socket.writableNeedDrain) return Promise.resolve();
    this.#drained ??= new Promise<void>((resolve) => {
      const done = () => {
        this.#drained = undefined;
        this.#socket.off('drain', done);
        this.#socket.off('close', done);
        resolve();
      };
      this.#socket.once('drain', done);
      this.#socket.once('close', done);
    });
    return this.#drained;
  }

  /**
   * Asks and waits for the whole answer.
   * @throws IpeError as the peer threw it; `unavailable` when the link closes or a limit is reached first.
   */
  async request(name: string, body: Uint8Array, limits: RequestLimits = {}): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    const last = await this.#ask(name, body, limits, (chunk) => parts.push(chunk));
    if (parts.length === 0) return last;
    parts.push(last);
    return Buffer.concat(parts);
  }

  /** Asks and hands over the chunks of the answer in order; resolves after the last one. */
  async requestStream(
    name: string,
    body: Uint8Array,
    onChunk: (chunk: Uint8Array) => void,
    limits: RequestLimits = {},
  ): Promise<void> {
    const last = await this.#ask(name, body, limits, onChunk);
    if (last.length > 0) onChunk(last);
  }

  /**
   * Sends a heartbeat, unless the peer was heard since the last call, which tells as much.
   * @returns how many heartbeats in a row went unanswered, this one not counted
   */
  beat(): number {
    if (this.#hasHeard) {
      this.#hasHeard = false;
      this.#unanswered = 0;
      return 0;
    }
    this.#write({ kind: frameKinds.ping, id: 0, name: '', body: empty });
    return this.#unanswered++;
  }

  /** Ends the link; everything waiting on it is rejected with `unavailable`. Idempotent. */
  close(cause?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    const error = new IpeError('unavailable', 'the peer link closed', { state: 'unknown', cause });
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    for (const controller of this.#serving.values()) controller.abort(error);
    this.#serving.clear();
    this.#onClose?.(cause);
  }

  #ask(
    name: string,
    body: Uint8Array,
    { signal, timeoutMs }: RequestLimits,
    chunk: (body: Uint8Array) => void,
  ): Promise<Uint8Array> {
    if (this.#closed) return Promise.reject(new IpeError('unavailable', 'the peer link is closed'));
    if (signal?.aborted) return Promise.reject(givenUp(name, signal.reason));
    const id = this.#nextId;
    this.#nextId = id === 0xffffffff ? 1 : id + 1;
    return new Promise<Uint8Array>((resolve, reject) => {
      const settle = () => {
        this.#pending.delete(id);
        clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
      };
      const cancel = (why: unknown) => {
        settle();
        this.#write({ kind: frameKinds.cancel, id, name: '', body: empty });
        reject(givenUp(name, why));
      };
      const aborted = () => cancel(signal!.reason);
      signal?.addEventListener('abort', aborted, { once: true });
      // A timer, which ends with the request: a signal that times out goes on, and builds an error for nobody.
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => cancel(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs).unref();
      this.#pending.set(id, {
        chunk,
        resolve: (value) => {
          settle();
          resolve(value);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      this.#write({ kind: frameKinds.request, id, name, body });
    });
  }

  #read(bytes: Buffer): void {
    this.#hasHeard = true;
    let frames: Frame[];
    try {
      frames = this.#reader.push(bytes);
    } catch (error) {
      this.close(error as Error);
      return;
    }
    for (const frame of frames) {
      if (this.#closed) return;
      this.#dispatch(frame);
    }
  }

  #dispatch(frame: Frame): void {
    switch (frame.kind) {
      case frameKinds.message:
      case frameKinds.request:
        void this.#serve(frame);
        return;
      case frameKinds.chunk:
        this.#pending.get(frame.id)?.chunk?.(frame.body);
        return;
      case frameKinds.response:
      case frameKinds.end:
        this.#pending.get(frame.id)?.resolve(frame.body);
        return;
      case frameKinds.error:
        this.#pending.get(frame.id)?.reject(decodeError(frame.body));
        return;
      case frameKinds.cancel:
        this.#serving.get(frame.id)?.abort(new IpeError('unavailable', 'the peer cancelled the request'));
        return;
      case frameKinds.ping:
        this.#write({ kind: frameKinds.pong, id: 0, name: '', body: empty });
        return;
      case frameKinds.pong:
        return;
    }
  }

  async #serve(frame: Frame): Promise<void> {
    const answered = frame.kind === frameKinds.request;
    const controller = new AbortController();
    if (answered) this.#serving.set(frame.id, controller);
    try {
      const handler = this.#handlers.get(frame.name);
      if (!handler) throw new IpeError('method_not_found', `this instance has no peer handler \`${frame.name}\``);
      const result = handler(frame.body, { fingerprint: this.fingerprint, signal: controller.signal });
      if (isStream(result)) {
        for await (const chunk of result) {
          if (this.#closed || controller.signal.aborted) return;
          this.#answer(frameKinds.chunk, frame.id, chunk);
          await this.drain();
        }
        if (answered) this.#answer(frameKinds.end, frame.id, empty);
        return;
      }
      const body = await result;
      if (answered) this.#answer(frameKinds.response, frame.id, body ?? empty);
    } catch (error) {
      if (answered && !this.#closed) this.#answer(frameKinds.error, frame.id, encodeError(error));
    } finally {
      this.#serving.delete(frame.id);
    }
  }

  #answer(kind: FrameKind, id: number, body: Uint8Array): void {
    this.#write({ kind, id, name: '', body });
  }

  #write(frame: Frame): boolean {
    if (this.#closed) return false;
    return this.#socket.write(encodeFrame(frame));
  }
}

const empty = new Uint8Array(0);

function isStream(value: unknown): value is AsyncIterable<Uint8Array> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

function givenUp(name: string, cause: unknown): IpeError {
  return new IpeError('unavailable', `the request \`${name}\` to a peer was given up`, { state: 'unknown', cause });
}

/** Only registry errors travel whole; anything else becomes `internal` without its text, which may hold secrets. */
function encodeError(error: unknown): Uint8Array {
  const body = isIpeError(error)
    ? { reason: error.reason, message: error.message, details: error.details, state: error.state }
    : { reason: 'internal', message: 'the peer failed to answer', details: {}, state: 'unknown' };
  return Buffer.from(JSON.stringify(body));
}

function decodeError(body: Uint8Array): IpeError {
  try {
    const { reason, message, details, state } = JSON.parse(Buffer.from(body).toString('utf8'));
    if (typeof reason === 'string' && Object.hasOwn(reasons, reason) && typeof message === 'string') {
      return new IpeError(reason as Reason, message, { details: details ?? {}, state });
    }
  } catch {
    // Falls through: an error we cannot read is still an error.
  }
  return new IpeError('internal', 'the peer answered with an error that cannot be read');
}
