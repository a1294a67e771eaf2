import { fieldSelector, hasField, indexInto, indexOptional, selectOptional } from './access.ts';
import type { Activation, Program } from './activation.ts';
import {
  type CallNode,
  children,
  type Expression,
  type ListNode,
  type LiteralNode,
  type MapNode,
  type Node,
} from './ast.ts';
import type { Environment } from './environment.ts';
import { formOf } from './forms.ts';
import { typeNameOf, typeNames } from './kinds.ts';
import { CelMap, isMapKey } from './maps.ts';
import { charge } from './meter.ts';
import { candidates, firstName, qualifiedName, rootIndex } from './names.ts';
import { planFunction, planStrictOperator } from './plan-calls.ts';
import { type Cell, type Eval, type PlanContext, type Scope, strictFailure } from './plan-context.ts';
import { planForm } from './plan-facts.ts';
import { planConditional, planJunction, planNot, planOr } from './plan-logic.ts';
import { planBind, planMacro } from './plan-macros.ts';
import { CelError, Failure, Optional, TypeValue } from './values.ts';

/** How to plan. */
export interface PlanOptions {
  /** Name for messages and observers; empty by default. */
  readonly label?: string;
  /** Report every node's value to `Activation.observer`: for explanations and coverage. Slower; the plain plan pays nothing. */
  readonly observe?: boolean;
}

/** A program that remembers what it was planned from: node ids in failures and observations are its. */
export interface PlannedExpression extends Program {
  readonly expression: Expression;
}

/**
 * Turns an expression into closures. Plan once, evaluate often.
 *
 * Meant for expressions that `checkExpression` accepted in the same environment; what it would have refused becomes an
 * error value at evaluation. Never throws.
 *
 * @example
 * const program = planExpression(expression, env);
 * const result = program.evaluate(new Activation([subject, action, resource, context, params, now], facts));
 */
export function planExpression(expression: Expression, env: Environment, options: PlanOptions = {}): PlannedExpression {
  return new PlannedProgram(expression, env, options);
}

class PlannedProgram implements PlannedExpression {
  readonly label: string;
  readonly expression: Expression;
  readonly #run: Eval;
  readonly #depth: number;

  constructor(expression: Expression, env: Environment, options: PlanOptions) {
    this.label = options.label ?? '';
    this.expression = expression;
    const planner = new Planner(env, null, options.observe ? this : null);
    this.#run = planner.plan(expression.root);
    this.#depth = depthOf(expression.root);
  }

  evaluate(activation: Activation): unknown {
    activation.depth += this.#depth;
    const value = activation.depth > maxEvaluationDepth ? tooDeep() : this.#run(activation);
    activation.depth -= this.#depth;
    return value;
  }
}

/**
 * How deep variables that use variables may nest, in levels of all their trees together: a bound on the stack that does
 * not depend on the machine.
 */
const maxEvaluationDepth = 1_000;

function tooDeep(): CelError {
  return new CelError('budget_exceeded', `variables use one another more than ${maxEvaluationDepth} levels deep`);
}

function depthOf(node: Node): number {
  return 1 + children(node).reduce((most, part) => Math.max(most, depthOf(part)), 0);
}

class Planner implements PlanContext {
  readonly env: Environment;
  readonly scope: Scope | null;
  readonly observe: boolean;
  readonly #observed: Program | null;

  constructor(env: Environment, scope: Scope | null, observed: Program | null) {
    this.env = env;
    this.scope = scope;
    this.observe = observed !== null;
    this.#observed = observed;
  }

  with(name: string, cell: Cell): Planner {
    return new Planner(this.env, { name, cell, outer: this.scope }, this.#observed);
  }

  isLocal(name: string): boolean {
    return this.#local(name) !== null;
  }

  #local(name: string): Cell | null {
    for (let scope = this.scope; scope !== null; scope = scope.outer) if (scope.name === name) return scope.cell;
    return null;
  }

  plan(node: Node): Eval {
    const run = this.#node(node);
    const program = this.#observed;
    if (program === null) return run;
    return (activation) => {
      const value = run(activation);
      activation.observer?.node(program, node.id, value);
      return value;
    };
  }

