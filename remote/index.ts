/**
 * Moving objects and refs to and from other places.
 *
 * - **git**: the installed program, run for what only it can do: going to git servers.
 * - **bucket**: a flat space of named objects on a server (S3). What is put under a name that says its content never changes.
 *
 * @module
 */
export type {
  Bucket,
  BucketBody,
  BucketEntry,
  BucketRange,
  BucketTraffic,
  RepeatableBody,
} from './bucket/bucket.ts';
export { gitFailure } from './git/failure.ts';
export { type GitRefs, parseGitRefs } from './git/list-refs.ts';
export type { GitProgress } from './git/progress.ts';
export { type PushedRef, parsePushReport } from './git/push-report.ts';
export { type GitOutcome, type GitRun, runGit } from './git/run.ts';
