/**
 * Moving objects and refs to and from other places.
 *
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
export { type ConditionalPut, type ProbeFinding, type ProbeResult, probeBucket } from './bucket/probe.ts';
export type { Environment, S3Credentials, S3Limits, S3Options } from './bucket/s3/options.ts';
export { openS3 } from './bucket/s3/s3-bucket.ts';
