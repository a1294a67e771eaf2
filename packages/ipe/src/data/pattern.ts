import { IpeError } from '@ipe/core';
import { keyBytesMax } from '@ipe/core/replica';

/** A pattern over keys, ready to match. */
export interface KeyPattern {
  readonly text: string;
  readonly namespace: string;
  /** What every matching key starts with: bounds the range that is scanned. */
  readonly prefix: string;
  /** Whether only one key can match. */
  readonly isKey: boolean;
  matches(key: string): boolean;
}

const forbidden = /[\p{Cc}\p{White_Space}\ufeff]|\p{Cs}/u;

/**
 * Reads a pattern: `*` stands for one segment, and as the last segment for one or more. The first segment is a
 * namespace: what may be read is decided by namespace.
 * @throws IpeError `invalid_params`
 * @example readPattern('approvals.*').matches('approvals.team.d1') // true
 */
export function readPattern(text: string, field = 'pattern'): KeyPattern {
  const refuse = (why: string) =>
    new IpeError('invalid_params', `\`${field}\` \`${text.slice(0, 80)}\` ${why}`, { details: { field } });
  const segments = text.split('.');
  const namespace = segments[0]!;
  if (!/^_?[a-z][a-z0-9_-]{0,63}$/.test(namespace)) throw refuse('must start with a namespace, such as `approvals.*`');
  if (segments.length < 2) throw refuse('needs at least two segments, such as `approvals.*`');
  if (Buffer.byteLength(text) > keyBytesMax) throw refuse(`is longer than ${keyBytesMax} bytes`);
  if (forbidden.test(text)) throw refuse('must not hold control characters or white space');
  if (segments.includes('')) throw refuse('has an empty segment');
  const odd = segments.find((segment) => segment !== '*' && segment.includes('*'));
  if (odd !== undefined) throw refuse(`: \`*\` stands for whole segments, not inside one as in \`${odd}\``);
  const firstStar = segments.indexOf('*');
  if (firstStar < 0) return { text, namespace, prefix: text, isKey: true, matches: (key) => key === text };
  const prefix = `${segments.slice(0, firstStar).join('.')}.`;
  if (firstStar === segments.length - 1)
    return { text, namespace, prefix, isKey: false, matches: (key) => key.startsWith(prefix) };
  return { text, namespace, prefix, isKey: false, matches: (key) => matchSegments(segments, key) };
}

function matchSegments(segments: readonly string[], key: string): boolean {
  const parts = key.split('.');
  const last = segments.length - 1;
  const isOpen = segments[last] === '*';
  if (isOpen ? parts.length < segments.length : parts.length !== segments.length) return false;
  return segments.every((segment, i) => segment === '*' || segment === parts[i]);
}
