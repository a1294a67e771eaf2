export type * from './control.ts';
export type * from './data.ts';
export { type ErrorBody, type ErrorReason, errorCodes } from './errors.ts';
export type * from './evaluation.ts';
export { type MethodRow, methods, type Plane, planes, type TokenKind, tokenKinds } from './methods.ts';
