import { charge, type Meter } from '../meter.ts';
import { codePointCount } from '../utf8.ts';
import { CelError } from '../values.ts';
import { format } from './format.ts';
import { matches } from './regex.ts';
import type { FunctionTable } from './table.ts';

/** Positions count code points. Most text has none beyond 16 bits, and is then sliced directly. */
const isSimple = (text: string): boolean => !/[\ud800-\udfff]/.test(text);

const cost = (text: string): number => text.length >> 4;

const outOfRange = (index: bigint): CelError => new CelError('out_of_range', `index ${index} is outside the text`);

function charAt(text: unknown, index: unknown, meter: Meter): unknown {
  if (typeof text !== 'string' || typeof index !== 'bigint') return undefined;
  const spent = charge(meter, cost(text));
  if (spent !== null) return spent;
  const points = isSimple(text) ? text : Array.from(text);
  if (index < 0n || index > BigInt(points.length)) return outOfRange(index);
  return points[Number(index)] ?? '';
}

function substring(text: unknown, start: unknown, end: unknown, meter: Meter): unknown {
  if (typeof text !== 'string' || typeof start !== 'bigint') return undefined;
  if (end !== null && typeof end !== 'bigint') return undefined;
  const spent = charge(meter, cost(text));
  if (spent !== null) return spent;
  const size = BigInt(codePointCount(text));
  const to = end ?? size;
  if (start < 0n || start > size) return outOfRange(start);
  if (to < start || to > size) return outOfRange(to);
  if (isSimple(text)) return text.slice(Number(start), Number(to));
  return Array.from(text).slice(Number(start), Number(to)).join('');
}

/** Where `part` begins in `text`, searching from code point `from` onwards (or backwards), -1 when nowhere. */
function search(text: unknown, part: unknown, from: unknown, backwards: boolean, meter: Meter): unknown {
  if (typeof text !== 'string' || typeof part !== 'string') return undefined;
  if (from !== null && typeof from !== 'bigint') return undefined;
  const spent = charge(meter, cost(text) + cost(part));
  if (spent !== null) return spent;
  const size = codePointCount(text);
  if (part === '') return from ?? (backwards ? BigInt(size) : 0n);
  if (from !== null && (from < 0n || from > BigInt(size))) return outOfRange(from);
  const unit = from === null ? null : unitOffset(text, Number(from));
  const found = backwards ? text.lastIndexOf(part, unit ?? text.length) : text.indexOf(part, unit ?? 0);
  return found === -1 ? -1n : BigInt(codePointCount(text.slice(0, found)));
}

function unitOffset(text: string, points: number): number {
  return isSimple(text) ? points : Array.from(text).slice(0, points).join('').length;
}

function replace(args: readonly unknown[], meter: Meter): unknown {
  const [text, from, to, limit] = args;
  if (typeof text !== 'string' || typeof from !== 'string' || typeof to !== 'string') return undefined;
  if (args.length > 4 || (args.length === 4 && typeof limit !== 'bigint')) return undefined;
  const most = limit === undefined || (limit as bigint) < 0n ? Number.POSITIVE_INFINITY : Number(limit);
  const replacements = Math.min(most, text.length + 1);
  const spent = charge(meter, cost(text) + ((replacements * (to.length + 1)) >> 4));
  if (spent !== null) return spent;
  return join(splitText(text, from, most + 1), to, from === '', text, most);
}

/** Between parts `to`; an empty `from` matches before and after every character, as Go's `strings.Replace` has it. */
function join(parts: readonly string[], to: string, everywhere: boolean, text: string, most: number): string {
  if (!everywhere) return parts.join(to);
  let out = '';
  let done = 0;
  for (const char of text) out += (done++ < most ? to : '') + char;
  return done < most ? out + to : out;
}

/** At most `most` parts; the last holds the rest. An empty separator splits into characters. */
function splitText(text: string, separator: string, most: number): string[] {
  if (most === 0) return [];
  const parts = separator === '' ? Array.from(text) : text.split(separator);
  if (parts.length <= most) return parts;
  return [...parts.slice(0, most - 1), parts.slice(most - 1).join(separator)];
}

function split(text: unknown, separator: unknown, limit: unknown, meter: Meter): unknown {
  if (typeof text !== 'string' || typeof separator !== 'string') return undefined;
  if (limit !== null && typeof limit !== 'bigint') return undefined;
  const most = limit === null || limit < 0n ? Number.POSITIVE_INFINITY : Number(limit);
  return charge(meter, text.length) ?? splitText(text, separator, most);
}

function joinList(list: unknown, separator: unknown, meter: Meter): unknown {
  if (!Array.isArray(list) || typeof separator !== 'string') return undefined;
  let size = list.length;
  for (const part of list) {
    if (typeof part !== 'string') return undefined;
    size += (part.length + separator.length) >> 4;
  }
  return charge(meter, size) ?? list.join(separator);
}

const whitespace = /^[\p{White_Space}]+|[\p{White_Space}]+$/gu;
const escapes: Readonly<Record<string, string>> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
  '"': '\\"',
};

/** The text as a double-quoted literal of CEL. */
export function quote(text: string): string {
  return `"${text.replace(/[\x07\b\f\n\r\t\v\\"]/g, (char) => escapes[char]!)}"`;
}

function onText(change: (text: string) => unknown): (text: unknown, meter: Meter) => unknown {
  return (text, meter) => (typeof text === 'string' ? (charge(meter, cost(text)) ?? change(text)) : undefined);
}

function onTexts(test: (text: string, part: string) => unknown): (a: unknown, b: unknown, meter: Meter) => unknown {
  return (text, part, meter) =>
    typeof text === 'string' && typeof part === 'string' ? (charge(meter, cost(text)) ?? test(text, part)) : undefined;
}

/** Functions of text: the standard ones and the strings extension. Source: cel-go, ext/strings.go (version 4). */
export const stringFunctions: FunctionTable = {
  unary: {
    lowerAscii: onText((text) => text.replace(/[A-Z]+/g, (part) => part.toLowerCase())),
    upperAscii: onText((text) => text.replace(/[a-z]+/g, (part) => part.toUpperCase())),
    trim: onText((text) => text.replace(whitespace, '')),
    'strings.quote': onText(quote),
    join: (list, meter) => joinList(list, '', meter),
  },
  binary: {
    contains: onTexts((text, part) => text.includes(part)),
    startsWith: onTexts((text, part) => text.startsWith(part)),
    endsWith: onTexts((text, part) => text.endsWith(part)),
    matches,
    charAt,
    format,
    indexOf: (text, part, meter) => search(text, part, null, false, meter),
    lastIndexOf: (text, part, meter) => search(text, part, null, true, meter),
    split: (text, separator, meter) => split(text, separator, null, meter),
    join: joinList,
    substring: (text, start, meter) => substring(text, start, null, meter),
  },
  ternary: {
    indexOf: (text, part, from, meter) => search(text, part, from, false, meter),
    lastIndexOf: (text, part, from, meter) => search(text, part, from, true, meter),
    split,
    substring,
  },
  variadic: { replace },
};
