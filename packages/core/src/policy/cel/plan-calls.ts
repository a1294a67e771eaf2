import { add, divide, modulo, multiply, negate, subtract } from './arithmetic.ts';
import type { CallNode, Node } from './ast.ts';
import { contains, equals, order } from './compare.ts';
import { binaryFunctions, ternaryFunctions, unaryFunctions, variadicFunctions } from './functions/index.ts';
import { size } from './functions/lists.ts';
import { compilePattern, matchCompiled } from './functions/regex.ts';
import { isMap, mapHas } from './maps.ts';
import type { Meter } from './meter.ts';
import { candidates, firstName, qualifiedName, rootIndex } from './names.ts';
import { type Eval, noOverload, type PlanContext, settle, strictFailure } from './plan-context.ts';
import { CelError, Failure, Optional } from './values.ts';

type BinaryFn = (a: unknown, b: unknown, meter: Meter) => unknown;

const arithmetic: ReadonlyMap<string, BinaryFn> = new Map<string, BinaryFn>([
  ['_+_', add],
  ['_-_', subtract],
  ['_*_', multiply],
  ['_/_', divide],
  ['_%_', modulo],
]);

/** Plans an operator that is strict in its operands, or null when `node` is none. */
export function planStrictOperator(node: CallNode, context: PlanContext): Eval | null {
  switch (node.fn) {
    case '_==_':
      return planEquals(node, context, true);
    case '_!=_':
      return planEquals(node, context, false);
    case '_<_':
      return planOrder(
        node,
        context,
        (a, b) => a < b,
        (sign) => sign < 0,
      );
    case '_<=_':
      return planOrder(
        node,
        context,
        (a, b) => a <= b,
        (sign) => sign <= 0,
      );
    case '_>_':
      return planOrder(
        node,
        context,
        (a, b) => a > b,
        (sign) => sign > 0,
      );
    case '_>=_':
      return planOrder(
        node,
        context,
        (a, b) => a >= b,
        (sign) => sign >= 0,
      );
    case '@in':
      return planIn(node, context);
    case '-_':
      return planUnary(node, '-_', negate, context.plan(node.args[0]!));
    default: {
      const fn = arithmetic.get(node.fn);
      if (fn === undefined) return null;
      return planBinary(node, node.fn, fn, context.plan(node.args[0]!), context.plan(node.args[1]!));
    }
  }
}

function planEquals(node: CallNode, context: PlanContext, wanted: boolean): Eval {
  const [leftNode, rightNode] = node.args as [Node, Node];
  const left = planNumberOrValue(leftNode, context);
  if (rightNode.kind === 'literal' && typeof rightNode.value === 'string' && !context.observe) {
    const text = rightNode.value;
    return (activation) => {
      const value = left(activation);
      if (value === text) return wanted;
      return value instanceof Failure ? value : !wanted;
    };
  }
  const right = planNumberOrValue(rightNode, context);
  return (activation) => {
    const x = left(activation);
    if (x instanceof Failure) return strictFailure(x, [right], activation);
    const y = right(activation);
    if (y instanceof Failure) return y;
    const same = x === y || equals(x, y, activation);
    if (typeof same === 'boolean') return same === wanted;
    return settle(same, node.id, node.fn, x, y);
  };
}

function planOrder(
  node: CallNode,
  context: PlanContext,
  numbers: (a: number | bigint, b: number | bigint) => boolean,
  holds: (sign: number) => boolean,
): Eval {
  const left = planNumberOrValue(node.args[0]!, context);
  const right = planNumberOrValue(node.args[1]!, context);
  return (activation) => {
    const x = left(activation);
    if (x instanceof Failure) return strictFailure(x, [right], activation);
    const y = right(activation);
    if (y instanceof Failure) return y;
    if (typeof x === 'number') {
      if (typeof y === 'number') return numbers(x, y);
      if (typeof y === 'bigint') return numbers(x, Number(y));
    }
    const sign = order(x, y);
    return sign === undefined ? noOverload(node.id, node.fn, x, y) : holds(sign);
  };
}

/**
 * A child of a comparison: `size(x)` as a plain number there, which compares as its bigint would, without making one.
 */
function planNumberOrValue(node: Node, context: PlanContext): Eval {
  if (context.observe || node.kind !== 'call' || node.fn !== 'size') return context.plan(node);
  const operand = node.target ?? node.args[0];
  if (operand === undefined || node.args.length !== (node.target === null ? 1 : 0)) return context.plan(node);
  const value = context.plan(operand);
  return (activation) => {
    const x = value(activation);
    if (Array.isArray(x)) return x.length;
    if (x instanceof Failure) return x;
    return settle(size(x, activation), node.id, 'size', x);
  };
}

function planIn(node: CallNode, context: PlanContext): Eval {
  const [itemNode, listNode] = node.args as [Node, Node];
  const item = context.plan(itemNode);
  const texts = literalTexts(listNode);
  if (texts !== null) {
    const few = texts.length <= 8;
    const set = new Set(texts);
    return (activation) => {
      const x = item(activation);
      if (x instanceof Failure) return x;
      return typeof x === 'string' && (few ? texts.includes(x) : set.has(x));
    };
  }
  const collection = context.plan(listNode);
  return (activation) => {
    const x = item(activation);
    if (x instanceof Failure) return strictFailure(x, [collection], activation);
    const list = collection(activation);
    if (list instanceof Failure) return list;
    if (Array.isArray(list)) return settle(contains(list, x, activation), node.id, '@in', x, list);
    return isMap(list) ? mapHas(list, x) : noOverload(node.id, '@in', x, list);
  };
}

