import type { CallNode, ComprehensionNode, Expression, LiteralNode, Node } from './ast.ts';
import { formatDouble } from './functions/conversions.ts';
import { quote } from './functions/strings.ts';
import { Uint } from './values.ts';

/** How tightly a node holds together; a child that holds less tightly than its place asks for gets parentheses. */
const level = { conditional: 0, or: 1, and: 2, relation: 3, sum: 4, product: 5, unary: 6, member: 7 } as const;

const binary: Readonly<Record<string, { readonly symbol: string; readonly level: number }>> = {
  '_==_': { symbol: '==', level: level.relation },
  '_!=_': { symbol: '!=', level: level.relation },
  '_<_': { symbol: '<', level: level.relation },
  '_<=_': { symbol: '<=', level: level.relation },
  '_>_': { symbol: '>', level: level.relation },
  '_>=_': { symbol: '>=', level: level.relation },
  '@in': { symbol: 'in', level: level.relation },
  '_+_': { symbol: '+', level: level.sum },
  '_-_': { symbol: '-', level: level.sum },
  '_*_': { symbol: '*', level: level.product },
  '_/_': { symbol: '/', level: level.product },
  '_%_': { symbol: '%', level: level.product },
};

/**
 * The expression as text in its one canonical form: single spaces around operators, no parentheses that change nothing,
 * double-quoted strings, one line. Parsing it gives the same tree. Comments are not part of the tree and are lost; see
 * `hasComments`.
 */
export function formatExpression(expression: Expression): string {
  return text(expression.root, level.conditional);
}

/** The canonical text of one node of an expression. */
export function formatNode(node: Node): string {
  return text(node, level.conditional);
}

function text(node: Node, needed: number): string {
  const [written, own] = write(node);
  return own < needed ? `(${written})` : written;
}

function list(nodes: readonly Node[]): string {
  return nodes.map((node) => text(node, level.conditional)).join(', ');
}

function write(node: Node): readonly [string, number] {
  switch (node.kind) {
    case 'literal':
      return writeLiteral(node);
    case 'ident':
      return [node.name, level.member];
    case 'select':
      return [`${text(node.operand, level.member)}.${fieldName(node.field)}`, level.member];
    case 'has':
      return [`has(${text(node.operand, level.member)}.${fieldName(node.field)})`, level.member];
    case 'call':
      return writeCall(node);
    case 'list': {
      const parts = node.elements.map((part, index) => (node.optionals.includes(index) ? '?' : '') + text(part, 0));
      return [`[${parts.join(', ')}]`, level.member];
    }
    case 'map': {
      const parts = node.entries.map(
        (entry) => `${entry.optional ? '?' : ''}${text(entry.key, 0)}: ${text(entry.value, 0)}`,
      );
      return [`{${parts.join(', ')}}`, level.member];
    }
    case 'struct':
      return [
        `${node.name}{${node.fields.map((field) => `${field.name}: ${text(field.value, 0)}`).join(', ')}}`,
        level.member,
      ];
    case 'comprehension':
      return [writeMacro(node), level.member];
    case 'bind':
      return [`cel.bind(${node.name}, ${list([node.value, node.body])})`, level.member];
  }
}

function writeLiteral({ value }: LiteralNode): readonly [string, number] {
  if (value === null || typeof value === 'boolean') return [String(value), level.member];
  if (typeof value === 'string') return [quote(value), level.member];
  if (value instanceof Uint) return [`${value.value}u`, level.member];
  if (value instanceof Uint8Array) return [bytesLiteral(value), level.member];
  const digits = typeof value === 'bigint' ? String(value) : doubleLiteral(value);
  return [digits, digits.startsWith('-') ? level.unary : level.member];
}

function doubleLiteral(value: number): string {
  const digits = formatDouble(value);
  return /[.e]/.test(digits) ? digits : `${digits}.0`;
}

function bytesLiteral(bytes: Uint8Array): string {
  const parts = Array.from(bytes, (byte) => {
    if (byte === 0x22 || byte === 0x5c) return `\\${String.fromCharCode(byte)}`;
    return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  });
  return `b"${parts.join('')}"`;
}

function writeCall(node: CallNode): readonly [string, number] {
  const { fn, args, target } = node;
  const [first, second] = args as readonly [Node, Node];
  if (target !== null) return [`${text(target, level.member)}.${fn}(${list(args)})`, level.member];
  const operator = Object.hasOwn(binary, fn) ? binary[fn]! : null;
  if (operator !== null) {
    const left = text(first, operator.level);
    return [`${left} ${operator.symbol} ${text(second, operator.level + 1)}`, operator.level];
  }
  switch (fn) {
    case '_&&_':
      return [args.map((arg) => text(arg, level.and + 1)).join(' && '), level.and];
    case '_||_':
      return [args.map((arg) => text(arg, level.or + 1)).join(' || '), level.or];
    case '!_':
      return [`!${text(first, level.member)}`, level.unary];
    case '-_':
      return [`-${first.kind === 'literal' ? `(${text(first, 0)})` : text(first, level.member)}`, level.unary];
    case '_?_:_': {
      const condition = text(first, level.or);
      return [`${condition} ? ${text(second, level.or)} : ${text(args[2]!, level.conditional)}`, level.conditional];
    }
    case '_[_]':
      return [`${text(first, level.member)}[${text(second, 0)}]`, level.member];
    case '_[?_]':
      return [`${text(first, level.member)}[?${text(second, 0)}]`, level.member];
    case '_?._':
      return [`${text(first, level.member)}.?${fieldName(String((second as LiteralNode).value))}`, level.member];
    default:
      return [`${fn}(${list(args)})`, level.member];
  }
}

function writeMacro(node: ComprehensionNode): string {
  const name = node.macro === 'existsOne' ? 'exists_one' : node.macro;
  const bodies = [node.predicate, node.transform].filter((body) => body !== null);
  return `${text(node.range, level.member)}.${name}(${node.variables.join(', ')}, ${list(bodies)})`;
}

/** Words that cannot follow a dot bare. */
const reservedFields = new Set(['in', 'true', 'false', 'null']);

function fieldName(name: string): string {
  return /^[_a-zA-Z][_a-zA-Z0-9]*$/.test(name) && !reservedFields.has(name) ? name : `\`${name}\``;
}
