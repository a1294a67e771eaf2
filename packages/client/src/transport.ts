import { setMaxListeners } from 'node:events';
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { IpeClientError } from './errors.ts';
import type { Settings } from './options.ts';

/** What a server answered, body read whole. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export interface HttpCall {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal | undefined;
}

/**
 * HTTP/1.1 to one endpoint over connections that are kept open. Failures to connect are told from connections that
 * broke later: after the first nothing can have happened (`state: unchanged`), after the second it may have.
 */
export class Transport {
  readonly #settings: Settings;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #closing = new AbortController();

  constructor(settings: Settings) {
    this.#settings = settings;
    const options = { keepAlive: true, maxSockets: settings.connections, scheduling: 'fifo' as const };
    // Every call under way listens to it: many of them are no leak.
    setMaxListeners(0, this.#closing.signal);
    this.#agent = this.#secure ? new HttpsAgent({ ...options, ...settings.tls }) : new HttpAgent(options);
  }

  get #secure(): boolean {
    return 'url' in this.#settings.endpoint && this.#settings.endpoint.url.protocol === 'https:';
  }

  /** Sends one request and reads its answer, whatever the status. */
  async send(call: HttpCall): Promise<Answer> {
    const headers: Record<string, string> = { ...call.headers };
    if (call.body !== undefined) headers['content-length'] = String(Buffer.byteLength(call.body));
    const request = this.open(call.method, call.path, headers, this.#agent);
    const response = await answerTo(request, call.signal, () => request.end(call.body));
    return { status: response.statusCode ?? 0, headers: response.headers, body: await bodyOf(response, request) };
  }

  /**
   * Opens a request whose body and answer both go on for long, on a connection of its own. The caller writes, reads
   * and destroys; closing the transport destroys it too.
   */
  open(method: string, path: string, headers: Record<string, string>, agent?: HttpAgent | HttpsAgent): ClientRequest {
    if (this.#closing.signal.aborted)
      throw new IpeClientError('closed', 'the client is closed', { state: 'unchanged' });
    const { endpoint, token, tls } = this.#settings;
    const common = {
      method,
      path,
      agent: agent ?? false,
      headers: token === undefined ? headers : { ...headers, authorization: `Bearer ${token}` },
      signal: this.#closing.signal,
    };
    if ('socket' in endpoint) return httpRequest({ ...common, socketPath: endpoint.socket });
    const { hostname, port, protocol } = endpoint.url;
    const address = { ...common, hostname: hostname.replace(/^\[|\]$/g, ''), port };
    return protocol === 'https:' ? httpsRequest({ ...address, ...tls }) : httpRequest(address);
  }

  /** Ends every connection; calls in flight reject. */
  close(): void {
    this.#closing.abort();
    this.#agent.destroy();
  }

  /** The endpoint, for messages. */
  get name(): string {
    const { endpoint } = this.#settings;
    return 'socket' in endpoint ? endpoint.socket : endpoint.url.origin;
  }

  /** Turns what went wrong with a request into the error a caller sees. */
  failure(cause: unknown, signal: AbortSignal | undefined): IpeClientError {
    if (cause instanceof IpeClientError) return cause;
    if (signal?.aborted) return abortError(signal);
    if (this.#closing.signal.aborted)
      return new IpeClientError('closed', 'the client was closed during the call', { cause });
    const code = (cause as NodeJS.ErrnoException).code ?? '';
    const hint = hints[code];
    const message =
      hint === undefined
        ? `the connection to ${this.name} broke: ${(cause as Error).message}`
        : `${hint} at ${this.name}`;
    return new IpeClientError('connection', message, {
      state: hint === undefined ? 'unknown' : 'unchanged',
      details: { code },
      cause,
    });
  }
}

/** Failures before anything was sent, in words. */
const hints: Readonly<Record<string, string>> = {
  ENOENT: 'no node is running: there is no socket',
  ECONNREFUSED: 'no node is running: nobody listens',
  EACCES: 'this user may not open the socket',
  EPERM: 'this user may not open the socket',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name could not be resolved',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the network',
  DEPTH_ZERO_SELF_SIGNED_CERT: "the server's certificate is not known (give its CA in `tls.ca`)",
  SELF_SIGNED_CERT_IN_CHAIN: "the server's certificate is not known (give its CA in `tls.ca`)",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "the server's certificate is not known (give its CA in `tls.ca`)",
  ERR_TLS_CERT_ALTNAME_INVALID: "the server's certificate is for another name",
};

/** The error of a call that its caller, or its time limit, ended. */
export function abortError(signal: AbortSignal): IpeClientError {
  return signal.reason instanceof IpeClientError
    ? signal.reason
    : new IpeClientError('aborted', 'the call was aborted', { cause: signal.reason });
}

/** Waits for the head of the answer; `begin` sends the request once everything listens. */
export function answerTo(
  request: ClientRequest,
  signal: AbortSignal | undefined,
  begin: () => void,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const abort = () => request.destroy(abortError(signal!));
    request.once('response', resolve);
    request.on('error', reject);
    request.once('close', () => signal?.removeEventListener('abort', abort));
    if (signal?.aborted) abort();
    else {
      signal?.addEventListener('abort', abort, { once: true });
      begin();
    }
  });
}

/** Reads a body whole. */
export function bodyOf(response: IncomingMessage, request: ClientRequest): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.once('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    response.once('error', reject);
    request.once('error', reject);
    response.once('close', () => reject(new Error('the answer was cut off')));
  });
}
