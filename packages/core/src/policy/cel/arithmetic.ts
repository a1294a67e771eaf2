import { charge, type Meter } from './meter.ts';
import { CelError, Duration, Timestamp, Uint } from './values.ts';

/**
 * Arithmetic of CEL. Each function gives the result, a `CelError`, or undefined when it has no overload for the operands.
 * Integers never wrap. Source: cel-spec, langdef.md, "Numeric values" and "Overflow".
 */

export const minInt = -(2n ** 63n);
export const maxInt = 2n ** 63n - 1n;
export const maxUint = 2n ** 64n - 1n;

export const overflow = (what: string): CelError => new CelError('overflow', `${what} overflow`);

/** `value` when it fits an int, an overflow error otherwise. */
export function toInt(value: bigint): bigint | CelError {
  return value > maxInt || value < minInt ? overflow('int') : value;
}

/** `value` as uint when it fits, an overflow error otherwise. */
export function toUint(value: bigint): Uint | CelError {
  return value > maxUint || value < 0n ? overflow('uint') : new Uint(value);
}

const maxDurationNanos = maxInt;
export const minTimestampSeconds = -62_135_596_800; // 0001-01-01T00:00:00Z
export const maxTimestampSeconds = 253_402_300_799; // 9999-12-31T23:59:59Z

export function toDuration(nanos: bigint): Duration | CelError {
  return nanos > maxDurationNanos || nanos < minInt
    ? new CelError('out_of_range', 'duration out of range')
    : new Duration(nanos);
}

/** The timestamp `nanos` nanoseconds after 1970, when it lies in the years 1 to 9999. */
export function toTimestamp(nanos: bigint): Timestamp | CelError {
  let seconds = nanos / 1_000_000_000n;
  let rest = nanos % 1_000_000_000n;
  if (rest < 0n) {
    rest += 1_000_000_000n;
    seconds -= 1n;
  }
  return seconds < minTimestampSeconds || seconds > maxTimestampSeconds
    ? new CelError('out_of_range', 'timestamp out of range: years are 0001 to 9999')
    : new Timestamp(Number(seconds), Number(rest));
}

export function nanosOf(timestamp: Timestamp): bigint {
  return BigInt(timestamp.seconds) * 1_000_000_000n + BigInt(timestamp.nanos);
}

export function add(a: unknown, b: unknown, meter: Meter): unknown {
  switch (typeof a) {
    case 'string':
      if (typeof b !== 'string') return undefined;
      return charge(meter, (a.length + b.length) >> 4) ?? a + b;
    case 'number':
      return typeof b === 'number' ? a + b : undefined;
    case 'bigint':
      return typeof b === 'bigint' ? toInt(a + b) : undefined;
    case 'object':
      return a === null || typeof b !== 'object' || b === null ? undefined : addObjects(a, b, meter);
    default:
      return undefined;
  }
}

function addObjects(a: object, b: object, meter: Meter): unknown {
  if (Array.isArray(a)) {
    return Array.isArray(b) ? (charge(meter, a.length + b.length) ?? a.concat(b)) : undefined;
  }
  if (a instanceof Uint) return b instanceof Uint ? toUint(a.value + b.value) : undefined;
  if (a instanceof Uint8Array) {
    if (!(b instanceof Uint8Array)) return undefined;
    const spent = charge(meter, (a.length + b.length) >> 4);
    if (spent !== null) return spent;
    const all = new Uint8Array(a.length + b.length);
    all.set(a);
    all.set(b, a.length);
    return all;
  }
  if (a instanceof Duration) {
    if (b instanceof Duration) return toDuration(a.nanos + b.nanos);
    return b instanceof Timestamp ? toTimestamp(nanosOf(b) + a.nanos) : undefined;
  }
  return a instanceof Timestamp && b instanceof Duration ? toTimestamp(nanosOf(a) + b.nanos) : undefined;
}

export function subtract(a: unknown, b: unknown): unknown {
  if (typeof a === 'number') return typeof b === 'number' ? a - b : undefined;
  if (typeof a === 'bigint') return typeof b === 'bigint' ? toInt(a - b) : undefined;
  if (a instanceof Uint) return b instanceof Uint ? toUint(a.value - b.value) : undefined;
  if (a instanceof Duration) return b instanceof Duration ? toDuration(a.nanos - b.nanos) : undefined;
  if (!(a instanceof Timestamp)) return undefined;
  if (b instanceof Timestamp) return toDuration(nanosOf(a) - nanosOf(b));
  return b instanceof Duration ? toTimestamp(nanosOf(a) - b.nanos) : undefined;
}

export function multiply(a: unknown, b: unknown): unknown {
  if (typeof a === 'number') return typeof b === 'number' ? a * b : undefined;
  if (typeof a === 'bigint') return typeof b === 'bigint' ? toInt(a * b) : undefined;
  return a instanceof Uint && b instanceof Uint ? toUint(a.value * b.value) : undefined;
}

export function divide(a: unknown, b: unknown): unknown {
  if (typeof a === 'number') return typeof b === 'number' ? a / b : undefined;
  if (typeof a === 'bigint') {
    if (typeof b !== 'bigint') return undefined;
    return b === 0n ? new CelError('divide_by_zero', 'division by zero') : toInt(a / b);
  }
  if (!(a instanceof Uint && b instanceof Uint)) return undefined;
  return b.value === 0n ? new CelError('divide_by_zero', 'division by zero') : toUint(a.value / b.value);
}

export function modulo(a: unknown, b: unknown): unknown {
  if (typeof a === 'bigint') {
    if (typeof b !== 'bigint') return undefined;
    return b === 0n ? new CelError('divide_by_zero', 'modulus by zero') : toInt(a % b);
  }
  if (!(a instanceof Uint && b instanceof Uint)) return undefined;
  return b.value === 0n ? new CelError('divide_by_zero', 'modulus by zero') : toUint(a.value % b.value);
}

export function negate(a: unknown): unknown {
  if (typeof a === 'number') return -a;
  return typeof a === 'bigint' ? toInt(-a) : undefined;
}
