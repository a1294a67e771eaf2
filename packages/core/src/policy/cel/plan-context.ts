import type { Activation } from './activation.ts';
import type { Node } from './ast.ts';
import type { Environment } from './environment.ts';
import { kindOf } from './kinds.ts';
import { CelError, Failure, Unknowns } from './values.ts';

/** A planned node: gives its value or failure. */
export type Eval = (activation: Activation) => unknown;

/**
 * Where a macro's variable lives. It belongs to the plan: evaluation is synchronous and never re-enters a program, so no
 * frame is needed.
 */
export interface Cell {
  value: unknown;
}

/** Variables of the macros around a node, innermost first. */
export interface Scope {
  readonly name: string;
  readonly cell: Cell;
  readonly outer: Scope | null;
}

/** What the parts of the planner hand each other. */
export interface PlanContext {
  readonly env: Environment;
  readonly scope: Scope | null;
  /** Whether nodes report to the activation's observer; fused shortcuts are then left out. */
  readonly observe: boolean;
  /** Plans a child in the same scope. */
  plan(node: Node): Eval;
  /** The same context with one more variable. */
  with(name: string, cell: Cell): PlanContext;
  isLocal(name: string): boolean;
}

/** Operators as they are written, for messages. */
const symbols: Readonly<Record<string, string>> = {
  '@in': 'in',
  '_[_]': '[]',
  '_?_:_': '?:',
  '_[?_]': '[?]',
  '_?._': '.?',
};

/** A function as people write it: `+` for `_+_`. */
export function symbolOf(fn: string): string {
  return symbols[fn] ?? fn.replace(/^_(?=\W)|(?<=\W)_$/g, '');
}

/** The error of a function that has nothing for these values. */
export function noOverload(id: number, fn: string, ...args: readonly unknown[]): CelError {
  const kinds = args.map(kindOf);
  const numeric = kinds.length === 2 && kinds.includes('double') && (kinds.includes('int') || kinds.includes('uint'));
  const hint = numeric ? '; JSON numbers are doubles: write `1.0`, or convert with `int()`' : '';
  return new CelError('no_such_overload', `\`${symbolOf(fn)}\` does not take (${kinds.join(', ')})${hint}`, id);
}

/** A function's result with its failure placed at node `id`; `undefined` becomes the overload error. */
export function settle(result: unknown, id: number, fn: string, ...args: readonly unknown[]): unknown {
  if (result === undefined) return noOverload(id, fn, ...args);
  if (result instanceof CelError && result.nodeId === 0) return new CelError(result.reason, result.message, id);
  return result;
}

/**
 * Of two failures the one that stands for both: unknowns are merged and win over errors, of errors the first stays.
 * Source: cel-spec, langdef.md, "Partial State".
 */
export function mergeFailures(first: Failure | null, second: Failure): Failure {
  if (first === null) return second;
  if (!(second instanceof Unknowns)) return first;
  return first instanceof Unknowns ? first.merge(second) : second;
}

/**
 * The failure of a strict function whose first operand failed. An error is final, so the rest is not evaluated; an
 * unknown is joined by the unknowns of the rest, so that one pass finds them all.
 */
export function strictFailure(first: Failure, rest: readonly Eval[], activation: Activation): Failure {
  if (!(first instanceof Unknowns)) return first;
  let merged = first;
  for (const part of rest) {
    const value = part(activation);
    if (value instanceof Unknowns) merged = merged.merge(value);
    else if (value instanceof Failure) return value;
  }
  return merged;
}
