import { IpeError } from '../errors.ts';
import { utf8Length } from './codec.ts';

/** Bytes of a key in UTF-8, namespace included. */
export const keyBytesMax = 512;

const namespacePattern = /^_?[a-z][a-z0-9_-]{0,63}$/;
// Control characters, white space of any kind, `*`, and halves of surrogate pairs standing alone.
const forbidden = /[\p{Cc}\p{White_Space}*\ufeff]|\p{Cs}/u;

/** The first segment of a key: the unit of authorization, replication and conflict strategy. */
export function namespaceOf(key: string): string {
  const dot = key.indexOf('.');
  return dot < 0 ? key : key.slice(0, dot);
}

/** Whether a namespace is IPE's own. */
export function isReserved(namespace: string): boolean {
  return namespace.startsWith('_');
}

/**
 * Checks a key as clients send it: at least two segments joined by `.`, none empty, at most 512 bytes of UTF-8, no
 * control characters, white space or `*`; the first segment a namespace, `[a-z][a-z0-9_-]{0,63}`.
 * @param field the parameter it came in, named by the error
 * @returns the namespace
 * @throws IpeError `invalid_params`
 */
export function checkKey(key: string, field = 'key'): string {
  const dot = key.indexOf('.');
  if (dot < 0) throw refuse(key, field, 'needs at least two segments: `<namespace>.<id>`');
  const namespace = key.slice(0, dot);
  if (!namespacePattern.test(namespace))
    throw refuse(key, field, 'must start with a namespace: a letter, then up to 63 of a-z, 0-9, `_` and `-`');
  if (key.length * 3 > keyBytesMax && utf8Length(key) > keyBytesMax)
    throw refuse(key, field, `is longer than ${keyBytesMax} bytes`);
  if (!isPlain(key) && forbidden.test(key))
    throw refuse(key, field, 'must not hold control characters, white space or `*`');
  if (key.includes('..') || key.endsWith('.')) throw refuse(key, field, 'has an empty segment');
  return namespace;
}

/** Whether a key is visible ASCII without `*`: nearly all are, and this costs less than the classes of Unicode. */
function isPlain(key: string): boolean {
  for (let i = 0; i < key.length; i++) {
    const code = key.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f || code === 0x2a) return false;
  }
  return true;
}

function refuse(key: string, field: string, why: string): IpeError {
  const shown = key.length > 80 ? `${key.slice(0, 79)}…` : key;
  return new IpeError('invalid_params', `\`${field}\` \`${shown}\` ${why}`, { details: { field, expected: 'key' } });
}
