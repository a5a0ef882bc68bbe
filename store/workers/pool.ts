import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { ImgstoreError } from '../../errors/index.ts';
import * as fetchJob from './fetch-job.ts';
import * as ingestJob from './ingest-job.ts';
import * as jobs from './jobs.ts';
import * as packJobs from './pack-jobs.ts';
import * as patchJob from './patch-job.ts';
import type { Answer } from './question.ts';
import { Threads } from './threads.ts';
import * as verifyJobs from './verify-jobs.ts';

/**
 * Below this much data the jobs run in the calling thread: a thread takes some 40 ms to start, in which one core hashes 60 MB.
 */
const LEAST_BYTES_FOR_THREADS = 16 * 1024 * 1024;

/** More threads than this are limited by the reading thread that feeds them. */
const MOST_THREADS = 16;

type JobName =
  | 'ingest'
  | 'restore'
  | 'restorePacked'
  | 'fetchPacked'
  | 'fetchLocated'
  | 'patch'
  | 'compress'
  | 'sketch'
  | 'deltify'
  | 'verify'
  | 'checksum';

/** Hashing, deflating, restoring and compressing of clusters on all cores, or in place when there is little to do. */
export class ClusterWorkers {
  /** Number of jobs that can run at once. */
  readonly threads: number;
  readonly #pool: Threads | undefined;
  /** When the last of the jobs that this thread has taken over may begin: one in each turn of the event loop. */
  #turn: Promise<void> = Promise.resolve();

  /** @param expectedBytes about how much data will come */
  constructor(expectedBytes: number) {
    const inPlace = expectedBytes < LEAST_BYTES_FOR_THREADS;
    this.threads = inPlace ? 1 : Math.min(availableParallelism(), MOST_THREADS);
    if (inPlace) return;
    this.#pool = new Threads(threadFile(), this.threads);
  }

  ingest(job: ingestJob.IngestJob): Promise<ingestJob.IngestedClusters> {
    return this.#run('ingest', job, ingestJob.ingest);
  }

  restore(job: jobs.RestoreJob<jobs.RestoreItem>): Promise<void> {
    return this.#run('restore', job, jobs.restore);
  }

  restorePacked(job: jobs.RestoreJob<jobs.PackedItem>): Promise<number[]> {
    return this.#run('restorePacked', job, jobs.restorePacked);
  }

  fetchPacked(items: readonly fetchJob.PackedFetch[]): Promise<number[]> {
    return this.#run('fetchPacked', items, fetchJob.fetchPacked);
  }

  fetchLocated(items: readonly fetchJob.LocatedFetch[]): Promise<void> {
    return this.#run('fetchLocated', items, fetchJob.fetchLocated);
  }

  patch(job: patchJob.PatchJob): Promise<number> {
    return this.#run('patch', job, patchJob.patch);
  }

  compress(job: jobs.CompressJob): Promise<jobs.CompressedItem[]> {
    return this.#run('compress', job, jobs.compress);
  }

  sketch(job: packJobs.SketchJob): Promise<number[][]> {
    return this.#run('sketch', job, packJobs.sketchObjects);
  }

  deltify(job: packJobs.DeltaJob): Promise<packJobs.PackedForm[]> {
    return this.#run('deltify', job, packJobs.deltifyObjects);
  }

  verify(items: readonly verifyJobs.ObjectToVerify[]): Promise<verifyJobs.Verdicts> {
    return this.#run('verify', items, verifyJobs.verifyObjects);
  }

  checksum(path: string): Promise<string> {
    return this.#run('checksum', path, verifyJobs.fileChecksum);
  }

  /** Makes the threads come up while there is something else to do. */
  start(): void {
    this.#pool?.start();
  }

  /** Ends the threads. Jobs must have been waited for. */
  async close(): Promise<void> {
    await this.#pool?.close();
  }

  async #run<Job, Result>(
    name: JobName,
    job: Job,
    inPlace: (job: Job) => Result | Promise<Result>,
  ): Promise<Result> {
    if (this.#pool === undefined) return inPlace(job);
    // Until threads have come up, which takes 50 to 90 ms, this one does what it can; it looks for them between two jobs.
    this.#pool.start();
    if (!this.#pool.isReady) {
      this.#turn = this.#turn.then(() => setImmediate());
      await this.#turn;
      if (!this.#pool.isReady) return inPlace(job);
    }
    const answer = (await this.#pool.run(name, job)) as Answer<Result>;
    if ('failure' in answer)
      throw new ImgstoreError(answer.failure.code, answer.failure.message, answer.failure.data);
    return answer.value;
  }
}

/** The compiled thread, through the package's own imports: also when this file runs as TypeScript, which threads cannot load. */
function threadFile(): URL {
  return pathToFileURL(createRequire(import.meta.url).resolve('#store-worker'));
}
