import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';

/** One frame from the server. */
export interface ServerFrame {
  readonly event: string;
  readonly id: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into frames of every shape
  readonly data: any;
}

/** The client's side of an event-stream session, for tests. */
export class TestSession {
  readonly request: ClientRequest;
  readonly #frames: ServerFrame[] = [];
  #waiting: ((frame: ServerFrame | undefined) => void)[] = [];
  #ended = false;
  #text = '';
  response: IncomingMessage | undefined;

  constructor(
    socketPath: string,
    options: { token: string; path?: string; method?: string; headers?: Record<string, string> },
  ) {
    this.request = httpRequest({
      socketPath,
      path: options.path ?? '/stream',
      method: options.method ?? 'POST',
      agent: false,
      headers: { authorization: `Bearer ${options.token}`, 'content-type': 'text/event-stream', ...options.headers },
    });
    this.request.on('response', (response) => {
      this.response = response;
      response.setEncoding('utf8');
      response.on('data', (text: string) => this.#take(text));
      response.on('close', () => this.#end());
    });
    this.request.on('error', () => this.#end());
    this.request.flushHeaders();
  }

  send(event: string, id: string | undefined, data: unknown): void {
    this.request.write(`event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`);
  }

  /** The next frame; undefined when the server has ended the session. */
  next(): Promise<ServerFrame | undefined> {
    const frame = this.#frames.shift();
    if (frame !== undefined || this.#ended) return Promise.resolve(frame);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    this.request.destroy();
  }

  #take(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf('\n\n'); end !== -1; end = this.#text.indexOf('\n\n')) {
      const lines = this.#text.slice(0, end).split('\n');
      this.#text = this.#text.slice(end + 2);
      const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = field('data');
      if (data === undefined) continue;
      const frame = { event: field('event') ?? '', id: field('id'), data: JSON.parse(data) };
      const wake = this.#waiting.shift();
      if (wake === undefined) this.#frames.push(frame);
      else wake(frame);
    }
  }

  #end(): void {
    this.#ended = true;
    for (const wake of this.#waiting) wake(undefined);
    this.#waiting = [];
  }
}
