export {
  type BackupReport,
  type ImportOptions,
  type ImportReport,
  importRepository,
  restoreBackup,
  writeBackup,
} from './backup.ts';
export { type ExportReport, exportRepository, type RepositoryContent } from './bare.ts';
export { type BundleReport, writeBundle } from './bundle.ts';
export { openPolicyRepository, type PolicyRepositoryOptions } from './open.ts';
export { nodePrimitives, zlibCodec } from './primitives.ts';
