export * from './activation.ts';
export * from './ast.ts';
export * from './environment.ts';
export { defaultLimits, type ExpressionLimits } from './limits.ts';
export { CelMap } from './maps.ts';
export { type ParseResult, parseExpression } from './parse.ts';
export { type PlannedExpression, type PlanOptions, planExpression } from './plan.ts';
export * from './types.ts';
export * from './values.ts';
