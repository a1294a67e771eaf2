import type { Scalar } from 'yaml';

/**
 * Where each character of a YAML scalar's value stands in the document: `map[i]` is the offset of `value[i]`, and
 * `map[value.length]` the offset after the last one.
 *
 * Plain, quoted, literal and folded scalars are followed line by line; a character that folding made (the space or line
 * break between two lines) stands at the end of the line before it. Where the value cannot be followed (never seen, but
 * the library is free to change) every character maps to the scalar's beginning, so positions stay inside it.
 *
 * Source: YAML 1.2.2 §7.3 (flow scalars) and §8.1 (block scalars).
 */
export function scalarMap(scalar: Scalar, source: string): readonly number[] {
  const value = typeof scalar.value === 'string' ? scalar.value : '';
  const [start, end] = scalar.range ?? [0, 0];
  const text = source.slice(start, end);
  const map = isBlock(scalar) ? blockMap(value, text) : flowMap(value, text, scalar.type);
  if (map === undefined) return Array.from({ length: value.length + 1 }, () => start);
  return map.map((offset) => offset + start);
}

function isBlock(scalar: Scalar): boolean {
  return scalar.type === 'BLOCK_LITERAL' || scalar.type === 'BLOCK_FOLDED';
}

/** Block scalars: each line of the source, without its indentation, stands in the value in order. */
function blockMap(value: string, text: string): number[] | undefined {
  const map: number[] = [];
  const first = nextLine(text, 0);
  let indent: number | undefined;
  let lineEnd = Math.max(0, first - 1);
  for (let at = first; at < text.length && map.length < value.length; at = nextLine(text, at)) {
    const stop = endOfLine(text, at);
    const spaces = leadingSpaces(text, at);
    if (at + spaces >= stop) continue;
    indent ??= spaces - spacesInValue(value);
    const content = text.slice(at + indent, stop);
    // What stands between this line and the one before is line breaks, or the space they were folded to.
    const found = value.indexOf(content, map.length);
    if (found < 0 || !/^[ \n]*$/.test(value.slice(map.length, found))) return undefined;
    while (map.length < found) map.push(lineEnd);
    for (let i = 0; i < content.length; i++) map.push(at + indent + i);
    lineEnd = stop;
  }
  while (map.length <= value.length) map.push(lineEnd);
  return map;
}

/** Spaces that begin the first line with text: those beyond the block's indentation, where an indicator fixed that. */
function spacesInValue(value: string): number {
  const start = value.search(/[^\n]/);
  return start < 0 ? 0 : leadingSpaces(value, start);
}

function leadingSpaces(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ') at++;
  return at - from;
}

/** Plain and quoted scalars: characters stand for themselves, except escapes and the folding of line breaks. */
function flowMap(value: string, text: string, type: Scalar['type']): number[] | undefined {
  const quote = type === 'QUOTE_DOUBLE' ? '"' : type === 'QUOTE_SINGLE' ? "'" : '';
  const map: number[] = [];
  let at = quote === '' ? 0 : 1;
  const end = quote === '' ? text.length : text.length - 1;
  while (at < end && map.length < value.length) {
    const taken = lineFold(text, at) ?? escapeAt(text, at, quote);
    const units = taken === undefined ? 1 : taken.units;
    if (taken === undefined && value[map.length] !== text[at]) return undefined;
    for (let i = 0; i < units; i++) map.push(at);
    at += taken === undefined ? 1 : taken.length;
  }
  if (map.length < value.length) return undefined;
  map.push(at);
  return map;
}

/** How much of the source a piece of the value takes, and how many UTF-16 code units it became. */
interface Taken {
  readonly length: number;
  readonly units: number;
}

/** One line break with the blanks around it is a space; each further one is a line break. */
function lineFold(text: string, at: number): Taken | undefined {
  const match = /^[ \t]*((?:\r?\n[ \t]*)+)/.exec(text.slice(at, at + foldMax));
  if (match === null) return undefined;
  const breaks = match[1]!.split('\n').length - 1;
  return { length: match[0].length, units: Math.max(1, breaks - 1) };
}

/** Longest run of blank lines looked at in one piece; a longer one falls back to the scalar's beginning. */
const foldMax = 4096;

function escapeAt(text: string, at: number, quote: string): Taken | undefined {
  if (quote === "'" && text.startsWith("''", at)) return { length: 2, units: 1 };
  if (quote !== '"' || text[at] !== '\\') return undefined;
  const next = text[at + 1];
  if (next === 'x') return { length: 4, units: 1 };
  if (next === 'u') return { length: 6, units: 1 };
  if (next === 'U') return { length: 10, units: Number.parseInt(text.slice(at + 2, at + 10), 16) > 0xffff ? 2 : 1 };
  if (next !== '\n' && next !== '\r') return { length: 2, units: 1 };
  // An escaped line break vanishes with the indentation of the next line; further line breaks are kept.
  const match = /^\\((?:\r?\n[ \t]*)+)/.exec(text.slice(at, at + foldMax));
  return match === null ? undefined : { length: match[0].length, units: match[1]!.split('\n').length - 2 };
}

function nextLine(text: string, at: number): number {
  const feed = text.indexOf('\n', at);
  return feed < 0 ? text.length : feed + 1;
}

function endOfLine(text: string, at: number): number {
  const feed = text.indexOf('\n', at);
  const end = feed < 0 ? text.length : feed;
  return end > at && text[end - 1] === '\r' ? end - 1 : end;
}
