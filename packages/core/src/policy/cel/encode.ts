import { fromHex, toHex } from '../../bytes/index.ts';
import { maxInt, maxUint, minInt } from './arithmetic.ts';
import type { ComprehensionMacro, Expression, LiteralValue, MapEntry, Node, Problem } from './ast.ts';
import { isOperator } from './convert.ts';
import { formatDouble } from './functions/conversions.ts';
import { defaultLimits, type ExpressionLimits } from './limits.ts';
import type { ParseResult } from './parse.ts';
import { Uint } from './values.ts';

/** JSON as it is stored: no numbers, since every number of CEL is written as text. */
export type Encoded = null | boolean | string | readonly Encoded[];

/**
 * The tree of an expression as JSON: arrays that begin with the node's kind. Canonical: equal trees give equal JSON,
 * whatever the text, its spacing and comments. Ids are not stored; they follow from the order.
 */
export function encodeExpression(expression: Expression): Encoded {
  return encode(expression.root);
}

function encode(node: Node): Encoded {
  switch (node.kind) {
    case 'literal':
      return encodeLiteral(node.value);
    case 'ident':
      return ['name', node.name];
    case 'select':
    case 'has':
      return [node.kind, encode(node.operand), node.field];
    case 'call':
      return ['call', node.fn, node.target === null ? null : encode(node.target), ...node.args.map(encode)];
    case 'list':
      return ['list', ...node.elements.map((part, index) => [node.optionals.includes(index), encode(part)])];
    case 'map':
      return ['map', ...node.entries.map((entry) => [entry.optional, encode(entry.key), encode(entry.value)])];
    case 'struct':
      return ['struct', node.name, ...node.fields.map((field) => [field.name, encode(field.value)])];
    case 'comprehension': {
      const [predicate, transform] = [node.predicate, node.transform].map((part) =>
        part === null ? null : encode(part),
      );
      return ['macro', node.macro, encode(node.range), [...node.variables], predicate!, transform!];
    }
    case 'bind':
      return ['bind', node.name, encode(node.value), encode(node.body)];
  }
}

function encodeLiteral(value: LiteralValue): Encoded {
  if (value === null) return ['null'];
  if (value instanceof Uint) return ['uint', String(value.value)];
  if (value instanceof Uint8Array) return ['bytes', toHex(value)];
  switch (typeof value) {
    case 'boolean':
      return ['bool', value];
    case 'bigint':
      return ['int', String(value)];
    case 'number':
      return ['double', formatDouble(value)];
    default:
      return ['string', value];
  }
}

/**
 * The expression that `encodeExpression` wrote, without text and spans. Strict, as it may come from a peer: anything that
 * `encodeExpression` cannot have written for parsed text within the limits is refused. Never throws.
 */
export function decodeExpression(encoded: unknown, limits: ExpressionLimits = defaultLimits): ParseResult {
  try {
    const decoder = new Decoder(limits);
    const root = decoder.node(encoded, 1);
    return { ok: true, expression: { root, nodeCount: decoder.count, spans: null, text: null } };
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    const problem: Problem = {
      code: 'syntax',
      message: error.message,
      span: null,
      nodeId: error.nodeId,
      nearest: null,
    };
    return { ok: false, problems: [problem] };
  }
}

class Malformed extends Error {
  readonly nodeId: number;
  constructor(message: string, nodeId: number) {
    super(`the stored expression is malformed: ${message}`);
    this.nodeId = nodeId;
  }
}

const macroShapes: Readonly<
  Record<ComprehensionMacro, { variables: readonly number[]; predicate: Need; transform: Need }>
> = {
  all: { variables: [1, 2], predicate: 'must', transform: 'not' },
  exists: { variables: [1, 2], predicate: 'must', transform: 'not' },
  existsOne: { variables: [1, 2], predicate: 'must', transform: 'not' },
  filter: { variables: [1], predicate: 'must', transform: 'not' },
  map: { variables: [1], predicate: 'may', transform: 'must' },
  transformList: { variables: [2], predicate: 'may', transform: 'must' },
  transformMap: { variables: [2], predicate: 'may', transform: 'must' },
  transformMapEntry: { variables: [2], predicate: 'may', transform: 'must' },
  optMap: { variables: [1], predicate: 'not', transform: 'must' },
  optFlatMap: { variables: [1], predicate: 'not', transform: 'must' },
};
type Need = 'must' | 'may' | 'not';

