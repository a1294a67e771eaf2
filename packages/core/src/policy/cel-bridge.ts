import type { Environment, Expression } from './cel/index.ts';

export function estimateCost(_expression: Expression, _env: Environment): { max: number } {
  return { max: 0 };
}
