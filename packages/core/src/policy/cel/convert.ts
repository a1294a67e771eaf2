import type { parse } from '@bufbuild/cel';
import type {
  ComprehensionMacro,
  Expression,
  ListNode,
  LiteralValue,
  MapEntry,
  Node,
  ProblemCode,
  Span,
} from './ast.ts';
import type { Token } from './lexer.ts';
import type { ExpressionLimits } from './limits.ts';
import { SpanFinder } from './spans.ts';
import { Uint } from './values.ts';

type Parsed = ReturnType<typeof parse>;
type LibraryNode = NonNullable<Parsed['expr']>;
type LibraryCase<K extends string> = Extract<LibraryNode['exprKind'], { case: K }>['value'];

/** A tree that parses but has no meaning in CEL: a number out of range, a macro misused. */
export class ConversionError extends Error {
  readonly code: ProblemCode;
  readonly offset: number;
  constructor(code: ProblemCode, message: string, offset: number) {
    super(message);
    this.code = code;
    this.offset = offset;
  }
}

/**
 * Turns the parser library's tree into ours: macros folded back from their expansions, `&&` and `||` chains flattened,
 * nodes numbered in preorder, each with its span.
 *
 * @throws ConversionError
 */
export function convert(parsed: Parsed, text: string, tokens: readonly Token[], limits: ExpressionLimits): Expression {
  const converter = new Converter(parsed, new SpanFinder(text, tokens), limits);
  if (parsed.expr === undefined) throw new ConversionError('syntax', 'the expression is empty', 0);
  const root = converter.node(parsed.expr, 1);
  return { root, nodeCount: converter.count, spans: converter.spans, text };
}

const minInt = -(2n ** 63n);
const maxInt = 2n ** 63n - 1n;
const maxUint = 2n ** 64n - 1n;

/** Macros the parser library leaves as calls: fn, number of variables, number of further arguments. */
const foldedMacros: Readonly<
  Record<string, { macro: ComprehensionMacro; variables: 1 | 2; bodies: readonly number[] }>
> = {
  all: { macro: 'all', variables: 2, bodies: [1] },
  exists: { macro: 'exists', variables: 2, bodies: [1] },
  existsOne: { macro: 'existsOne', variables: 2, bodies: [1] },
  exists_one: { macro: 'existsOne', variables: 2, bodies: [1] },
  transformList: { macro: 'transformList', variables: 2, bodies: [1, 2] },
  transformMap: { macro: 'transformMap', variables: 2, bodies: [1, 2] },
  transformMapEntry: { macro: 'transformMapEntry', variables: 2, bodies: [1, 2] },
  optMap: { macro: 'optMap', variables: 1, bodies: [1] },
  optFlatMap: { macro: 'optFlatMap', variables: 1, bodies: [1] },
};
const libraryMacros = new Set(['all', 'exists', 'exists_one', 'existsOne', 'filter', 'map']);
const testMacros: ReadonlySet<ComprehensionMacro> = new Set(['all', 'exists', 'existsOne', 'filter']);

class Converter {
  count = 0;
  readonly spans: Span[] = [{ offset: 0, length: 0, line: 1, column: 1 }];
  readonly #parsed: Parsed;
  readonly #finder: SpanFinder;
  readonly #limits: ExpressionLimits;
  /** Tokens of each node by id. */
  readonly #first: number[] = [0];
  readonly #last: number[] = [0];

  constructor(parsed: Parsed, finder: SpanFinder, limits: ExpressionLimits) {
    this.#parsed = parsed;
    this.#finder = finder;
    this.#limits = limits;
  }

  node(from: LibraryNode, depth: number): Node {
    const id = ++this.count;
    const token = this.#finder.tokenAt(this.#offset(from.id));
    if (depth > this.#limits.maxDepth) {
      throw this.#error('too_deep', `nested deeper than ${this.#limits.maxDepth} levels; use variables`, from);
    }
    if (id > this.#limits.maxNodes) {
      throw this.#error('too_large', `more than ${this.#limits.maxNodes} nodes; use variables`, from);
    }
    const kind = from.exprKind;
    switch (kind.case) {
      case 'constExpr':
        return this.#leaf({ kind: 'literal', id, value: this.#literal(kind.value, from) }, token);
      case 'identExpr':
        return this.#ident(id, kind.value.name, token);
      case 'selectExpr':
        return this.#select(id, kind.value, from, token, depth);
      case 'callExpr':
        return this.#call(id, kind.value, from, token, depth);
      case 'listExpr':
        return this.#list(id, kind.value, token, depth);
      case 'structExpr':
        return this.#struct(id, kind.value, token, depth);
      case 'comprehensionExpr':
        return this.#comprehension(id, kind.value, from, token, depth);
      default:
        throw this.#error('syntax', 'the expression is incomplete', from);
    }
  }

