import { type Environment, type Expression, parseExpression } from './cel/index.ts';
import type { Json } from './json.ts';

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
