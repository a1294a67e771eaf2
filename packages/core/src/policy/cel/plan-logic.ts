import type { CallNode, Node } from './ast.ts';
import { type Eval, mergeFailures, noOverload, type PlanContext, strictFailure } from './plan-context.ts';
import { Failure, Optional } from './values.ts';

/**
 * `&&` and `||` over any number of operands, in order: `decisive` (false or true) ends them, whatever failed before;
 * otherwise an unknown, otherwise the first error. Source: cel-spec, langdef.md, "Logical Operators".
 */
export function planJunction(node: CallNode, context: PlanContext, decisive: boolean): Eval {
  const operands = node.args.map((arg) => context.plan(arg));
  const [first, second] = operands as [Eval, Eval];
  if (operands.length === 2) {
    return (activation) => {
      const x = first(activation);
      if (x === decisive) return decisive;
      const y = second(activation);
      if (y === decisive) return decisive;
      return x === !decisive && y === !decisive ? !decisive : junctionFailure(node, [x, y]);
    };
  }
  return (activation) => {
    let failed: unknown[] | null = null;
    for (const operand of operands) {
      const value = operand(activation);
      if (value === decisive) return decisive;
      if (value !== !decisive) {
        failed ??= [];
        failed.push(value);
      }
    }
    return failed === null ? !decisive : junctionFailure(node, failed);
  };
}

function junctionFailure(node: CallNode, values: readonly unknown[]): Failure {
  let failed: Failure | null = null;
  for (const value of values) {
    if (typeof value === 'boolean') continue;
    failed = mergeFailures(failed, value instanceof Failure ? value : noOverload(node.id, node.fn, value));
  }
  return failed!;
}

export function planNot(node: CallNode, context: PlanContext): Eval {
  const operand = context.plan(node.args[0]!);
  return (activation) => {
    const value = operand(activation);
    if (value === true) return false;
    if (value === false) return true;
    return value instanceof Failure ? value : noOverload(node.id, '!_', value);
  };
}

/** `condition ? yes : no`: only the chosen branch is evaluated. */
export function planConditional(node: CallNode, context: PlanContext): Eval {
  const [condition, yes, no] = node.args.map((arg) => context.plan(arg)) as [Eval, Eval, Eval];
  return (activation) => {
    const value = condition(activation);
    if (value === true) return yes(activation);
    if (value === false) return no(activation);
    return value instanceof Failure ? value : noOverload(node.id, '_?_:_', value, null, null);
  };
}

/** `optional.or(optional)` and `optional.orValue(value)`: the argument is evaluated only when the optional is empty. */
export function planOr(node: CallNode, target: Node, context: PlanContext): Eval {
  const optional = context.plan(target);
  const other = context.plan(node.args[0]!);
  const unwrap = node.fn === 'orValue';
  return (activation) => {
    const value = optional(activation);
    if (value instanceof Failure) return strictFailure(value, [], activation);
    if (!(value instanceof Optional)) return noOverload(node.id, node.fn, value);
    if (value.present) return unwrap ? value.value : value;
    const alternative = other(activation);
    if (alternative instanceof Failure || unwrap || alternative instanceof Optional) return alternative;
    return noOverload(node.id, node.fn, value, alternative);
  };
}
