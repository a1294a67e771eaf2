import type { SecureContextOptions } from 'node:tls';
import { IpeClientError } from './errors.ts';

/** Where a plane answers and how to speak to it. Give `socket` or `url`, not both. */
export interface ClientOptions {
  /** Path of the plane's unix socket, such as `.ipe/run/data.sock`. */
  readonly socket?: string;
  /** Address of the plane's TCP listener, such as `https://ipe.internal:7301`. */
  readonly url?: string | URL;
  /** Bearer token. Absent where the node does not ask for one (`require_auth = false` on a unix socket). */
  readonly token?: string;
  /** CA, client certificate and key for `https:` (mutual TLS on the control plane). */
  readonly tls?: TlsOptions;
  /** Milliseconds one call may take, retries included. Default 30,000; 0: no bound. */
  readonly timeoutMs?: number;
  /** How many times a call is repeated where the error allows it. Default 2; 0: never. */
  readonly retries?: number;
  /** Connections kept open for calls. Default 8; more let more calls wait side by side. */
  readonly connections?: number;
}

/** The part of Node's TLS options that a client sets, and whether to insist on a known server (default true). */
export type TlsOptions = Pick<SecureContextOptions, 'ca' | 'cert' | 'key' | 'passphrase'> & {
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
};

/** Options of one call. */
export interface CallOptions {
  /** Gives up on the call: it rejects with reason `aborted`, and what it did to state is unknown. */
  readonly signal?: AbortSignal;
  /** Overrides the client's `timeoutMs`. */
  readonly timeoutMs?: number;
}

/** `ClientOptions` with every default filled in, checked once. */
export interface Settings {
  readonly endpoint: { readonly socket: string } | { readonly url: URL };
  readonly token: string | undefined;
  readonly tls: TlsOptions | undefined;
  readonly timeoutMs: number;
  readonly retries: number;
  readonly connections: number;
}

/** @throws IpeClientError `invalid_params` naming the option, when one is missing or makes no sense. */
export function settingsOf(options: ClientOptions): Settings {
  const wrong = (message: string) => new IpeClientError('invalid_params', message, { state: 'unchanged' });
  if ((options.socket === undefined) === (options.url === undefined))
    throw wrong('give `socket` or `url`, and not both');
  for (const name of ['timeoutMs', 'retries', 'connections'] as const) {
    const value = options[name];
    if (value !== undefined && !(Number.isInteger(value) && value >= (name === 'connections' ? 1 : 0)))
      throw wrong(`\`${name}\` must be a whole number, not \`${value}\``);
  }
  return {
    endpoint: options.socket !== undefined ? { socket: options.socket } : { url: httpUrl(options.url!, wrong) },
    token: options.token,
    tls: options.tls,
    timeoutMs: options.timeoutMs ?? 30_000,
    retries: options.retries ?? 2,
    connections: options.connections ?? 8,
  };
}

function httpUrl(url: string | URL, wrong: (message: string) => IpeClientError): URL {
  const parsed = URL.canParse(String(url)) ? new URL(url) : undefined;
  if (parsed === undefined || !['http:', 'https:'].includes(parsed.protocol))
    throw wrong(`\`url\` must start with https:// or http://, not \`${url}\``);
  return parsed;
}
