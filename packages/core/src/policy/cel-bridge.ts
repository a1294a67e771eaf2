import {
  children,
  dyn,
  type Environment,
  type Expression,
  type Node,
  type Problem,
  parseExpression,
  type Type,
} from './cel/index.ts';
import type { Json } from './json.ts';

export interface CheckResult {
  readonly type: Type;
  readonly references: { readonly namespaces: readonly string[]; readonly variables: readonly string[] };
  readonly problems: readonly Problem[];
}

export function checkExpression(expression: Expression, _env: Environment): CheckResult {
  const namespaces = new Set<string>();
  const variables = new Set<string>();
  const visit = (node: Node): void => {
    if ((node.kind === 'select' || node.kind === 'has') && node.operand.kind === 'ident') {
      if (node.operand.name === 'data') namespaces.add(node.field);
      if (node.operand.name === 'variables') variables.add(node.field);
    }
    if (node.kind === 'call' && node.fn === '_[_]' && node.args[0]?.kind === 'ident' && node.args[0].name === 'data') {
      const key = node.args[1];
      if (key?.kind === 'literal' && typeof key.value === 'string') namespaces.add(key.value);
    }
    children(node).forEach(visit);
  };
  visit(expression.root);
  return { type: dyn, references: { namespaces: [...namespaces], variables: [...variables] }, problems: [] };
}

export function estimateCost(_expression: Expression, _env: Environment): { max: number } {
  return { max: 0 };
}

export function encodeExpression(expression: Expression): Json {
  return expression.text ?? '';
}

export function decodeExpression(json: Json): ReturnType<typeof parseExpression> {
  return parseExpression(typeof json === 'string' ? json : '');
}

export function formatExpression(expression: Expression): string {
  return expression.text ?? '';
}
