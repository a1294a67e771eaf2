export { backupMethods } from './backup.ts';
export type { Damage, DamageList } from './damage.ts';
export {
  type Applied,
  Engine,
  type EngineOptions,
  type NamespaceSettings,
  openEngine,
  type ReplicationView,
} from './engine.ts';
export type { Entry } from './entry.ts';
export { checkRecord, type RecordName } from './fact-walk.ts';
export { openFacts } from './facts.ts';
export { Freshness } from './freshness.ts';
export { versionsOf } from './history.ts';
export { type KeyPattern, readPattern } from './pattern.ts';
export { type Scanned, scan } from './scan.ts';
export { Scrubber, scrubMethods } from './scrub.ts';
export { createDataService, type DataService, type DataServiceOptions } from './service.ts';
export { settingsFrom } from './settings.ts';
export { describeNamespace } from './stats.ts';
export { type SupersededPage, type SupersededReport, supersededWrites } from './superseded.ts';
export type { Acks } from './writes.ts';
