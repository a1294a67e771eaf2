import type { Duration, Timestamp, Uint } from './values.ts';

/** A literal as it stands in an expression. */
export type LiteralValue = null | boolean | number | bigint | string | Uint | Uint8Array;

/** Macros that walk a list, a map or an optional. `map` with a predicate is `range.map(x, predicate, transform)`. */
export type ComprehensionMacro =
  | 'all'
  | 'exists'
  | 'existsOne'
  | 'filter'
  | 'map'
  | 'transformList'
  | 'transformMap'
  | 'transformMapEntry'
  | 'optMap'
  | 'optFlatMap';

/**
 * One node of a parsed expression. `id` numbers the nodes from 1 in preorder without gaps, so that types, spans, values
 * and coverage are plain arrays indexed by it.
 *
 * Operators are calls with CEL's own names: `_&&_` and `_||_` (two or more arguments), `!_`, `-_`, `_+_`, `_==_`,
 * `_?_:_`, `@in`, `_[_]`, `_?._` (optional select, the field a literal), `_[?_]` and so on.
 */
export type Node =
  | LiteralNode
  | IdentNode
  | SelectNode
  | HasNode
  | CallNode
  | ListNode
  | MapNode
  | StructNode
  | ComprehensionNode
  | BindNode;

export interface LiteralNode {
  readonly kind: 'literal';
  readonly id: number;
  readonly value: LiteralValue;
}
export interface IdentNode {
  readonly kind: 'ident';
  readonly id: number;
  readonly name: string;
}
/** `operand.field` */
export interface SelectNode {
  readonly kind: 'select';
  readonly id: number;
  readonly operand: Node;
  readonly field: string;
}
/** `has(operand.field)` */
export interface HasNode {
  readonly kind: 'has';
  readonly id: number;
  readonly operand: Node;
  readonly field: string;
}
/** `fn(args)` or `target.fn(args)` or an operator. */
export interface CallNode {
  readonly kind: 'call';
  readonly id: number;
  readonly fn: string;
  readonly target: Node | null;
  readonly args: readonly Node[];
}
export interface ListNode {
  readonly kind: 'list';
  readonly id: number;
  readonly elements: readonly Node[];
  /** Positions of elements written `?x`: left out when the optional is empty. */
  readonly optionals: readonly number[];
}
export interface MapNode {
  readonly kind: 'map';
  readonly id: number;
  readonly entries: readonly MapEntry[];
}
/** `key: value`, or `?key: value` with an optional value. */
export interface MapEntry {
  readonly key: Node;
  readonly value: Node;
  readonly optional: boolean;
}
/** `Name{field: value}`: parsed so that the checker can say that IPE has no messages. */
export interface StructNode {
  readonly kind: 'struct';
  readonly id: number;
  readonly name: string;
  readonly fields: readonly { readonly name: string; readonly value: Node }[];
}
/** A macro over `range`; `variables` has one name, or two (index or key, then value). */
export interface ComprehensionNode {
  readonly kind: 'comprehension';
  readonly id: number;
  readonly macro: ComprehensionMacro;
  readonly range: Node;
  readonly variables: readonly [string] | readonly [string, string];
  /** The test of each element; null for `map` and `transform*` without one. */
  readonly predicate: Node | null;
  /** What each element becomes; null for `all`, `exists`, `existsOne` and `filter`. */
  readonly transform: Node | null;
}
/** `cel.bind(name, value, body)` */
export interface BindNode {
  readonly kind: 'bind';
  readonly id: number;
  readonly name: string;
  readonly value: Node;
  readonly body: Node;
}

/** A place in the text: UTF-16 offset and length; line and column count from 1. */
export interface Span {
  readonly offset: number;
  readonly length: number;
  readonly line: number;
  readonly column: number;
}

/** A parsed expression. Immutable. */
export interface Expression {
  readonly root: Node;
  /** How many nodes there are; ids run from 1 to this. */
  readonly nodeCount: number;
  /** Spans by node id (index 0 unused); null for an expression decoded from its stored form. */
  readonly spans: readonly Span[] | null;
  /** The text parsed; null for a decoded expression (`formatExpression` gives one back). */
  readonly text: string | null;
}

/** Something wrong with an expression, found before it runs. */
export interface Problem {
  /** Stable, for machines: `syntax`, `too_deep`, `too_large`, `unknown_name`, `unknown_field`, `no_overload`, ... */
  readonly code: ProblemCode;
  readonly message: string;
  /** Where, when the text is at hand. */
  readonly span: Span | null;
  /** Node concerned; 0 where the expression could not be parsed. */
  readonly nodeId: number;
  /** The nearest valid name, when one is near; not part of the message: show it as "did you mean ...?". */
  readonly nearest: string | null;
}

export type ProblemCode =
  | 'syntax'
  | 'too_deep'
  | 'too_large'
  | 'too_costly'
  | 'unknown_name'
  | 'unknown_field'
  | 'unknown_function'
  | 'no_overload'
  | 'wrong_type'
  | 'data_misuse'
  | 'unsupported'
  | 'invalid_macro'
  | 'invalid_literal';

/** Values an expression can produce beside failures. Maps are plain objects (JSON, own keys) or `Map`s. */
export type CelValue =
  | LiteralValue
  | Timestamp
  | Duration
  | readonly unknown[]
  | Readonly<Record<string, unknown>>
  | object;

/** The parts of a node in evaluation order. */
export function children(node: Node): readonly Node[] {
  switch (node.kind) {
    case 'literal':
    case 'ident':
      return [];
    case 'select':
    case 'has':
      return [node.operand];
    case 'call':
      return node.target === null ? node.args : [node.target, ...node.args];
    case 'list':
      return node.elements;
    case 'map':
      return node.entries.flatMap((entry) => [entry.key, entry.value]);
    case 'struct':
      return node.fields.map((field) => field.value);
    case 'comprehension':
      return [node.range, node.predicate, node.transform].filter((part) => part !== null);
    case 'bind':
      return [node.value, node.body];
  }
}
