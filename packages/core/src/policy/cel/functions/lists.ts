import { contains, order } from '../compare.ts';
import { isMap, mapSize } from '../maps.ts';
import { charge, type Meter } from '../meter.ts';
import { codePointCount } from '../utf8.ts';
import { CelError, isFailure, Optional } from '../values.ts';
import type { FunctionTable } from './table.ts';

/** Elements of text, lists and maps. */
export function size(value: unknown, meter: Meter): unknown {
  if (typeof value === 'string') return charge(meter, value.length >> 6) ?? BigInt(codePointCount(value));
  if (Array.isArray(value) || value instanceof Uint8Array) return BigInt(value.length);
  if (!isMap(value)) return undefined;
  const entries = mapSize(value);
  return charge(meter, entries >> 3) ?? BigInt(entries);
}

function slice(list: unknown, start: unknown, end: unknown, meter: Meter): unknown {
  if (!Array.isArray(list) || typeof start !== 'bigint' || typeof end !== 'bigint') return undefined;
  if (start < 0n || end > BigInt(list.length) || start > end) {
    return new CelError('out_of_range', `slice(${start}, ${end}) of a list of ${list.length}`);
  }
  return charge(meter, Number(end - start)) ?? list.slice(Number(start), Number(end));
}

function flatten(list: unknown, depth: unknown, meter: Meter): unknown {
  if (!Array.isArray(list) || typeof depth !== 'bigint') return undefined;
  if (depth < 0n) return new CelError('invalid_argument', 'flatten: the depth is negative');
  const out: unknown[] = [];
  const spent = flattenInto(out, list, depth > 250n ? 250 : Number(depth), meter);
  return spent ?? out;
}

function flattenInto(out: unknown[], list: readonly unknown[], depth: number, meter: Meter): CelError | null {
  const spent = charge(meter, list.length);
  if (spent !== null) return spent;
  for (const element of list) {
    if (depth === 0 || !Array.isArray(element)) out.push(element);
    else {
      const failed = flattenInto(out, element, depth - 1, meter);
      if (failed !== null) return failed;
    }
  }
  return null;
}

function distinct(list: unknown, meter: Meter): unknown {
  if (!Array.isArray(list)) return undefined;
  const out: unknown[] = [];
  for (const element of list) {
    const known = contains(out, element, meter);
    if (isFailure(known)) return known;
    if (!known) out.push(element);
  }
  return out;
}

/** The list in ascending order; elements must be of one type that has an order. */
function sort(list: unknown, meter: Meter): unknown {
  if (!Array.isArray(list)) return undefined;
  const spent = charge(meter, list.length * Math.ceil(Math.log2(list.length + 2)));
  if (spent !== null) return spent;
  const [first] = list;
  for (const element of list) {
    const comparison = order(first, element);
    if (comparison === undefined || typeof first !== typeof element) {
      return new CelError('invalid_argument', 'sort: the elements must be of one type that has an order');
    }
  }
  return list.toSorted((a, b) => order(a, b) || 0);
}

function range(count: unknown, meter: Meter): unknown {
  if (typeof count !== 'bigint') return undefined;
  if (count > 1_000_000n) return new CelError('out_of_range', 'lists.range: at most 1,000,000 elements');
  const length = count < 0n ? 0 : Number(count);
  return charge(meter, length) ?? Array.from({ length }, (_, index) => BigInt(index));
}

function reverse(value: unknown, meter: Meter): unknown {
  if (typeof value === 'string') return charge(meter, value.length >> 2) ?? Array.from(value).toReversed().join('');
  return Array.isArray(value) ? (charge(meter, value.length) ?? value.toReversed()) : undefined;
}

/** Whether every element of `some` is in `all`. */
function isSubset(some: readonly unknown[], all: readonly unknown[], meter: Meter): boolean | CelError {
  for (const element of some) {
    const known = contains(all, element, meter);
    if (known !== true) return known;
  }
  return true;
}

function equivalent(a: unknown, b: unknown, meter: Meter): unknown {
  if (!Array.isArray(a) || !Array.isArray(b)) return undefined;
  const there = isSubset(a, b, meter);
  return there === true ? isSubset(b, a, meter) : there;
}

function intersects(a: unknown, b: unknown, meter: Meter): unknown {
  if (!Array.isArray(a) || !Array.isArray(b)) return undefined;
  for (const element of a) {
    const known = contains(b, element, meter);
    if (known !== false) return known;
  }
  return false;
}

/** Functions of lists, and of lists taken as sets. Source: cel-go, ext/lists.go and ext/sets.go. */
export const listFunctions: FunctionTable = {
  unary: {
    size,
    flatten: (list, meter) => flatten(list, 1n, meter),
    distinct,
    sort,
    reverse,
    'lists.range': range,
    first: (list) => (Array.isArray(list) ? (list.length > 0 ? Optional.of(list[0]) : Optional.none) : undefined),
    last: (list) => (Array.isArray(list) ? (list.length > 0 ? Optional.of(list.at(-1)) : Optional.none) : undefined),
  },
  binary: {
    flatten,
    'sets.contains': (all, some, meter) =>
      Array.isArray(all) && Array.isArray(some) ? isSubset(some, all, meter) : undefined,
    'sets.equivalent': equivalent,
    'sets.intersects': intersects,
  },
  ternary: { slice },
};