const plainName = /^[_a-zA-Z][_a-zA-Z0-9]*$/;
const dottedName = /^\.?[_a-zA-Z][_a-zA-Z0-9]*$/;
const quotableField = /^[a-zA-Z0-9_.\-/ ]+$/;
const notText = /\p{Surrogate}/u;

class Decoder {
  count = 0;
  readonly #limits: ExpressionLimits;

  constructor(limits: ExpressionLimits) {
    this.#limits = limits;
  }

  node(from: unknown, depth: number): Node {
    const id = ++this.count;
    if (depth > this.#limits.maxDepth) throw this.#bad(`nested deeper than ${this.#limits.maxDepth} levels`);
    if (id > this.#limits.maxNodes) throw this.#bad(`more than ${this.#limits.maxNodes} nodes`);
    if (!Array.isArray(from)) throw this.#bad('a node is an array');
    const [kind, ...parts] = from as readonly unknown[];
    switch (kind) {
      case 'name':
        this.#size(parts, 1);
        return { kind: 'ident', id, name: this.#text(parts[0], dottedName) };
      case 'select':
      case 'has': {
        this.#size(parts, 2);
        const operand = this.node(parts[0], depth + 1);
        return { kind, id, operand, field: this.#text(parts[1], quotableField) };
      }
      case 'call':
        return this.#call(id, parts, depth);
      case 'list': {
        const pairs = parts.map((part) => this.#array(part, 2));
        const elements = pairs.map((pair) => this.node(pair[1], depth + 1));
        const optionals = pairs.flatMap((pair, index) => (this.#flag(pair[0]) ? [index] : []));
        return { kind, id, elements, optionals };
      }
      case 'map':
        return { kind, id, entries: parts.map((part) => this.#entry(part, depth)) };
      case 'struct': {
        const [name, ...fields] = parts;
        const decoded = fields.map((field) => {
          const [fieldName, value] = this.#array(field, 2);
          return { name: this.#text(fieldName, quotableField), value: this.node(value, depth + 1) };
        });
        return { kind, id, name: this.#text(name, /^\.?[_a-zA-Z][_a-zA-Z0-9.]*$/), fields: decoded };
      }
      case 'macro':
        return this.#macro(id, parts, depth);
      case 'bind': {
        this.#size(parts, 3);
        const name = this.#text(parts[0], plainName);
        return { kind, id, name, value: this.node(parts[1], depth + 1), body: this.node(parts[2], depth + 1) };
      }
      default:
        return { kind: 'literal', id, value: this.#literal(kind, parts) };
    }
  }

  #bad(message: string): Malformed {
    return new Malformed(message, this.count);
  }

  #size(parts: readonly unknown[], size: number): void {
    if (parts.length !== size) throw this.#bad(`${parts.length} parts where ${size} belong`);
  }

  #array(value: unknown, size: number): readonly unknown[] {
    if (!Array.isArray(value)) throw this.#bad('a part is not an array');
    this.#size(value, size);
    return value;
  }

  #flag(value: unknown): boolean {
    if (typeof value !== 'boolean') throw this.#bad('a mark is not true or false');
    return value;
  }

  #text(value: unknown, pattern: RegExp): string {
    if (typeof value !== 'string' || value.length > 1_000 || !pattern.test(value))
      throw this.#bad('a name is not a name');
    return value;
  }

  #entry(part: unknown, depth: number): MapEntry {
    const [optional, key, value] = this.#array(part, 3);
    return { optional: this.#flag(optional), key: this.node(key, depth + 1), value: this.node(value, depth + 1) };
  }

  #call(id: number, parts: readonly unknown[], depth: number): Node {
    const [fn, target, ...rest] = parts;
    if (typeof fn !== 'string') throw this.#bad('a call names no function');
    const operator = operandCount(fn);
    if (operator === null && !dottedName.test(fn)) throw this.#bad(`\`${fn.slice(0, 100)}\` is no function`);
    const decodedTarget = target === null ? null : this.node(target, depth + 1);
    const args = rest.map((arg) => this.node(arg, depth + 1));
    if (operator !== null) {
      const [least, most] = operator;
      if (decodedTarget !== null || args.length < least || args.length > most)
        throw this.#bad(`\`${fn}\` has wrong operands`);
    }
    const chained = (fn === '_&&_' || fn === '_||_') && args.some((arg) => arg.kind === 'call' && arg.fn === fn);
    if (chained) throw this.#bad(`a chain of \`${fn}\` is not flat`);
    if (fn === '_?._' && !isFieldLiteral(args[1]!)) throw this.#bad('an optional field is not a name');
    return { kind: 'call', id, fn, target: decodedTarget, args };
  }

  #macro(id: number, parts: readonly unknown[], depth: number): Node {
    this.#size(parts, 5);
    const [name, range, names, test, made] = parts;
    if (typeof name !== 'string' || !Object.hasOwn(macroShapes, name)) throw this.#bad('unknown macro');
    const macro = name as ComprehensionMacro;
    const shape = macroShapes[macro];
    if (!Array.isArray(names) || !shape.variables.includes(names.length))
      throw this.#bad(`\`${macro}\` has wrong variables`);
    const variables = names.map((variable) => this.#text(variable, plainName));
    if (new Set(variables).size !== variables.length) throw this.#bad(`\`${macro}\` declares a variable twice`);
    const decodedRange = this.node(range, depth + 1);
    const predicate = this.#part(test, shape.predicate, macro, depth);
    const transform = this.#part(made, shape.transform, macro, depth);
    return {
      kind: 'comprehension',
      id,
      macro,
      range: decodedRange,
      variables: variables as unknown as readonly [string],
      predicate,
      transform,
    };
  }

  #part(value: unknown, need: Need, macro: string, depth: number): Node | null {
    if (value === null ? need === 'must' : need === 'not') throw this.#bad(`\`${macro}\` has wrong bodies`);
    return value === null ? null : this.node(value, depth + 1);
  }

  #literal(kind: unknown, parts: readonly unknown[]): LiteralValue {
    if (kind === 'null') {
      this.#size(parts, 0);
      return null;
    }
    this.#size(parts, 1);
    const [value] = parts;
    if (kind === 'bool') return this.#flag(value);
    if (typeof value !== 'string' || value.length > this.#limits.maxTextLength)
      throw this.#bad('a literal is not text');
    switch (kind) {
      case 'string':
        if (notText.test(value)) throw this.#bad('a string holds half of a surrogate pair');
        return value;
      case 'int':
        return this.#whole(value, minInt, maxInt);
      case 'uint':
        return new Uint(this.#whole(value, 0n, maxUint));
      case 'double': {
        const number = Number(value);
        if (!Number.isFinite(number) || formatDouble(number) !== value)
          throw this.#bad('a double is not in canonical form');
        return number;
      }
      case 'bytes':
        if (!/^(?:[0-9a-f]{2})*$/.test(value)) throw this.#bad('bytes are not hexadecimal');
        return fromHex(value);
      default:
        throw this.#bad('unknown kind of node');
    }
  }

  #whole(value: string, least: bigint, most: bigint): bigint {
    if (!/^(?:0|-?[1-9]\d{0,19})$/.test(value)) throw this.#bad('an integer is not in canonical form');
    const number = BigInt(value);
    if (number < least || number > most) throw this.#bad('an integer is out of range');
    return number;
  }
}

/** Least and most operands of an operator; null for the name of a function. */
function operandCount(fn: string): readonly [number, number] | null {
  if (fn === '_&&_' || fn === '_||_') return [2, Number.POSITIVE_INFINITY];
  if (fn === '!_' || fn === '-_') return [1, 1];
  if (fn === '_?_:_') return [3, 3];
  return isOperator(fn) || fn === '_[_]' || fn === '_[?_]' || fn === '_?._' ? [2, 2] : null;
}

function isFieldLiteral(node: Node): boolean {
  return node.kind === 'literal' && typeof node.value === 'string' && quotableField.test(node.value);
}
