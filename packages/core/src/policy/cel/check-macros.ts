import type { ComprehensionNode, Node } from './ast.ts';
import { asMap, type Inference } from './inference.ts';
import { bool, dyn, int, listOf, mapOf, optionalOf, type Type, typeName } from './types.ts';

/** What the check of a macro needs of the check around it. */
export interface MacroContext {
  readonly inference: Inference;
  check(node: Node): Type;
  expectBool(node: Node, where: string): void;
  /** Checks `body` with one more name in scope. */
  within<T>(name: string, type: Type, body: () => T): T;
  /** Reports a wrong type; gives the type to go on with. */
  wrong(node: Node, message: string): Type;
}

/** Types of what a loop hands to its variables: one variable, or index or key and value. */
interface Elements {
  readonly single: Type;
  readonly key: Type;
  readonly value: Type;
}

/** Checks a macro: what it walks, its bodies with its variables in scope, what it makes. */
export function checkMacro(node: ComprehensionNode, context: MacroContext): Type {
  const range = context.inference.resolve(context.check(node.range));
  if (node.macro === 'optMap' || node.macro === 'optFlatMap') return checkOptionalMacro(node, range, context);
  const over = rangeOf(node, range, context);
  const [first, second] = node.variables;
  const body = (): Type => bodyType(node, over, context);
  if (second === undefined) return context.within(first, over.single, body);
  return context.within(first, over.key, () => context.within(second, over.value, body));
}

function rangeOf(node: ComprehensionNode, range: Type, context: MacroContext): Elements {
  if (range.kind === 'list') return { single: range.element, key: int, value: range.element };
  const map = asMap(range);
  if (map !== null) return { single: map.key, key: map.key, value: map.value };
  if (range.kind !== 'dyn' && range.kind !== 'error' && range.kind !== 'parameter') {
    context.wrong(node.range, `\`${node.macro}\` walks a list or a map, not ${typeName(range)}`);
  }
  const part = range.kind === 'dyn' ? range : dyn;
  return { single: part, key: dyn, value: part };
}

function bodyType(node: ComprehensionNode, over: Elements, context: MacroContext): Type {
  if (node.predicate !== null) context.expectBool(node.predicate, `the test of \`${node.macro}\``);
  const made = node.transform === null ? dyn : context.check(node.transform);
  switch (node.macro) {
    case 'filter':
      return listOf(over.single);
    case 'map':
    case 'transformList':
      return listOf(made);
    case 'transformMap':
      return mapOf(over.key, made);
    case 'transformMapEntry': {
      const entry = mapOf(context.inference.fresh(), context.inference.fresh());
      if (context.inference.assign(entry, made)) return context.inference.resolve(entry);
      return context.wrong(node, '`transformMapEntry` makes maps: write `{key: value}`');
    }
    default:
      return bool;
  }
}

function checkOptionalMacro(node: ComprehensionNode, range: Type, context: MacroContext): Type {
  const inside = context.inference.fresh();
  if (!context.inference.assign(optionalOf(inside), range)) {
    return context.wrong(node.range, `\`${node.macro}\` needs an optional, not ${typeName(range)}`);
  }
  const made = context.within(node.variables[0], context.inference.resolve(inside), () =>
    context.check(node.transform!),
  );
  if (node.macro === 'optMap') return optionalOf(made);
  const result = context.inference.fresh();
  if (context.inference.assign(optionalOf(result), made)) return optionalOf(context.inference.resolve(result));
  return context.wrong(node.transform!, '`optFlatMap` needs an optional result');
}