/** The texts of a list of nothing but text literals: what membership is mostly tested against. */
function literalTexts(node: Node): readonly string[] | null {
  if (node.kind !== 'list' || node.optionals.length > 0) return null;
  const texts: string[] = [];
  for (const element of node.elements) {
    if (element.kind !== 'literal' || typeof element.value !== 'string') return null;
    texts.push(element.value);
  }
  return texts;
}

/** Plans `fn(args)` and `target.fn(args)`; a namespaced function such as `math.abs(x)` parses like the latter. */
export function planFunction(node: CallNode, context: PlanContext): Eval {
  const { name, operands } = calledFunction(node, context);
  const values = operands.map((operand) => context.plan(operand));
  const [a, b] = values;
  const unary = values.length === 1 ? unaryFunctions.get(name) : undefined;
  if (unary !== undefined) return planUnary(node, name, unary, a!);
  if (name === 'matches' && values.length === 2) {
    const matched = planMatches(node, operands[1]!, a!);
    if (matched !== null) return matched;
  }
  const binary = values.length === 2 ? binaryFunctions.get(name) : undefined;
  if (binary !== undefined) return planBinary(node, name, binary, a!, b!);
  const ternary = values.length === 3 ? ternaryFunctions.get(name) : undefined;
  if (ternary !== undefined) {
    return planMany(node, name, values, (args, meter) => ternary(args[0], args[1], args[2], meter));
  }
  const variadic = variadicFunctions.get(name);
  if (variadic !== undefined && values.length > 0) return planMany(node, name, values, variadic);
  if (name === 'optional.none' && values.length === 0) return () => Optional.none;
  const unknown = new CelError('no_such_overload', `no function \`${name}\` takes ${values.length} arguments`, node.id);
  return () => unknown;
}

/** The function a call means, and its operands, a target first. */
export function calledFunction(
  node: CallNode,
  context: Pick<PlanContext, 'env' | 'isLocal'>,
): { readonly name: string; readonly operands: readonly Node[] } {
  const { target } = node;
  if (target === null) {
    const known = candidates(context.env.container, node.fn).find(isFunction);
    return { name: known ?? node.fn, operands: node.args };
  }
  const space = qualifiedName(target);
  const first = firstName(target);
  if (space !== null && first !== null && !context.isLocal(first) && rootIndex(context.env, first) === -1) {
    const known = candidates(context.env.container, `${space}.${node.fn}`).find(isFunction);
    if (known !== undefined) return { name: known, operands: node.args };
  }
  return { name: node.fn, operands: [target, ...node.args] };
}

function isFunction(name: string): boolean {
  return (
    unaryFunctions.has(name) ||
    binaryFunctions.has(name) ||
    ternaryFunctions.has(name) ||
    variadicFunctions.has(name) ||
    name === 'optional.none'
  );
}

function planUnary(node: CallNode, name: string, fn: (a: unknown, meter: Meter) => unknown, operand: Eval): Eval {
  return (activation) => {
    const x = operand(activation);
    if (x instanceof Failure) return x;
    const result = fn(x, activation);
    return result === undefined || result instanceof CelError ? settle(result, node.id, name, x) : result;
  };
}

function planBinary(node: CallNode, name: string, fn: BinaryFn, left: Eval, right: Eval): Eval {
  return (activation) => {
    const x = left(activation);
    if (x instanceof Failure) return strictFailure(x, [right], activation);
    const y = right(activation);
    if (y instanceof Failure) return y;
    const result = fn(x, y, activation);
    return result === undefined || result instanceof CelError ? settle(result, node.id, name, x, y) : result;
  };
}

function planMany(
  node: CallNode,
  name: string,
  operands: readonly Eval[],
  fn: (args: readonly unknown[], meter: Meter) => unknown,
): Eval {
  return (activation) => {
    const args: unknown[] = [];
    for (let i = 0; i < operands.length; i++) {
      const value = operands[i]!(activation);
      if (value instanceof Failure) return strictFailure(value, operands.slice(i + 1), activation);
      args.push(value);
    }
    return settle(fn(args, activation), node.id, name, ...args);
  };
}

/** `text.matches("pattern")` with the pattern compiled when planned; null when the pattern is not a literal. */
function planMatches(node: CallNode, pattern: Node, text: Eval): Eval | null {
  if (pattern.kind !== 'literal' || typeof pattern.value !== 'string') return null;
  const { value: source } = pattern;
  const regex = compilePattern(source);
  return (activation) => {
    const x = text(activation);
    if (x instanceof Failure) return x;
    if (typeof x !== 'string') return noOverload(node.id, 'matches', x, source);
    if (regex instanceof CelError) return settle(regex, node.id, 'matches', x, source);
    return settle(matchCompiled(regex, x, activation), node.id, 'matches', x, source);
  };
}
