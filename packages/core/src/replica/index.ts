export { membersMax, valueBytesMax } from './admission.ts';
export { type Ahead, hasJoined } from './ahead.ts';
export { Cell, decodeCell, encodeCell, readCell } from './cell.ts';
export { ByteReader, ByteWriter, utf8Length } from './codec.ts';
export { type CommitEntry, decodeCommit } from './commit-row.ts';
export {
  type Claim,
  type FetchEffect,
  type FetchEvent,
  Fetches,
  type FetchesOptions,
  Holdings,
  type HoldingsOptions,
  type LogRange,
  type LogSlice,
  PageGatherer,
  type Publication,
  PublishLine,
  PublishLines,
  Reception,
  type ReceptionOptions,
  SliceGatherer,
  type SnapshotPage,
  type SnapshotRow,
  type Standing,
  type Stretch,
} from './delivery/index.ts';
export {
  answerDigest,
  type ComparisonEffect,
  type ComparisonEvent,
  type ComparisonOptions,
  type ComparisonStatus,
  type Cuts,
  comparisonDefaults,
  cutsAt,
  type DigestAnswer,
  DigestComparison,
  type DigestQuestion,
  Digests,
  type DigestWalk,
  isLost,
  type LocalDigests,
  type OpenQuestion,
  type RepairedReplica,
  Repairs,
  type RootAnswer,
} from './digest/index.ts';
export type { Dot, Source, Stamp } from './dot.ts';
export { compareStamps, dotsTag, dotText, Sources } from './dot.ts';
export type { Change, Commit, LoadedRow, ReplicaEffect, ReplicaEvent, Rng, StateEntry, StatesJoin } from './events.ts';
export {
  type Accepted,
  acceptedUpTo,
  type Cut,
  covers,
  coversDot,
  decodeReport,
  distance,
  Exchange,
  type ExchangeEffect,
  type ExchangeEvent,
  type ExchangeOptions,
  encodeReport,
  type Heads,
  type Interest,
  isOfInterest,
  Leases,
  type LeaseVerdict,
  type Missing,
  missingFrom,
  type NamespaceVector,
  type PullOutcome,
  raised,
  Skew,
  skewMaxMs,
  type VectorReport,
} from './exchange/index.ts';
export {
  Feed,
  type FeedEvent,
  type FeedOptions,
  type FeedScanned,
  type FeedStart,
  type FeedStep,
  type FeedSteps,
  type GivenToken,
  type LogPart,
  mergedKeys,
  RecentCommits,
  rangesBeyond,
  reviveCommit,
  startOf,
  WrittenKeys,
} from './feed/index.ts';
export { type EpochTimes, epochTimes, foldable, headById, headOf, isFolded, moveHead, recordsIn } from './fold.ts';
export { compareHlc, type Hlc, HybridClock, hlcAheadMaxMs } from './hlc.ts';
export { isCausal, join, stateOf } from './join.ts';
export { checkKey, isReserved, keyBytesMax, namespaceOf } from './key.ts';
export {
  commitKey,
  type DataFamily,
  dataFamilies,
  expiryKey,
  liveKey,
  logKey,
  seqOfLogKey,
  versionsKey,
} from './layout.ts';
export {
  type Aside,
  acceptedOnReturn,
  carriedOn,
  cutsOf,
  evictedState,
  isCutFinal,
  isToTell,
  type MemberFact,
  type MemberState,
  newestOf,
  setAside,
  supersedes,
} from './membership/index.ts';
export { decodeHeld, heldRowKey } from './metadata.ts';
export { namespacesMax } from './namespaces.ts';
export type { Offered, OfferVerdict } from './offer.ts';
export { type ParkedWrite, parkedKey, parkedPrefix } from './parked.ts';
export { type HeldRecord, type HeldRun, quarantineAheadMs } from './quarantine.ts';
export type { LogRecord, Operation } from './record.ts';
export { decodeRecord, encodeRecord, recordBytesMax } from './record-codec.ts';
export { type Recovered, readMetadata } from './recovery.ts';
export { type NamespaceReport, Replica, type ReplicaOptions } from './replica.ts';
export { everyDot, isTombstone, liveDots, resolve, type View } from './resolve.ts';
export type { Context, Counter, Head, KeyState, Members, Siblings, Strategy, Version } from './state.ts';
export { strategyText } from './state.ts';
export type { SupersededWrite } from './superseded.ts';
export { noTag, type Token } from './token.ts';
export type {
  AddWrite,
  DeleteWrite,
  Failure,
  MembersWrite,
  PutWrite,
  Write,
  WriteDone,
  WriteOutcome,
  WriteRefused,
  WriteRequest,
  WriteResult,
} from './write.ts';
