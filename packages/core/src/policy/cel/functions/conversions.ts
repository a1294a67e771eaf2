import { maxInt, maxUint, minInt, overflow, toDuration, toInt, toTimestamp, toUint } from '../arithmetic.ts';
import { formatDuration, formatTimestamp, parseDuration, parseTimestamp } from '../calendar.ts';
import { typeNameOf } from '../kinds.ts';
import { charge, type Meter } from '../meter.ts';
import { decodeUtf8, encodeUtf8 } from '../utf8.ts';
import { CelError, Duration, Timestamp, TypeValue, Uint } from '../values.ts';
import type { FunctionTable } from './table.ts';

const refuse = (value: unknown, type: string): CelError =>
  new CelError('invalid_argument', `\`${String(value).slice(0, 100)}\` is not a ${type}`);

/** Doubles at or beyond these bounds do not fit; 2^63 itself is the first double too large. */
const intBound = 2 ** 63;
const uintBound = 2 ** 64;

function int(value: unknown): unknown {
  switch (typeof value) {
    case 'bigint':
      return value;
    case 'number':
      // cel-go refuses both ends, since doubles near them are already rounded.
      return value > -intBound && value < intBound ? BigInt(Math.trunc(value)) : overflow('int');
    case 'string':
      if (!/^[+-]?\d{1,40}$/.test(value)) return refuse(value, 'int');
      return toInt(BigInt(value.replace(/^\+/, '')));
    default:
      if (value instanceof Uint) return toInt(value.value);
      return value instanceof Timestamp ? BigInt(value.seconds) : undefined;
  }
}

function uint(value: unknown): unknown {
  switch (typeof value) {
    case 'bigint':
      return toUint(value);
    case 'number':
      return value > -1 && value < uintBound ? new Uint(BigInt(Math.trunc(value))) : overflow('uint');
    case 'string':
      return /^\d{1,40}$/.test(value) ? toUint(BigInt(value)) : refuse(value, 'uint');
    default:
      return value instanceof Uint ? value : undefined;
  }
}

const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const named: Readonly<Record<string, number>> = {
  nan: Number.NaN,
  inf: Number.POSITIVE_INFINITY,
  '+inf': Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
  infinity: Number.POSITIVE_INFINITY,
  '+infinity': Number.POSITIVE_INFINITY,
  '-infinity': Number.NEGATIVE_INFINITY,
};

function double(value: unknown): unknown {
  switch (typeof value) {
    case 'number':
      return value;
    case 'bigint':
      return Number(value);
    case 'string': {
      const name = value.toLowerCase();
      if (Object.hasOwn(named, name)) return named[name];
      if (value.length > 400 || !decimal.test(value)) return refuse(value, 'double');
      const parsed = Number(value);
      return Number.isFinite(parsed) ? parsed : new CelError('out_of_range', `\`${value}\` does not fit in a double`);
    }
    default:
      return value instanceof Uint ? Number(value.value) : undefined;
  }
}

function string(value: unknown, meter: Meter): unknown {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
      return formatDouble(value);
    case 'bigint':
    case 'boolean':
      return String(value);
    default:
      break;
  }
  if (value instanceof Uint) return String(value.value);
  if (value instanceof Timestamp) return formatTimestamp(value);
  if (value instanceof Duration) return formatDuration(value.nanos);
  if (value instanceof Uint8Array) {
    return (
      charge(meter, value.length >> 4) ??
      decodeUtf8(value) ??
      new CelError('invalid_argument', 'the bytes are not UTF-8 text')
    );
  }
  return undefined;
}

/** A double as CEL prints it: JavaScript's shortest form, with Go's names for what is not finite. */
export function formatDouble(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  return Object.is(value, -0) ? '-0' : String(value);
}

function bytes(value: unknown, meter: Meter): unknown {
  if (value instanceof Uint8Array) return value;
  return typeof value === 'string' ? (charge(meter, value.length >> 4) ?? encodeUtf8(value)) : undefined;
}

const booleans: Readonly<Record<string, boolean>> = {
  '1': true,
  t: true,
  true: true,
  TRUE: true,
  True: true,
  '0': false,
  f: false,
  false: false,
  FALSE: false,
  False: false,
};

function bool(value: unknown): unknown {
  if (typeof value === 'boolean') return value;
  if (typeof value !== 'string') return undefined;
  return Object.hasOwn(booleans, value) ? booleans[value] : refuse(value, 'bool');
}

function timestamp(value: unknown): unknown {
  if (value instanceof Timestamp) return value;
  if (typeof value === 'bigint') return toTimestamp(value * 1_000_000_000n);
  if (typeof value !== 'string') return undefined;
  const parsed = parseTimestamp(value);
  return parsed === null
    ? refuse(value, 'timestamp; write it as `2026-01-31T12:00:00Z`')
    : toTimestamp(BigInt(parsed.seconds) * 1_000_000_000n + BigInt(parsed.nanos));
}

function duration(value: unknown): unknown {
  if (value instanceof Duration) return value;
  if (typeof value === 'bigint')
    return value > maxUint || value < minInt || value > maxInt ? undefined : toDuration(value);
  if (typeof value !== 'string') return undefined;
  const nanos = parseDuration(value);
  return nanos === null ? refuse(value, 'duration; write it as `1h30m` or `1.5s`') : toDuration(nanos);
}

/** Conversions between types. Source: cel-spec, langdef.md, "List of Standard Definitions". */
export const conversionFunctions: FunctionTable = {
  unary: {
    int,
    uint,
    double,
    string,
    bytes,
    bool,
    timestamp,
    duration,
    dyn: (value) => value,
    type: (value) => new TypeValue(typeNameOf(value)),
  },
};
