import { formatDuration, formatTimestamp } from '../calendar.ts';
import { maxValueDepth, tooDeep } from '../compare.ts';
import { kindOf } from '../kinds.ts';
import { isMap, mapGet, mapKeys } from '../maps.ts';
import { charge, type Meter } from '../meter.ts';
import { decodeUtf8, encodeUtf8 } from '../utf8.ts';
import { CelError, Duration, isFailure, Timestamp, TypeValue, Uint } from '../values.ts';
import { formatDouble } from './conversions.ts';

const clause = /%(?:\.(\d+))?([a-zA-Z%])?/g;
const maxPrecision = 1_000;
const refuse = (message: string): CelError => new CelError('invalid_argument', `format: ${message}`);

/**
 * `"%s has %d".format([name, count])`. Clauses: `%s %d %f %e %x %X %o %b %%`, with a precision for `%f` and `%e`.
 * Independent of locale. Source: cel-go, ext/formatting.go.
 */
export function format(template: unknown, list: unknown, meter: Meter): unknown {
  if (typeof template !== 'string' || !Array.isArray(list)) return undefined;
  let out = '';
  let at = 0;
  let used = 0;
  for (const match of template.matchAll(clause)) {
    out += template.slice(at, match.index);
    at = match.index + match[0].length;
    const verb = match[2];
    if (verb === '%' && match[1] === undefined) {
      out += '%';
      continue;
    }
    if (verb === undefined) return refuse('`%` stands at the end; write `%%` for a percent sign');
    if (used >= list.length) return refuse(`the list has no value for clause ${used + 1}`);
    const part = formatClause(verb, match[1], list[used++], meter);
    if (part === undefined) return refuse(`\`%${verb}\` is not a clause`);
    if (isFailure(part)) return part;
    out += part;
    const spent = charge(meter, out.length >> 4);
    if (spent !== null) return spent;
  }
  return out + template.slice(at);
}

function formatClause(
  verb: string,
  digits: string | undefined,
  value: unknown,
  meter: Meter,
): string | CelError | undefined {
  const precision = digits === undefined ? 6 : Number(digits);
  if (precision > maxPrecision) return refuse(`at most ${maxPrecision} digits`);
  switch (verb) {
    case 's':
      return text(value, meter);
    case 'd':
      return decimal(value);
    case 'f':
      return floating(value, (number) => fixed(number, precision), 'f');
    case 'e':
      return floating(value, (number) => scientific(number, precision), 'e');
    case 'b':
      return typeof value === 'boolean' ? (value ? '1' : '0') : integer(value, 2, 'b');
    case 'o':
      return integer(value, 8, 'o');
    case 'x':
      return hexadecimal(value, 'x');
    case 'X': {
      const lower = hexadecimal(value, 'X');
      return isFailure(lower) ? lower : lower.toUpperCase();
    }
    default:
      return undefined;
  }
}

const mismatch = (verb: string, value: unknown): CelError => refuse(`\`%${verb}\` does not take a ${kindOf(value)}`);

/** `%s`: any value; maps by sorted keys. */
function text(value: unknown, meter: Meter, depth = 0): string | CelError {
  if (depth > maxValueDepth) return tooDeep();
  if (typeof value === 'string') return charge(meter, value.length >> 4) ?? value;
  if (value === null) return 'null';
  if (typeof value === 'number') return shortNumber(value);
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (value instanceof Uint) return String(value.value);
  if (value instanceof Timestamp) return formatTimestamp(value);
  if (value instanceof Duration) return formatDuration(value.nanos);
  if (value instanceof TypeValue) return value.name;
  if (value instanceof Uint8Array) return decodeUtf8(value) ?? refuse('`%s` takes bytes only when they are UTF-8');
  if (Array.isArray(value)) return listText(value, meter, depth + 1);
  return isMap(value) ? mapText(value, meter, depth + 1) : mismatch('s', value);
}

