export { type FetchEffect, type FetchEvent, Fetches, type FetchesOptions, type Stretch } from './fetches.ts';
export { Holdings, type HoldingsOptions } from './holdings.ts';
export { type Publication, PublishLine, PublishLines } from './publish-lines.ts';
export { type Claim, Reception, type ReceptionOptions, type Standing } from './reception.ts';
export {
  type LogRange,
  type LogSlice,
  PageGatherer,
  SliceGatherer,
  type SnapshotPage,
  type SnapshotRow,
} from './slice.ts';