  #offset(id: bigint): number {
    return this.#parsed.sourceInfo?.positions[id.toString()] ?? 0;
  }

  #error(code: ProblemCode, message: string, at: LibraryNode): ConversionError {
    return new ConversionError(code, message, this.#offset(at.id));
  }

  #place<N extends Node>(node: N, first: number, last: number): N {
    const [from, to] = this.#finder.balance(first, last);
    this.#first[node.id] = from;
    this.#last[node.id] = to;
    this.spans[node.id] = this.#finder.span(from, to);
    return node;
  }

  #leaf<N extends Node>(node: N, token: number): N {
    const sign = this.#finder.word(token) === '-';
    return this.#place(node, token, sign ? token + 1 : token);
  }

  #literal(constant: LibraryCase<'constExpr'>, at: LibraryNode): LiteralValue {
    const { constantKind } = constant;
    switch (constantKind.case) {
      case 'boolValue':
      case 'stringValue':
      case 'bytesValue':
        return constantKind.value;
      case 'nullValue':
        return null;
      case 'int64Value':
        if (constantKind.value < minInt || constantKind.value > maxInt) {
          throw this.#error('invalid_literal', 'this number does not fit in a 64-bit int', at);
        }
        return constantKind.value;
      case 'uint64Value':
        if (constantKind.value < 0n || constantKind.value > maxUint) {
          throw this.#error('invalid_literal', 'this number does not fit in a 64-bit uint', at);
        }
        return new Uint(constantKind.value);
      case 'doubleValue':
        if (!Number.isFinite(constantKind.value)) {
          throw this.#error('invalid_literal', 'this number does not fit in a double', at);
        }
        return constantKind.value;
      default:
        throw this.#error('syntax', 'unknown literal', at);
    }
  }

  /** The parser drops the leading dot of `.name`; the token still has it. */
  #ident(id: number, name: string, token: number): Node {
    const absolute = this.#finder.word(token) === '.';
    return this.#place({ kind: 'ident', id, name: absolute ? `.${name}` : name }, token, absolute ? token + 1 : token);
  }

  #select(id: number, select: LibraryCase<'selectExpr'>, from: LibraryNode, token: number, depth: number): Node {
    if (select.operand === undefined) throw this.#error('syntax', 'the expression is incomplete', from);
    if (select.testOnly) {
      const operand = this.node(select.operand, depth + 1);
      const closing = this.#finder.closing(token, '(');
      let nameToken = closing - 1;
      while (this.#finder.word(nameToken) === ')') nameToken--;
      if (this.#finder.kind(nameToken - 1) === 'optional-mark') {
        throw this.#error('invalid_macro', '`has` takes a plain field: write `has(a.b)`', from);
      }
      const field = this.#fieldName(select.field, nameToken);
      return this.#place({ kind: 'has', id, operand, field }, token, closing);
    }
    const optional = this.#finder.kind(token + 1) === 'optional-mark';
    const nameToken = token + (optional ? 2 : 1);
    const field = this.#fieldName(select.field, nameToken);
    const operand = this.node(select.operand, depth + 1);
    const first = this.#first[operand.id]!;
    if (!optional) return this.#place({ kind: 'select', id, operand, field }, first, nameToken);
    const literal = this.#leaf<Node>({ kind: 'literal', id: ++this.count, value: field }, nameToken);
    return this.#place({ kind: 'call', id, fn: '_?._', target: null, args: [operand, literal] }, first, nameToken);
  }

  #fieldName(parsed: string, token: number): string {
    if (this.#finder.kind(token) !== 'quoted-name') return parsed;
    return this.#finder.word(token).slice(1, -1);
  }

  #call(id: number, call: LibraryCase<'callExpr'>, from: LibraryNode, token: number, depth: number): Node {
    const { function: fn, target, args } = call;
    if (target !== undefined) return this.#memberCall(id, fn, target, args, from, token, depth);
    if (fn === '_&&_' || fn === '_||_') {
      const parts = flatten(from, fn).map((part) => this.node(part, depth + 1));
      return this.#operator(id, fn, parts, token);
    }
    if (fn === 'has') throw this.#error('invalid_macro', '`has` takes a field selection: write `has(a.b)`', from);
    const optional = fn === '_[_]' && this.#finder.kind(token + 1) === 'optional-mark';
    const parts = args.map((arg) => this.node(arg, depth + 1));
    if (fn === '_[_]') {
      const name = optional ? '_[?_]' : fn;
      const closing = this.#finder.closing(token, '[');
      return this.#place(
        { kind: 'call', id, fn: name, target: null, args: parts },
        this.#first[parts[0]!.id]!,
        closing,
      );
    }
    if (isOperator(fn)) return this.#operator(id, fn, parts, token);
    const absolute = this.#finder.word(token) === '.';
    const name = absolute ? `.${fn}` : fn;
    const node: Node = { kind: 'call', id, fn: name, target: null, args: parts };
    return this.#place(node, token, this.#finder.closing(token, '('));
  }

  #operator(id: number, fn: string, args: readonly Node[], token: number): Node {
    const unary = args.length === 1;
    const first = unary ? token : this.#first[args[0]!.id]!;
    return this.#place({ kind: 'call', id, fn, target: null, args }, first, this.#last[args.at(-1)!.id]!);
  }

  #memberCall(
    id: number,
    fn: string,
    target: LibraryNode,
    args: readonly LibraryNode[],
    from: LibraryNode,
    token: number,
    depth: number,
  ): Node {
    if (fn === 'bind' && args.length === 3 && isIdent(target, 'cel')) {
      const name = this.#variable(args[0]!, 'cel.bind');
      const value = this.node(args[1]!, depth + 1);
      const body = this.node(args[2]!, depth + 1);
      const first = this.#finder.tokenAt(this.#offset(target.id));
      return this.#place({ kind: 'bind', id, name, value, body }, first, this.#finder.closing(token, '('));
    }
    const folded = Object.hasOwn(foldedMacros, fn) ? foldedMacros[fn]! : null;
    if (folded?.bodies.includes(args.length - folded.variables)) {
      const variables = args.slice(0, folded.variables).map((arg) => this.#variable(arg, fn));
      const bodies = args.slice(folded.variables);
      const isTest = testMacros.has(folded.macro);
      const predicate = isTest ? bodies[0]! : bodies.length === 2 ? bodies[0]! : null;
      const transform = isTest ? null : bodies.at(-1)!;
      return this.#macro(id, folded.macro, target, variables, predicate, transform, from, token, depth);
    }
    if (libraryMacros.has(fn) && (args.length === 2 || (fn === 'map' && args.length === 3)))
      this.#variable(args[0]!, fn);
    const node: Node = {
      kind: 'call',
      id,
      fn,
      target: this.node(target, depth + 1),
      args: args.map((arg) => this.node(arg, depth + 1)),
    };
    return this.#place(node, this.#first[node.target!.id]!, this.#finder.closing(token, '('));
  }

  #variable(arg: LibraryNode, macro: string): string {
    const absolute = this.#finder.word(this.#finder.tokenAt(this.#offset(arg.id))) === '.';
    if (arg.exprKind.case === 'identExpr' && !absolute) return arg.exprKind.value.name;
    throw this.#error('invalid_macro', `\`${macro}\` declares a variable: this argument must be a plain name`, arg);
  }

  #comprehension(
    id: number,
    loop: LibraryCase<'comprehensionExpr'>,
    from: LibraryNode,
    token: number,
    depth: number,
  ): Node {
    const recorded = this.#parsed.sourceInfo?.macroCalls[from.id.toString()]?.exprKind;
    const fn = recorded?.case === 'callExpr' ? recorded.value.function : '';
    const size = recorded?.case === 'callExpr' ? recorded.value.args.length : 0;
    if (loop.iterRange === undefined || loop.loopStep === undefined)
      throw this.#error('syntax', 'incomplete macro', from);
    const step = callArgs(loop.loopStep);
    const appended = fn === 'map' ? elementOf(size === 3 ? callArgs(step[1]!)[1]! : step[1]!) : null;
    const macro = fn === 'exists_one' ? 'existsOne' : (fn as ComprehensionMacro);
    const test = fn === 'all' || fn === 'exists' ? step[1]! : fn === 'map' && size === 2 ? null : step[0]!;
    return this.#macro(id, macro, loop.iterRange, [loop.iterVar], test, appended, from, token, depth);
  }

  #macro(
    id: number,
    macro: ComprehensionMacro,
    range: LibraryNode,
    variables: readonly string[],
    predicate: LibraryNode | null,
    transform: LibraryNode | null,
    from: LibraryNode,
    token: number,
    depth: number,
  ): Node {
    if (variables.length === 2 && variables[0] === variables[1]) {
      throw this.#error('invalid_macro', `\`${macro}\` declares \`${variables[0]}\` twice`, from);
    }
    const node: Node = {
      kind: 'comprehension',
      id,
      macro,
      range: this.node(range, depth + 1),
      variables: variables as unknown as readonly [string],
      predicate: predicate === null ? null : this.node(predicate, depth + 1),
      transform: transform === null ? null : this.node(transform, depth + 1),
    };
    return this.#place(node, this.#first[node.range.id]!, this.#finder.closing(token, '('));
  }

  #list(id: number, list: LibraryCase<'listExpr'>, token: number, depth: number): Node {
    const elements = list.elements.map((element) => this.node(element, depth + 1));
    const optionals = elements.flatMap((element, index) => (this.#isMarked(element) ? [index] : []));
    const node: ListNode = { kind: 'list', id, elements, optionals };
    return this.#place(node, token, this.#finder.closing(token, '['));
  }

  #isMarked(node: Node): boolean {
    return this.#finder.kind(this.#first[node.id]! - 1) === 'optional-mark';
  }

  #struct(id: number, struct: LibraryCase<'structExpr'>, token: number, depth: number): Node {
    const closing = this.#finder.closing(token, '{');
    if (struct.messageName === '') {
      const entries = struct.entries.map((entry): MapEntry => {
        if (entry.keyKind.case !== 'mapKey' || entry.value === undefined) {
          throw new ConversionError('syntax', 'incomplete map entry', this.#offset(entry.id));
        }
        const key = this.node(entry.keyKind.value, depth + 1);
        const value = this.node(entry.value, depth + 1);
        return { key, value, optional: this.#isMarked(key) };
      });
      return this.#place({ kind: 'map', id, entries }, token, closing);
    }
    const fields = struct.entries.map((entry) => {
      if (entry.keyKind.case !== 'fieldKey' || entry.value === undefined) {
        throw new ConversionError('syntax', 'incomplete field', this.#offset(entry.id));
      }
      return { name: entry.keyKind.value, value: this.node(entry.value, depth + 1) };
    });
    return this.#place({ kind: 'struct', id, name: struct.messageName, fields }, token, closing);
  }
}

const operators = new Set('!_ -_ _+_ _-_ _*_ _/_ _%_ _==_ _!=_ _<_ _<=_ _>_ _>=_ _?_:_ @in _&&_ _||_'.split(' '));

/** Whether `fn` is the name of an operator that is written between or before its operands. */
export function isOperator(fn: string): boolean {
  return operators.has(fn);
}

/** The operands of a chain of one associative operator, left to right, without recursion. */
function flatten(from: LibraryNode, fn: string): readonly LibraryNode[] {
  const operands: LibraryNode[] = [];
  const pending = [from];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const kind = next.exprKind;
    if (kind.case === 'callExpr' && kind.value.function === fn) pending.push(...kind.value.args.toReversed());
    else operands.push(next);
  }
  return operands;
}

function isIdent(node: LibraryNode, name: string): boolean {
  return node.exprKind.case === 'identExpr' && node.exprKind.value.name === name;
}

function callArgs(node: LibraryNode): readonly LibraryNode[] {
  return node.exprKind.case === 'callExpr' ? node.exprKind.value.args : [];
}

/** The one element of the list that a `map` step appends. */
function elementOf(node: LibraryNode): LibraryNode {
  return node.exprKind.case === 'listExpr' ? (node.exprKind.value.elements[0] ?? node) : node;
}
