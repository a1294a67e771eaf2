import type { CallNode, Expression, ListNode, LiteralNode, MapNode, Node, Problem, ProblemCode } from './ast.ts';
import { checkLiteralArguments } from './check-literals.ts';
import { checkMacro, type MacroContext } from './check-macros.ts';
import { literalType, mapKeyKinds, misuseMessage, namedTypes } from './check-names.ts';
import type { Environment } from './environment.ts';
import { type FactKey, type Form, formOf } from './forms.ts';
import { Inference } from './inference.ts';
import { typeNames } from './kinds.ts';
import { candidates, firstName, nearest, qualifiedName, rootIndex } from './names.ts';
import { explainNoOverload, resolveOverload } from './overloads.ts';
import { calledFunction } from './plan-calls.ts';
import { symbolOf } from './plan-context.ts';
import { functionNames, type Signature, signaturesOf } from './signatures.ts';
import {
  bool,
  double,
  dyn,
  errorType,
  json,
  listOf,
  mapOf,
  optionalOf,
  string,
  type Type,
  typeName,
  typeOf,
} from './types.ts';

/** What an expression refers to outside of itself; each list sorted, each name once. */
export interface References {
  /** Namespaces of `data` and `staleness_ms`. */
  readonly namespaces: readonly string[];
  /** `variables.<name>` */
  readonly variables: readonly string[];
  /** Names of `Environment.roots`. */
  readonly roots: readonly string[];
}

export interface CheckResult {
  /** Type of the whole; `error` when it could not be told. */
  readonly type: Type;
  /** Types by node id; index 0 unused. */
  readonly types: readonly Type[];
  readonly references: References;
  /** Empty when the expression is sound. */
  readonly problems: readonly Problem[];
}

/**
 * Checks names and types of an expression. Values of facts, `context` and `properties` are `dyn` and fit anywhere; a
 * mistake in what is known (a misspelt field of `subject`, `double + int`, an unknown function, `data` used as a value)
 * is a problem with its place and, where one is near, the name that was meant.
 *
 * Departs from cel-go where the run time is kinder: numbers of different types may be compared with `==` and `in`.
 * Source: cel-spec, langdef.md, "Gradual type checking".
 */
export function checkExpression(expression: Expression, env: Environment): CheckResult {
  const checker = new Checker(expression, env);
  return checker.run();
}

interface Scope {
  readonly name: string;
  readonly type: Type;
  readonly outer: Scope | null;
}

class Checker {
  readonly #expression: Expression;
  readonly #env: Environment;
  readonly #inference = new Inference();
  readonly #types: Type[] = [];
  readonly #problems: Problem[] = [];
  readonly #namespaces = new Set<string>();
  readonly #variables = new Set<string>();
  readonly #roots = new Set<string>();
  #scope: Scope | null = null;

  constructor(expression: Expression, env: Environment) {
    this.#expression = expression;
    this.#env = env;
  }

  run(): CheckResult {
    const type = this.#check(this.#expression.root);
    const sorted = (names: Set<string>): readonly string[] => [...names].sort();
    return {
      type: this.#inference.final(type),
      types: Array.from({ length: this.#expression.nodeCount + 1 }, (_, id) =>
        this.#inference.final(this.#types[id] ?? dyn),
      ),
      references: {
        namespaces: sorted(this.#namespaces),
        variables: sorted(this.#variables),
        roots: sorted(this.#roots),
      },
      problems: this.#problems,
    };
  }

  readonly #macroContext: MacroContext = {
    inference: this.#inference,
    check: (node) => this.#check(node),
    expectBool: (node, where) => this.#expectBool(node, where),
    within: (name, type, body) => this.#within(name, type, body),
    wrong: (node, message) => this.#problem(node, 'wrong_type', message),
  };

  #problem(node: Node, code: ProblemCode, message: string, near: string | null = null): Type {
    const span = this.#expression.spans?.[node.id] ?? null;
    this.#problems.push({ code, message, span, nodeId: node.id, nearest: near });
    return errorType;
  }

  #isLocal = (name: string): boolean => this.#local(name) !== null;

  #local(name: string): Scope | null {
    let scope = this.#scope;
    while (scope !== null && scope.name !== name) scope = scope.outer;
    return scope;
  }

  /** Checks `body` with one more name in scope. */
  #within<T>(name: string, type: Type, body: () => T): T {
    const outer = this.#scope;
    this.#scope = { name, type, outer };
    const result = body();
    this.#scope = outer;
    return result;
  }

