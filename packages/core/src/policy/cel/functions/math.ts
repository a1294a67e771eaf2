import { toInt } from '../arithmetic.ts';
import { order } from '../compare.ts';
import { charge, type Meter } from '../meter.ts';
import { CelError, Uint } from '../values.ts';
import type { FunctionTable } from './table.ts';

const isNumber = (value: unknown): boolean =>
  typeof value === 'number' || typeof value === 'bigint' || value instanceof Uint;

/** The element that no other precedes (`sign` -1) or exceeds (1); the first among equals. */
function extreme(sign: 1 | -1): (args: readonly unknown[], meter: Meter) => unknown {
  return (args, meter) => {
    const values = args.length === 1 && Array.isArray(args[0]) ? args[0] : args;
    const spent = charge(meter, values.length);
    if (spent !== null) return spent;
    if (values.length === 0) return new CelError('invalid_argument', 'the list is empty');
    if (!values.every(isNumber)) return undefined;
    return values.reduce((best, value) => ((order(value, best) ?? 0) * sign > 0 ? value : best));
  };
}

function onDouble(change: (value: number) => unknown): (value: unknown) => unknown {
  return (value) => (typeof value === 'number' ? change(value) : undefined);
}

/** Half away from zero. */
function round(value: number): number {
  return Number.isFinite(value) ? Math.sign(value) * Math.round(Math.abs(value)) : value;
}

function abs(value: unknown): unknown {
  if (typeof value === 'number') return Math.abs(value);
  if (typeof value === 'bigint') return toInt(value < 0n ? -value : value);
  return value instanceof Uint ? value : undefined;
}

function sign(value: unknown): unknown {
  if (typeof value === 'number') return Math.sign(value);
  if (typeof value === 'bigint') return value > 0n ? 1n : value < 0n ? -1n : 0n;
  return value instanceof Uint ? new Uint(value.value > 0n ? 1n : 0n) : undefined;
}

function sqrt(value: unknown): unknown {
  if (typeof value === 'number') return Math.sqrt(value);
  if (typeof value === 'bigint') return Math.sqrt(Number(value));
  return value instanceof Uint ? Math.sqrt(Number(value.value)) : undefined;
}

function bitwise(combine: (a: bigint, b: bigint) => bigint): (a: unknown, b: unknown) => unknown {
  return (a, b) => {
    if (typeof a === 'bigint' && typeof b === 'bigint') return BigInt.asIntN(64, combine(a, b));
    return a instanceof Uint && b instanceof Uint ? new Uint(BigInt.asUintN(64, combine(a.value, b.value))) : undefined;
  };
}

function bitNot(value: unknown): unknown {
  if (typeof value === 'bigint') return ~value;
  return value instanceof Uint ? new Uint(BigInt.asUintN(64, ~value.value)) : undefined;
}

/** Shifts move in zeros, also to the right of a negative int, and by 64 or more leave zero. */
function shift(move: (bits: bigint, by: bigint) => bigint): (value: unknown, by: unknown) => unknown {
  return (value, by) => {
    if (typeof by !== 'bigint' || (typeof value !== 'bigint' && !(value instanceof Uint))) return undefined;
    if (by < 0n) return new CelError('invalid_argument', `cannot shift by ${by} bits`);
    const bits = by > 63n ? 0n : move(BigInt.asUintN(64, value instanceof Uint ? value.value : value), by);
    return value instanceof Uint ? new Uint(BigInt.asUintN(64, bits)) : BigInt.asIntN(64, bits);
  };
}

/** The math extension. Source: cel-go, ext/math.go (version 2). */
export const mathFunctions: FunctionTable = {
  unary: {
    'math.ceil': onDouble(Math.ceil),
    'math.floor': onDouble(Math.floor),
    'math.round': onDouble(round),
    'math.trunc': onDouble(Math.trunc),
    'math.isNaN': onDouble(Number.isNaN),
    'math.isInf': onDouble((value) => !Number.isNaN(value) && !Number.isFinite(value)),
    'math.isFinite': onDouble(Number.isFinite),
    'math.abs': abs,
    'math.sign': sign,
    'math.sqrt': sqrt,
    'math.bitNot': bitNot,
  },
  binary: {
    'math.bitAnd': bitwise((a, b) => a & b),
    'math.bitOr': bitwise((a, b) => a | b),
    'math.bitXor': bitwise((a, b) => a ^ b),
    'math.bitShiftLeft': shift((bits, by) => bits << by),
    'math.bitShiftRight': shift((bits, by) => bits >> by),
  },
  variadic: { 'math.greatest': extreme(1), 'math.least': extreme(-1) },
};
