import type { ComprehensionNode } from './ast.ts';
import { isMap, mapKeys } from './maps.ts';
import { overBudget } from './meter.ts';
import { type Cell, type Eval, mergeFailures, noOverload } from './plan-context.ts';
import { Failure, Unknowns } from './values.ts';

/**
 * The three macros that policies live on, over one variable, as loops of their own: a general loop with steps handed in
 * takes twice the time. They do what `planMacro`'s would.
 *
 * @param cost steps charged for each element
 */
export function planFilter(node: ComprehensionNode, range: Eval, cell: Cell, test: Eval, cost: number): Eval {
  return (activation) => {
    const over = range(activation);
    if (over instanceof Failure) return over;
    const elements = Array.isArray(over) ? over : keysOf(over);
    if (elements === null) return noOverload(node.id, node.macro, over);
    const kept: unknown[] = [];
    let unknown: Failure | null = null;
    for (let i = 0; i < elements.length; i++) {
      if ((activation.stepsLeft -= cost) < 0) return overBudget();
      const element = elements[i];
      cell.value = element;
      const value = test(activation);
      if (value === true) kept.push(element);
      else if (value !== false) {
        if (!(value instanceof Unknowns))
          return value instanceof Failure ? value : noOverload(node.id, node.macro, value);
        unknown = mergeFailures(unknown, value);
      }
    }
    return unknown ?? kept;
  };
}

/** `all` (decided by false) and `exists` (decided by true); see `planFilter`. */
export function planQuantifier(
  node: ComprehensionNode,
  range: Eval,
  cell: Cell,
  test: Eval,
  cost: number,
  decisive: boolean,
): Eval {
  return (activation) => {
    const over = range(activation);
    if (over instanceof Failure) return over;
    const elements = Array.isArray(over) ? over : keysOf(over);
    if (elements === null) return noOverload(node.id, node.macro, over);
    let failed: Failure | null = null;
    for (let i = 0; i < elements.length; i++) {
      if ((activation.stepsLeft -= cost) < 0) return overBudget();
      cell.value = elements[i];
      const value = test(activation);
      if (value === decisive) return decisive;
      if (value !== !decisive) {
        failed = mergeFailures(failed, value instanceof Failure ? value : noOverload(node.id, node.macro, value));
      }
    }
    return failed ?? !decisive;
  };
}

function keysOf(over: unknown): readonly unknown[] | null {
  return isMap(over) ? mapKeys(over) : null;
}
