export {
  type ComparisonEffect,
  type ComparisonEvent,
  type ComparisonOptions,
  type ComparisonStatus,
  comparisonDefaults,
  DigestComparison,
} from './comparison.ts';
export { type Cuts, cutsAt } from './cuts.ts';
export { type Changes, Digests, type DigestWalk } from './digests.ts';
export { isLost } from './lost.ts';
export {
  answerDigest,
  type DigestAnswer,
  type DigestQuestion,
  type LocalDigests,
  type RootAnswer,
} from './questions.ts';
export { type OpenQuestion, type RepairedReplica, Repairs } from './repair.ts';
