export { type ErrorBody, type ErrorReason, errorCodes } from './errors.ts';
export { type MethodRow, methods, type Plane, planes, type TokenKind, tokenKinds } from './methods.ts';
