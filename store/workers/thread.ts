import { type ErrorCode, type ErrorData, ImgstoreError } from '../../errors/index.ts';
import * as ingestJob from './ingest-job.ts';
import * as jobs from './jobs.ts';
import * as packJobs from './pack-jobs.ts';
import * as verifyJobs from './verify-jobs.ts';

/** The start of a worker thread: the jobs, with failures made into data, since a thrown error loses its code on the way. */
export type Answer<T> =
  | { readonly value: T }
  | { readonly failure: { readonly code: ErrorCode; readonly message: string; readonly data: ErrorData } };

async function answer<T>(work: () => T | Promise<T>): Promise<Answer<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    if (!(error instanceof ImgstoreError)) throw error;
    return { failure: { code: error.code, message: error.message, data: error.data } };
  }
}

export const ingest = (job: ingestJob.IngestJob) => answer(() => ingestJob.ingest(job));

export const compress = (job: jobs.CompressJob) => answer(() => jobs.compress(job));

export const restore = (job: jobs.RestoreJob) => answer(() => jobs.restore(job));

export const sketch = (job: packJobs.SketchJob) => answer(() => packJobs.sketchObjects(job));

export const deltify = (job: packJobs.DeltaJob) => answer(() => packJobs.deltifyObjects(job));

export const verify = (items: readonly verifyJobs.ObjectToVerify[]) =>
  answer(() => verifyJobs.verifyObjects(items));

export const checksum = (path: string) => answer(() => verifyJobs.fileChecksum(path));
