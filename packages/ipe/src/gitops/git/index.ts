export { checkBranch, checkDirectory, type Location, parseLocation } from './location.ts';
export { type Mirror, type MirrorLimits, mirrorFolder, mirrorLimits, openMirror, type RemoteAccess } from './mirror.ts';
export {
  isAncestor,
  listTree,
  type ReadLimits,
  readBlobs,
  readCommit,
  readLimits,
  resolveCommit,
  type SignatureRequirement,
  type SourceCommit,
  type SourceEntry,
  type SourceKind,
  verifySignature,
} from './read.ts';
export { createGit, type Git, type GitOptions, type SshOptions } from './run.ts';
