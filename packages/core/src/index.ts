export {
  type ErrorDetails,
  IpeError,
  isIpeError,
  type Reason,
  type ReasonEntry,
  reasons,
  type StateEffect,
} from './errors.ts';
export { nearest } from './nearest.ts';
