import { readFileSync } from 'node:fs';
import { IpeError } from '@ipe/core';

/** Where a broker is and who one is to it, as its URL says. */
export interface BrokerAddress {
  /** Whether the URL asks for TLS: `tls://`, `rediss://`, `kafkas://`. */
  readonly isSecure: boolean;
  /** `host:port` each; several of one cluster stand with commas between. */
  readonly servers: readonly string[];
  readonly username?: string;
  readonly password?: string;
  readonly parameters: URLSearchParams;
}

/** Files in PEM form for TLS to a broker: the authority it is checked by, and what this instance shows of itself. */
export interface BrokerTlsFiles {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

const pattern = /^([a-z]+):\/\/(?:([^@/]*)@)?([^@/?]+)(?:\/[^?]*)?(?:\?(.*))?$/;
const secureSchemes: readonly string[] = ['tls', 'rediss', 'kafkas'];

/** @throws IpeError `invalid_params` for what is not the URL of a broker, without its password */
export function parseBrokerUrl(url: string): BrokerAddress {
  const match = pattern.exec(url);
  if (!match) {
    const shown = url.replace(/\/\/.*@/, '//…@');
    throw new IpeError(
      'invalid_params',
      `\`${shown}\` is not the address of a broker; expected \`scheme://host:port\``,
    );
  }
  const [, scheme, user, servers, parameters] = match;
  const [username, password] = (user ?? '').split(':').map(decodeURIComponent);
  return {
    isSecure: secureSchemes.includes(scheme!),
    servers: servers!.split(','),
    ...(username && { username }),
    ...(password && { password }),
    parameters: new URLSearchParams(parameters),
  };
}

/** Reads the files, for clients that want their contents. */
export function readTlsFiles({ caFile, certFile, keyFile }: BrokerTlsFiles) {
  return {
    ...(caFile !== undefined && { ca: readFileSync(caFile) }),
    ...(certFile !== undefined && { cert: readFileSync(certFile) }),
    ...(keyFile !== undefined && { key: readFileSync(keyFile) }),
  };
}
