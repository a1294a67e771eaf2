export * from './activation.ts';
export * from './ast.ts';
export * from './environment.ts';
export * from './types.ts';
export * from './values.ts';
