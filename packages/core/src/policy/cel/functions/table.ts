import type { Meter } from '../meter.ts';

/**
 * Implementations by number of arguments, a target counting as the first. They get values, never failures, and give a
 * value, a `CelError` without a node, or undefined when they have no overload for these arguments. What takes time in
 * proportion to its input charges the meter.
 */
export interface FunctionTable {
  readonly unary?: Readonly<Record<string, (a: unknown, meter: Meter) => unknown>>;
  readonly binary?: Readonly<Record<string, (a: unknown, b: unknown, meter: Meter) => unknown>>;
  readonly ternary?: Readonly<Record<string, (a: unknown, b: unknown, c: unknown, meter: Meter) => unknown>>;
  /** Any number of arguments; looked up last. */
  readonly variadic?: Readonly<Record<string, (args: readonly unknown[], meter: Meter) => unknown>>;
}
