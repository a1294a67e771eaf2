export { type Accepted, acceptedUpTo, type Cut, raised } from './cut.ts';
export {
  Exchange,
  type ExchangeEffect,
  type ExchangeEvent,
  type ExchangeOptions,
  type PullOutcome,
} from './exchange.ts';
export { Leases, type LeaseVerdict } from './leases.ts';
export {
  decodeReport,
  encodeReport,
  type Interest,
  isOfInterest,
  type NamespaceVector,
  type VectorReport,
} from './report.ts';
export { Skew, skewMaxMs } from './skew.ts';
export { covers, coversDot, distance, type Heads, type Missing, missingFrom } from './vectors.ts';
