import { isUtf8 } from 'node:buffer';
import { IpeError } from '@ipe/core';

/**
 * JSON from a client, as bytes.
 * @throws IpeError `parse_error` (not UTF-8, not JSON), `too_large` (deeper than `maxDepth`), `invalid_request`.
 */
export function parseJson(bytes: Uint8Array, maxDepth: number): unknown {
  if (!isUtf8(bytes)) throw new IpeError('parse_error', 'the body is not UTF-8');
  return parseJsonText(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'), maxDepth);
}

/**
 * JSON from a client. Depth is checked on the text before anything is built, so that no code behind the door meets a
 * nesting it could overflow on. Of members named twice the last one counts, as everywhere in JavaScript; a member named
 * `__proto__` is refused, because copying such an object would change its prototype.
 *
 * @throws IpeError `parse_error` (not JSON), `too_large` (deeper than `maxDepth`), `invalid_request`.
 */
export function parseJsonText(text: string, maxDepth: number): unknown {
  if (mayBeDeep(text, maxDepth)) checkDepth(text, maxDepth);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    throw new IpeError('parse_error', text.trim() === '' ? 'the body is empty, expected JSON' : `not JSON: ${said}`);
  }
  if (text.includes('__proto__') || text.includes('\\u')) refuseProto(value);
  return value;
}

/** Whether a text opens more brackets than it may be deep: most do not, and need no closer look. */
function mayBeDeep(text: string, maxDepth: number): boolean {
  if (text.length <= maxDepth) return false;
  let opened = 0;
  for (const bracket of ['{', '['])
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1))
      if (++opened > maxDepth) return true;
  return false;
}

const quote = 0x22;
const backslash = 0x5c;

function checkDepth(text: string, maxDepth: number): void {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === quote) {
      for (i++; i < text.length; i++) {
        const inner = text.charCodeAt(i);
        if (inner === quote) break;
        if (inner === backslash) i++;
      }
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > maxDepth) throw tooDeep(maxDepth);
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
}

/** The error for input nested deeper than allowed. */
export function tooDeep(maxDepth: number): IpeError {
  return new IpeError('too_large', `nested more than ${maxDepth} levels deep`, {
    details: { limit: maxDepth, unit: 'levels' },
  });
}

/** @throws IpeError `invalid_request` where any object has a member named `__proto__` */
export function refuseProto(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  const pending: object[] = [value];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    if (Object.hasOwn(at, '__proto__')) throw new IpeError('invalid_request', 'no member may be named `__proto__`');
    for (const child of Object.values(at)) if (typeof child === 'object' && child !== null) pending.push(child);
  }
}
