import { IpeError } from '@ipe/core';

/** Splits `host:port` (IPv6 in brackets). @throws IpeError `invalid_params` naming the text. */
export function parseAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new IpeError('invalid_params', `\`${text}\` is not an address; expected \`host:port\``);
  }
  return { host: match[1] ?? match[2]!, port };
}
