export {
  type AppliedPolicy,
  type DecideInput,
  decide,
  decideOnce,
  type Finding,
  type Outcome,
  type PolicyAt,
  type PolicyFault,
  passesMax,
} from './decide.ts';
export { type Candidate, DirectoryIndex, type IndexedChild, type IndexedPolicy } from './directory-index.ts';
export {
  type Explained,
  type ExplainedExpression,
  type ExplainedPolicy,
  type Explanation,
  ExplanationCollector,
  type ObservedPolicyAt,
} from './explain.ts';
export { type FactKey, type FactLookup, type Facts, factsFromMap, type RecordedLookup } from './facts.ts';
export { evaluationErrorReason, type Fault, type PolicyVerdict, type Violation } from './policy-outcome.ts';
export {
  essence,
  type FactRead,
  hashJson,
  makeReceipt,
  type Receipt,
  type ReceiptInput,
  type ReceiptKind,
  type ReceiptSignature,
  type ReceiptSigner,
  receiptBytes,
  receiptKinds,
  sameReceipt,
} from './receipt.ts';
export { compareReceipts, factsOfReceipt, type ReceiptDifference } from './replay.ts';
export { type RunTestsOptions, runTests, type TestResult } from './run-tests.ts';
