export { type ErrorBody, type ErrorReason, errorCodes } from './protocol/index.ts';