  #check(node: Node): Type {
    const type = this.#typeOf(node);
    this.#types[node.id] = type;
    return type;
  }

  #resolved(node: Node): Type {
    return this.#inference.resolve(this.#check(node));
  }

  #typeOf(node: Node): Type {
    const form = formOf(node, this.#env, this.#isLocal);
    if (form !== null) return this.#form(node, form);
    switch (node.kind) {
      case 'literal':
        return literalType(node);
      case 'ident':
        return this.#name(node.name) ?? this.#unknownName(node, node.name);
      case 'select':
        return this.#select(node, node.operand, node.field);
      case 'has':
        this.#field(node, this.#resolved(node.operand), node.field);
        return bool;
      case 'call':
        return this.#call(node);
      case 'list':
        return this.#list(node);
      case 'map':
        return this.#map(node);
      case 'struct':
        return this.#problem(
          node,
          'unsupported',
          `there are no message types: \`${node.name}\` cannot be made; use a map`,
        );
      case 'comprehension':
        return checkMacro(node, this.#macroContext);
      case 'bind': {
        const value = this.#check(node.value);
        return this.#within(node.name, value, () => this.#check(node.body));
      }
    }
  }

  #form(node: Node, form: Form): Type {
    switch (form.kind) {
      case 'fact':
      case 'fact-test': {
        this.#namespaces.add(form.namespace);
        this.#factKey(form.key);
        if (form.kind === 'fact-test') return bool;
        const value = this.#env.factTypes.get(form.namespace) ?? json;
        return form.optional ? optionalOf(value) : value;
      }
      case 'staleness':
        this.#namespaces.add(form.namespace);
        return double;
      case 'variable':
        return this.#variable(node, form.name, form.index);
      case 'namespace': {
        this.#namespaces.add(form.namespace);
        const at = `data.${form.namespace}`;
        return this.#problem(
          node,
          'data_misuse',
          `\`${at}\` is not a value; read \`${at}[key]\` or test \`key in ${at}\``,
        );
      }
      case 'misuse':
        return this.#problem(node, 'data_misuse', misuseMessage[form.name]);
    }
  }

  #factKey(key: FactKey): void {
    if ('literal' in key) return;
    const type = this.#resolved(key.node);
    if (this.#inference.assign(string, type)) return;
    this.#problem(
      key.node,
      'wrong_type',
      `keys of facts are strings, not ${typeName(type)}; convert with \`string()\``,
    );
  }

  #variable(node: Node, name: string, index: number): Type {
    if (index !== -1) {
      this.#variables.add(name);
      return this.#env.variables[index]!.type;
    }
    if (this.#env.laterVariables.includes(name)) {
      return this.#problem(node, 'unknown_name', `\`variables.${name}\` is declared later; move it up`);
    }
    const near = nearest(
      name,
      this.#env.variables.map((variable) => variable.name),
    );
    return this.#problem(node, 'unknown_name', `no variable \`${name}\``, near);
  }

  #name(name: string): Type | null {
    const local = this.#local(name);
    if (local !== null) return local.type;
    const index = rootIndex(this.#env, name);
    if (index !== -1) {
      const root = this.#env.roots[index]!;
      this.#roots.add(root.name);
      return root.type;
    }
    const type = candidates(this.#env.container, name).find((candidate) => typeNames.has(candidate));
    return type === undefined ? null : typeOf(namedTypes[type] ?? dyn);
  }

  #unknownName(node: Node, name: string): Type {
    const known = [...this.#env.roots.map((root) => root.name)];
    if (this.#env.facts) known.push('data', 'staleness_ms', 'variables');
    for (let scope = this.#scope; scope !== null; scope = scope.outer) known.push(scope.name);
    if (this.#env.variables.some((variable) => variable.name === name)) {
      return this.#problem(node, 'unknown_name', `unknown name \`${name}\``, `variables.${name}`);
    }
    return this.#problem(node, 'unknown_name', `unknown name \`${name}\``, nearest(name, known));
  }

  #select(node: Node, operand: Node, field: string): Type {
    const first = firstName(node);
    const name = qualifiedName(node);
    if (first !== null && name !== null && !this.#isLocal(first)) {
      const global = this.#name(name);
      if (global !== null) return global;
    }
    return this.#field(node, this.#resolved(operand), field);
  }

  /** The type of a field, or a problem when there cannot be one. */
  #field(node: Node, operand: Type, field: string): Type {
    switch (operand.kind) {
      case 'dyn':
      case 'error':
        return operand;
      case 'parameter':
        return dyn;
      case 'map':
        if (this.#inference.assign(string, operand.key)) return operand.value;
        return this.#problem(
          node,
          'wrong_type',
          `keys of this map are ${typeName(operand.key)}, not strings; use \`[]\``,
        );
      case 'object':
        if (Object.hasOwn(operand.fields, field)) return operand.fields[field]!;
        return this.#unknownField(node, operand, field);
      case 'optional':
        return optionalOf(this.#field(node, this.#inference.resolve(operand.value), field));
      default:
        return this.#problem(node, 'wrong_type', `a ${typeName(operand)} has no field \`${field}\``);
    }
  }

  #unknownField(node: Node, operand: Extract<Type, { kind: 'object' }>, field: string): Type {
    const fields = Object.keys(operand.fields);
    const near = nearest(field, fields);
    if (near === null && operand.fields.properties !== undefined) {
      const inside = `${operand.name}.properties.${field}`;
      return this.#problem(node, 'unknown_field', `\`${operand.name}\` has no field \`${field}\``, inside);
    }
    const has = fields.length === 0 ? 'it has none' : `it has \`${fields.join('`, `')}\``;
    return this.#problem(
      node,
      'unknown_field',
      `\`${operand.name}\` has no field \`${field}\`${near === null ? `; ${has}` : ''}`,
      near,
    );
  }

  #call(node: CallNode): Type {
    switch (node.fn) {
      case '_&&_':
      case '_||_':
        for (const arg of node.args) this.#expectBool(arg, `\`${symbolOf(node.fn)}\``);
        return bool;
      case '_[_]':
      case '_[?_]':
        return this.#index(node);
      case '_?._': {
        const operand = this.#resolved(node.args[0]!);
        const field = String((node.args[1] as LiteralNode).value);
        const type = this.#field(node, operand, field);
        return type.kind === 'optional' ? type : optionalOf(type);
      }
      default:
        return this.#function(node);
    }
  }

  /** `object["field"]` with a literal is as `object.field`; anything else is by signature. */
  #index(node: CallNode): Type {
    const [operandNode, indexNode] = node.args as [Node, Node];
    const operand = this.#resolved(operandNode);
    if (operand.kind === 'object' && indexNode.kind === 'literal' && typeof indexNode.value === 'string') {
      this.#check(indexNode);
      const field = this.#field(node, operand, indexNode.value);
      return node.fn === '_[_]' ? field : optionalOf(field);
    }
    const index = this.#check(indexNode);
    if (operand.kind === 'dyn') return node.fn === '_[_]' ? operand : optionalOf(operand);
    return this.#apply(node, node.fn, signaturesOf(node.fn, 'global'), [operand, index]);
  }

  #function(node: CallNode): Type {
    const { name, operands } = calledFunction(node, { env: this.#env, isLocal: this.#isLocal });
    const isMember = node.target !== null && operands.length > node.args.length;
    const style = isMember ? 'member' : 'global';
    const signatures = signaturesOf(name, style);
    if (signatures.length === 0) {
      for (const operand of operands) this.#check(operand);
      return this.#unknownFunction(node, name, style);
    }
    const types = operands.map((operand) => this.#check(operand));
    const type = this.#apply(node, name, signatures, types);
    for (const found of checkLiteralArguments(name, operands))
      this.#problem(found.node, 'invalid_literal', found.message);
    return type;
  }

  #unknownFunction(node: CallNode, name: string, style: 'global' | 'member'): Type {
    const other = style === 'global' ? 'member' : 'global';
    if (signaturesOf(name, other).length > 0) {
      const way = style === 'global' ? `\`x.${name}(...)\`` : `\`${name}(x, ...)\``;
      return this.#problem(node, 'unknown_function', `\`${name}\` is called as ${way}`);
    }
    const near = nearest(name, functionNames(style));
    return this.#problem(node, 'unknown_function', `unknown function \`${name}\``, near);
  }

  #apply(node: CallNode, name: string, signatures: readonly Signature[], args: readonly Type[]): Type {
    const given = args.map((type) => this.#inference.resolve(type));
    const result = resolveOverload(this.#inference, signatures, given);
    if (result !== null) return result;
    const final = given.map((type) => this.#inference.final(type));
    if (final.some((type) => typeName(type).includes('!error!'))) return errorType;
    const { at, message } = explainNoOverload(node, name, signatures, final);
    return this.#problem(at, 'no_overload', message);
  }

  #expectBool(node: Node, where: string): void {
    const type = this.#resolved(node);
    if (this.#inference.assign(bool, type)) return;
    this.#problem(node, 'wrong_type', `${where} takes bool, not ${typeName(this.#inference.final(type))}`);
  }

  #list(node: ListNode): Type {
    let element: Type | null = null;
    for (const [index, part] of node.elements.entries()) {
      const given = this.#check(part);
      const type = node.optionals.includes(index) ? this.#unwrapped(part, given) : given;
      element = element === null ? type : this.#inference.join(element, type);
    }
    return listOf(element ?? this.#inference.fresh());
  }

  #map(node: MapNode): Type {
    let key: Type | null = null;
    let value: Type | null = null;
    for (const entry of node.entries) {
      const keyType = this.#resolved(entry.key);
      if (!mapKeyKinds.has(keyType.kind)) {
        this.#problem(entry.key, 'wrong_type', `a ${typeName(keyType)} cannot be a key of a map`);
      }
      const given = this.#check(entry.value);
      const valueType = entry.optional ? this.#unwrapped(entry.value, given) : given;
      key = key === null ? keyType : this.#inference.join(key, keyType);
      value = value === null ? valueType : this.#inference.join(value, valueType);
    }
    return mapOf(key ?? this.#inference.fresh(), value ?? this.#inference.fresh());
  }

  /** The type inside the optional that `?x` needs. */
  #unwrapped(node: Node, given: Type): Type {
    const inside = this.#inference.fresh();
    if (this.#inference.assign(optionalOf(inside), given)) return this.#inference.resolve(inside);
    return this.#problem(node, 'wrong_type', `\`?\` needs an optional, not ${typeName(this.#inference.final(given))}`);
  }
}
