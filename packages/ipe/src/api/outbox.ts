import type { ServerResponse } from 'node:http';
import { IpeError } from '@ipe/core';

/** Text waiting beyond this many characters counts as full. */
const fullAt = 256 * 1024;
const heartbeatMs = 15_000;

/**
 * The sending side of an event stream: gathers what is written in one turn of the event loop into one write, tells
 * whether the client keeps up, and cuts off one that has stopped reading.
 */
export class Outbox {
  readonly #response: ServerResponse;
  readonly #stallTimeoutMs: number;
  readonly #onRoom: () => void;
  readonly #gone = new AbortController();
  readonly #heartbeat: NodeJS.Timeout;
  #texts: string[] = [];
  #size = 0;
  #scheduled = false;
  #blocked = false;
  #ending = false;
  #stallTimer: NodeJS.Timeout | undefined;
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  readonly closed: Promise<void>;

  /** @param onRoom called when the client has caught up after being behind. */
  constructor(response: ServerResponse, stallTimeoutMs: number, onRoom: () => void) {
    this.#response = response;
    this.#stallTimeoutMs = stallTimeoutMs;
    this.#onRoom = onRoom;
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    response.flushHeaders();
    this.#heartbeat = setInterval(() => this.write(': alive\n\n'), heartbeatMs);
    this.#heartbeat.unref();
    response.on('drain', () => this.#drained());
    this.closed = new Promise((resolve) => {
      response.once('close', () => {
        this.#close();
        resolve();
      });
    });
  }

  /** Aborted when the connection is gone. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  /** Whether the client is behind: whoever can wait should. */
  get full(): boolean {
    return this.#blocked || this.#size > fullAt;
  }

  /** Queues text; dropped when the connection is gone. */
  write(text: string): void {
    if (this.#gone.signal.aborted || this.#ending) return;
    this.#texts.push(text);
    this.#size += text.length;
    if (this.#scheduled || this.#blocked) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  /** Queues text and resolves once there is room for more. @throws IpeError `unavailable` when the client is gone. */
  async writeAndWait(text: string): Promise<void> {
    if (this.#gone.signal.aborted || this.#ending) throw gone();
    this.write(text);
    if (this.full) await new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Sends what is queued, then ends the response. */
  end(): void {
    if (this.#ending) return;
    this.#flush();
    this.#ending = true;
    this.#gone.abort(gone());
    if (!this.#blocked) this.#response.end();
    this.#watchStall();
  }

  #flush(): void {
    this.#scheduled = false;
    if (this.#blocked || this.#size === 0) return;
    const text = this.#texts.length === 1 ? this.#texts[0]! : this.#texts.join('');
    this.#texts = [];
    this.#size = 0;
    if (this.#response.write(text)) this.#makeRoom();
    else {
      this.#blocked = true;
      this.#watchStall();
    }
  }

  #drained(): void {
    clearTimeout(this.#stallTimer);
    this.#blocked = false;
    this.#flush();
    if (this.#ending && !this.#blocked) this.#response.end();
    if (!this.#blocked) this.#makeRoom();
  }

  #makeRoom(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { resolve } of waiting) resolve();
    this.#onRoom();
  }

  #watchStall(): void {
    clearTimeout(this.#stallTimer);
    this.#stallTimer = setTimeout(() => this.#response.destroy(), this.#stallTimeoutMs);
    this.#stallTimer.unref();
  }

  #close(): void {
    clearTimeout(this.#stallTimer);
    clearInterval(this.#heartbeat);
    this.#texts = [];
    this.#size = 0;
    this.#gone.abort(gone());
    for (const { reject } of this.#waiting) reject(gone());
    this.#waiting = [];
  }
}

const gone = () => new IpeError('unavailable', 'the client is gone');
