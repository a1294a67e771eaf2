export type { FeedEvent } from './events.ts';
export {
  Feed,
  type FeedOptions,
  type FeedScanned,
  type FeedStart,
  type FeedStep,
  type FeedSteps,
  type LogPart,
} from './feed.ts';
export { type GivenToken, rangesBeyond, startOf, WrittenKeys } from './place.ts';
export { mergedKeys, RecentCommits, type RecentCommitsBounds, reviveCommit } from './recent-commits.ts';