  #node(node: Node): Eval {
    const form = formOf(node, this.env, (name) => this.isLocal(name));
    if (form !== null) return planForm(node, form, this);
    switch (node.kind) {
      case 'literal':
        return constant(node.value);
      case 'ident':
        return this.#name(node, node.name);
      case 'select':
        return this.#select(node.id, node.operand, node.field, node);
      case 'has': {
        const operand = this.plan(node.operand);
        return strictUnary(operand, (value) => hasField(value, node.field, node.id));
      }
      case 'call':
        return this.#call(node);
      case 'list':
        return this.#list(node);
      case 'map':
        return this.#map(node);
      case 'struct':
        return constant(new CelError('no_such_name', `no message type \`${node.name}\``, node.id));
      case 'comprehension':
        return planMacro(node, this);
      case 'bind':
        return planBind(node, this);
    }
  }

  /** A macro's variable, a root, or a type; `node` is the whole chain of selections that spells `name`. */
  #name(node: Node, name: string): Eval {
    const cell = this.#local(name);
    if (cell !== null) return () => cell.value;
    return this.#global(name) ?? constant(new CelError('no_such_name', `no variable \`${name}\``, node.id));
  }

  #global(name: string): Eval | null {
    const index = rootIndex(this.env, name);
    if (index !== -1) {
      const missing = new CelError('no_such_name', `\`${name}\` has no value`);
      return (activation) => {
        const value = activation.roots[index];
        return value === undefined ? missing : value;
      };
    }
    const type = candidates(this.env.container, name).find((candidate) => typeNames.has(candidate));
    return type === undefined ? null : constant(new TypeValue(type));
  }

  /** The longest chain of selections that is a name wins: with variables `a` and `a.b`, `a.b` is the second. */
  #select(id: number, operandNode: Node, field: string, node: Node): Eval {
    const first = firstName(node);
    if (first !== null && !this.isLocal(first)) {
      const name = qualifiedName(node);
      const global = name === null ? null : this.#global(name);
      if (global !== null) return global;
    }
    const select = fieldSelector(field, id);
    const root = operandNode.kind === 'ident' && !this.observe ? this.#rootOf(operandNode.name) : -1;
    if (root !== -1) return (activation) => select(activation.roots[root]);
    const operand = this.plan(operandNode);
    return (activation) => {
      const value = operand(activation);
      return value instanceof Failure ? value : select(value);
    };
  }

  /** Position of a root that a plain name stands for; -1 where it stands for anything else. */
  #rootOf(name: string): number {
    return this.isLocal(name) ? -1 : rootIndex(this.env, name);
  }

  #call(node: CallNode): Eval {
    const { fn, args, id } = node;
    switch (fn) {
      case '_&&_':
        return planJunction(node, this, false);
      case '_||_':
        return planJunction(node, this, true);
      case '!_':
        return planNot(node, this);
      case '_?_:_':
        return planConditional(node, this);
      case '_[_]':
        return this.#index(node, args[0]!, args[1]!);
      case '_[?_]':
        return this.#strictBinary(args[0]!, args[1]!, (operand, index) => indexOptional(operand, index, id));
      case '_?._': {
        const field = String((args[1] as LiteralNode).value);
        return strictUnary(this.plan(args[0]!), (operand) => selectOptional(operand, field, id));
      }
      case 'or':
      case 'orValue':
        if (node.target !== null && args.length === 1) return planOr(node, node.target, this);
        return planFunction(node, this);
      default:
        return planStrictOperator(node, this) ?? planFunction(node, this);
    }
  }

  #index(node: CallNode, operandNode: Node, indexNode: Node): Eval {
    const { id } = node;
    if (indexNode.kind !== 'literal' || this.observe) {
      return this.#strictBinary(operandNode, indexNode, (operand, index) => indexInto(operand, index, id));
    }
    const { value: index } = indexNode;
    const position = typeof index === 'bigint' ? Number(index) : -1;
    const operand = this.plan(operandNode);
    return (activation) => {
      const value = operand(activation);
      if (Array.isArray(value) && position >= 0 && position < value.length) return value[position];
      return value instanceof Failure ? value : indexInto(value, index, id);
    };
  }

  #strictBinary(leftNode: Node, rightNode: Node, apply: (left: unknown, right: unknown) => unknown): Eval {
    const left = this.plan(leftNode);
    const right = this.plan(rightNode);
    return (activation) => {
      const x = left(activation);
      if (x instanceof Failure) return strictFailure(x, [right], activation);
      const y = right(activation);
      return y instanceof Failure ? y : apply(x, y);
    };
  }

  #list(node: ListNode): Eval {
    if (node.optionals.length === 0 && node.elements.every((element) => element.kind === 'literal')) {
      return constant(Object.freeze(node.elements.map((element) => (element as LiteralNode).value)));
    }
    const elements = node.elements.map((element) => this.plan(element));
    const optionals = new Set(node.optionals);
    return (activation) => {
      const spent = charge(activation, elements.length);
      if (spent !== null) return spent;
      const list: unknown[] = [];
      for (let i = 0; i < elements.length; i++) {
        const value = elements[i]!(activation);
        if (value instanceof Failure) return strictFailure(value, elements.slice(i + 1), activation);
        if (!optionals.has(i)) list.push(value);
        else if (!(value instanceof Optional)) return notOptional(value, node.id);
        else if (value.present) list.push(value.value);
      }
      return list;
    };
  }

  #map(node: MapNode): Eval {
    const parts = node.entries.flatMap((entry) => [this.plan(entry.key), this.plan(entry.value)]);
    return (activation) => {
      const spent = charge(activation, parts.length);
      if (spent !== null) return spent;
      const map = new CelMap();
      for (let i = 0; i < parts.length; i += 2) {
        const key = parts[i]!(activation);
        if (key instanceof Failure) return strictFailure(key, parts.slice(i + 1), activation);
        const value = parts[i + 1]!(activation);
        if (value instanceof Failure) return strictFailure(value, parts.slice(i + 2), activation);
        const failed = addEntry(map, key, value, node.entries[i >> 1]!.optional, node.id);
        if (failed !== null) return failed;
      }
      return map;
    };
  }
}

function addEntry(map: CelMap, key: unknown, value: unknown, optional: boolean, id: number): CelError | null {
  if (!isMapKey(key)) return new CelError('no_such_overload', `a ${typeNameOf(key)} cannot be a key of a map`, id);
  if (optional && !(value instanceof Optional)) return notOptional(value, id);
  if (optional && !(value as Optional).present) return null;
  if (map.add(key, optional ? (value as Optional).value : value)) return null;
  return new CelError('duplicate_key', 'a key is given twice', id);
}

function notOptional(value: unknown, id: number): CelError {
  return new CelError('no_such_overload', `\`?\` needs an optional, not a ${typeNameOf(value)}`, id);
}

function strictUnary(operand: Eval, apply: (value: unknown) => unknown): Eval {
  return (activation) => {
    const value = operand(activation);
    return value instanceof Failure ? value : apply(value);
  };
}

const constant =
  (value: unknown): Eval =>
  () =>
    value;
