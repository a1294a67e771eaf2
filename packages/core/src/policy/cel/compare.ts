import { type CelMap, isMap, type JsonObject, mapGet, mapKeys, mapSize } from './maps.ts';
import { charge, type Meter } from './meter.ts';
import { CelError, Duration, isFailure, Optional, Timestamp, TypeValue, Uint } from './values.ts';

/** How deep a value may nest where it is walked whole: a bound on the stack that does not depend on the machine. */
export const maxValueDepth = 500;

/** The error of a value nested too deep to be walked. */
export function tooDeep(): CelError {
  return new CelError('invalid_argument', `the value nests deeper than ${maxValueDepth} levels`);
}

/**
 * CEL equality: deep, numbers by value across types, anything else of different types unequal. Charges a step an element.
 * Source: cel-spec, langdef.md, "Equality".
 */
export function equals(a: unknown, b: unknown, meter: Meter, depth = 0): boolean | CelError {
  if (a === b) return true; // NaN is not equal to itself here either
  switch (typeof a) {
    case 'number':
    case 'bigint': {
      const other = b instanceof Uint ? b.value : b;
      if (typeof other !== 'number' && typeof other !== 'bigint') return false;
      return typeof other === typeof a ? a === other : Number(a) === Number(other);
    }
    case 'object':
      return a === null || typeof b !== 'object' || b === null
        ? a instanceof Uint && equals(b, a, meter)
        : equalObjects(a, b, meter, depth + 1);
    default:
      return false;
  }
}

function equalObjects(a: object, b: object, meter: Meter, depth: number): boolean | CelError {
  if (depth > maxValueDepth) return tooDeep();
  if (Array.isArray(a)) return Array.isArray(b) && equalLists(a, b, meter, depth);
  if (a instanceof Uint) return b instanceof Uint && a.value === b.value;
  if (a instanceof Timestamp) return b instanceof Timestamp && a.seconds === b.seconds && a.nanos === b.nanos;
  if (a instanceof Duration) return b instanceof Duration && a.nanos === b.nanos;
  if (a instanceof TypeValue) return b instanceof TypeValue && a.name === b.name;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && equalBytes(a, b, meter);
  if (a instanceof Optional) {
    if (!(b instanceof Optional) || a.present !== b.present) return false;
    return !a.present || equals(a.value, b.value, meter, depth);
  }
  return isMap(a) && isMap(b) && equalMaps(a, b, meter, depth);
}

function equalLists(a: readonly unknown[], b: readonly unknown[], meter: Meter, depth: number): boolean | CelError {
  if (a.length !== b.length) return false;
  const spent = charge(meter, a.length);
  if (spent !== null) return spent;
  for (let i = 0; i < a.length; i++) {
    const same = equals(a[i], b[i], meter, depth);
    if (same !== true) return same;
  }
  return true;
}

function equalBytes(a: Uint8Array, b: Uint8Array, meter: Meter): boolean | CelError {
  if (a.length !== b.length) return false;
  const spent = charge(meter, a.length >> 4);
  if (spent !== null) return spent;
  return a.every((byte, index) => byte === b[index]);
}

function equalMaps(a: CelMap | JsonObject, b: CelMap | JsonObject, meter: Meter, depth: number): boolean | CelError {
  const size = mapSize(a);
  const otherSize = mapSize(b);
  const spent = charge(meter, size + otherSize);
  if (spent !== null) return spent;
  if (size !== otherSize) return false;
  for (const key of mapKeys(a)) {
    const other = mapGet(b, key);
    if (other === undefined) return false;
    const same = equals(mapGet(a, key), other, meter, depth);
    if (same !== true) return same;
  }
  return true;
}

/**
 * Order of two values of one type, or of two numbers: negative, zero, positive; NaN when a NaN is among them; undefined
 * when CEL gives them no order.
 */
export function order(a: unknown, b: unknown): number | undefined {
  switch (typeof a) {
    case 'number':
    case 'bigint': {
      const other = b instanceof Uint ? b.value : b;
      if (typeof other === typeof a) return orderNumbers(a, other as typeof a);
      return typeof other === 'number' || typeof other === 'bigint'
        ? orderNumbers(Number(a), Number(other))
        : undefined;
    }
    case 'string':
      return typeof b === 'string' ? orderStrings(a, b) : undefined;
    case 'boolean':
      return typeof b === 'boolean' ? Number(a) - Number(b) : undefined;
    default:
      return orderObjects(a, b);
  }
}

/**
 * Order of two numbers of one JavaScript type. Of different types both are made doubles first, as cel-go does and the
 * conformance suite asks, so that integers beyond 2^53 may come out equal to a double near them.
 */
export function orderNumbers<N extends number | bigint>(a: N, b: N): number {
  return a < b ? -1 : a > b ? 1 : a === b ? 0 : Number.NaN;
}

function orderObjects(a: unknown, b: unknown): number | undefined {
  if (a instanceof Uint) return order(a.value, b);
  if (a instanceof Timestamp && b instanceof Timestamp) return a.seconds - b.seconds || a.nanos - b.nanos;
  if (a instanceof Duration && b instanceof Duration) return a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0;
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    const shared = Math.min(a.length, b.length);
    for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
    return a.length - b.length;
  }
  return undefined;
}

/** By code points; JavaScript's own order, by UTF-16 units, puts U+FFFF after U+10000. */
export function orderStrings(a: string, b: string): number {
  if (a === b) return 0;
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const xHigh = x >= 0xd800 && x < 0xe000;
    const yHigh = y >= 0xd800 && y < 0xe000;
    return xHigh === yHigh ? x - y : xHigh ? 1 : -1;
  }
  return a.length - b.length;
}

/** Whether `list` holds a value equal to `item`. Charges a step an element. */
export function contains(list: readonly unknown[], item: unknown, meter: Meter): boolean | CelError {
  const spent = charge(meter, list.length);
  if (spent !== null) return spent;
  if (typeof item === 'string' || typeof item === 'boolean' || item === null) return list.includes(item);
  for (const element of list) {
    const same = equals(item, element, meter);
    if (isFailure(same)) return same;
    if (same) return true;
  }
  return false;
}