function shortNumber(value: number): string {
  if (Number.isFinite(value)) return formatDouble(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';
}

function listText(list: readonly unknown[], meter: Meter, depth: number): string | CelError {
  const spent = charge(meter, list.length);
  if (spent !== null) return spent;
  const parts: string[] = [];
  for (const element of list) {
    const part = text(element, meter, depth);
    if (isFailure(part)) return part;
    parts.push(part);
  }
  return `[${parts.join(', ')}]`;
}

function mapText(map: Parameters<typeof mapKeys>[0], meter: Meter, depth: number): string | CelError {
  const parts: [string, string][] = [];
  for (const key of mapKeys(map)) {
    const spent = charge(meter, 1);
    if (spent !== null) return spent;
    const name = text(key, meter, depth);
    const value = text(mapGet(map, key), meter, depth);
    if (isFailure(name)) return name;
    if (isFailure(value)) return value;
    parts.push([name, value]);
  }
  parts.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${parts.map(([key, value]) => `${key}: ${value}`).join(', ')}}`;
}

function decimal(value: unknown): string | CelError {
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Uint) return String(value.value);
  return typeof value === 'number' ? shortNumber(value) : mismatch('d', value);
}

function floating(value: unknown, print: (number: number) => string, verb: string): string | CelError {
  const number = typeof value === 'bigint' ? Number(value) : value instanceof Uint ? Number(value.value) : value;
  if (typeof number !== 'number') return mismatch(verb, value);
  return Number.isFinite(number) ? print(number) : shortNumber(number);
}

/**
 * The exact decimal value of a double rounded half to even, with any number of digits; `toFixed` stops at 100 digits and
 * changes form at 1e21.
 */
function fixed(value: number, precision: number): string {
  const { digits, scale } = exactDecimal(Math.abs(value));
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const rounded = roundTo(digits, scale, precision);
  const text = String(rounded).padStart(precision + 1, '0');
  return precision === 0 ? sign + text : `${sign}${text.slice(0, -precision)}.${text.slice(-precision)}`;
}

/** One digit, `precision` more, and an exponent of at least two digits, as C prints it. */
function scientific(value: number, precision: number): string {
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const { digits, scale } = exactDecimal(Math.abs(value));
  let exponent = digits === 0n ? 0 : String(digits).length - 1 - scale;
  let mantissa = digits === 0n ? 0n : roundTo(digits, scale + exponent, precision);
  if (String(mantissa).length > precision + 1) {
    mantissa /= 10n;
    exponent++;
  }
  const text = String(mantissa).padEnd(precision + 1, '0');
  const power = `${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  return `${sign}${text[0]}${precision > 0 ? `.${text.slice(1)}` : ''}e${power}`;
}

/** The double as `digits / 10^scale`, exactly. */
function exactDecimal(value: number): { readonly digits: bigint; readonly scale: number } {
  let mantissa = value;
  let halvings = 0;
  while (!Number.isInteger(mantissa)) {
    mantissa *= 2;
    halvings++;
  }
  return { digits: BigInt(mantissa) * 5n ** BigInt(halvings), scale: halvings };
}

/** `digits / 10^scale` times `10^precision`, rounded half to even. */
function roundTo(digits: bigint, scale: number, precision: number): bigint {
  if (precision >= scale) return digits * 10n ** BigInt(precision - scale);
  const divisor = 10n ** BigInt(scale - precision);
  const whole = digits / divisor;
  const twice = (digits % divisor) * 2n;
  return twice > divisor || (twice === divisor && whole % 2n === 1n) ? whole + 1n : whole;
}

function integer(value: unknown, radix: number, verb: string): string | CelError {
  if (typeof value === 'bigint') return value.toString(radix);
  return value instanceof Uint ? value.value.toString(radix) : mismatch(verb, value);
}

function hexadecimal(value: unknown, verb: string): string | CelError {
  const bytes = typeof value === 'string' ? encodeUtf8(value) : value;
  if (bytes instanceof Uint8Array) return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return integer(value, 16, verb);
}
