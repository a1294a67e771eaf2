import type { ServerResponse } from 'node:http';
import { encodeFrame } from './frames.ts';
import type { Session } from './method.ts';
import { Outbox } from './outbox.ts';

/**
 * `GET /events`: one subscription as server-sent events. Each event's `id` is what the subscription gave it, its resume
 * token, which a browser or client sends back as `Last-Event-ID`.
 */
export class EventStream {
  readonly session: Session;
  #out: Outbox | undefined;
  #begin: ((out: Outbox) => void)[] = [];
  readonly #response: ServerResponse;
  readonly #stallTimeoutMs: number;
  readonly #gone = new AbortController();

  constructor(response: ServerResponse, stallTimeoutMs: number) {
    this.#response = response;
    this.#stallTimeoutMs = stallTimeoutMs;
    response.once('close', () => this.#gone.abort());
    this.session = {
      signal: this.#gone.signal,
      notify: async (event, data, id) => {
        const out = this.#out ?? (await new Promise<Outbox>((resolve) => this.#begin.push(resolve)));
        await out.writeAndWait(encodeFrame(event, id, { method: 'notification', params: data }));
      },
    };
  }

  /** The subscription was accepted: answers 200 and lets its events through. */
  open(): void {
    this.#out = new Outbox(this.#response, this.#stallTimeoutMs, () => {});
    for (const begin of this.#begin) begin(this.#out);
    this.#begin = [];
  }

  /** Ends the stream. */
  drain(): Promise<void> {
    this.#gone.abort();
    this.#out?.end();
    return this.#out?.closed ?? Promise.resolve();
  }
}

/** Parameters of `subscribe` from a query string: `include_existing` is a flag, the rest is text. */
export function subscriptionParams(query: URLSearchParams, lastEventId: string | undefined): Record<string, unknown> {
  const params: Record<string, unknown> = {};
  for (const [name, value] of query) {
    if (name === 'include_existing') params[name] = value === '' || value === 'true' || value === '1';
    else if (name === 'paths') params[name] = value.split(',');
    else params[name] = value;
  }
  if (lastEventId !== undefined) params['from'] = lastEventId;
  return params;
}
