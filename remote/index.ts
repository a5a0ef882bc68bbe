/**
 * Moving objects and refs to and from other places.
 *
 * - **git**: the installed program, run for what only it can do: going to git servers.
 * - **bucket**: a flat space of named objects on a server (S3). What is put under a name that says its content never changes.
 * - **age**: a bucket whose objects are encrypted, each a file of age-encryption.org/v1 (docs/format/remote-encryption.md).
 *
 * @module
 */
export { encryptedBucket } from './age/encrypted-bucket.ts';
export { isEncrypted } from './age/header.ts';
export type { KeyFiles } from './age/key-file.ts';
export type { AgeKeys } from './age/keys.ts';
export { openKeys } from './age/open-keys.ts';
export type {
  Bucket,
  BucketBody,
  BucketEntry,
  BucketRange,
  BucketTraffic,
  RepeatableBody,
} from './bucket/bucket.ts';
export { bytesBody } from './bucket/bytes-body.ts';
export { type ConditionalPut, type ProbeFinding, type ProbeResult, probeBucket } from './bucket/probe.ts';
export { openS3 } from './bucket/s3/open-s3.ts';
export type { Environment, S3Credentials, S3Limits, S3Options } from './bucket/s3/options.ts';
export { gitFailure } from './git/failure.ts';
export { type GitRefs, parseGitRefs } from './git/list-refs.ts';
export type { GitProgress } from './git/progress.ts';
export { type PushedRef, parsePushReport } from './git/push-report.ts';
export { type GitOutcome, type GitRun, isAtTerminal, runGit } from './git/run.ts';
export { beginRemote, checkPlace, checkRemote } from './layout/format.ts';
export type { RemotePlace } from './layout/index-view.ts';
export { RemoteIndexes } from './layout/indexes.ts';
export {
  CHECKPOINTS,
  checkpointName,
  FORMAT_NAME,
  indexName,
  isRemoteName,
  newUpload,
  PACKS,
  type PackUpload,
  packName,
  STATES,
  stateName,
  stateNumber,
} from './layout/names.ts';
export {
  applyChange,
  type BuriedPack,
  type PackKind,
  type RemoteChange,
  type RemoteContent,
  type RemotePack,
  type RemoteRefMove,
} from './layout/state.ts';
export {
  type CheckpointCache,
  type RemoteSnapshot,
  RemoteStates,
  type SeenState,
  type StateMemory,
} from './layout/states.ts';
