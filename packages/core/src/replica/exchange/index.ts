export {
  Exchange,
  type ExchangeEffect,
  type ExchangeEvent,
  type ExchangeOptions,
  type PullOutcome,
} from './exchange.ts';
export {
  decodeReport,
  encodeReport,
  type Interest,
  isOfInterest,
  type NamespaceVector,
  type VectorReport,
} from './report.ts';
export { covers, coversDot, type Heads, type Missing, missingFrom } from './vectors.ts';
