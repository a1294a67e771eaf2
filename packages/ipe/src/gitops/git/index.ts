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
  type SourceCommit,
  type SourceEntry,
  type SourceKind,
} from './read.ts';
export { createGit, type Git, type GitOptions, type SshOptions } from './run.ts';
export { type SignatureRequirement, verifySignature } from './signature.ts';
