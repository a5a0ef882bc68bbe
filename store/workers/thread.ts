import { parentPort } from 'node:worker_threads';
import { ImgstoreError } from '../../errors/index.ts';
import { type Answer, type Question, READY } from './question.ts';

type Work = (job: never) => unknown;

/** Loaded when the first of its kind comes: a thread that only hashes and deflates starts in half the time. */
const JOBS: Readonly<Record<string, () => Promise<Work>>> = {
  ingest: async () => (await import('./ingest-job.ts')).ingest,
  restore: async () => (await import('./jobs.ts')).restore,
  restorePacked: async () => (await import('./jobs.ts')).restorePacked,
  fetchPacked: async () => (await import('./fetch-job.ts')).fetchPacked,
  fetchLocated: async () => (await import('./fetch-job.ts')).fetchLocated,
  patch: async () => (await import('./patch-job.ts')).patch,
  compress: async () => (await import('./jobs.ts')).compress,
  sketch: async () => (await import('./pack-jobs.ts')).sketchObjects,
  deltify: async () => (await import('./pack-jobs.ts')).deltifyObjects,
  verify: async () => (await import('./verify-jobs.ts')).verifyObjects,
  checksum: async () => (await import('./verify-jobs.ts')).fileChecksum,
};

const loaded = new Map<string, Work>();

async function answer({ name, job }: Question): Promise<Answer<unknown>> {
  try {
    let work = loaded.get(name);
    if (work === undefined) {
      work = await JOBS[name]!();
      loaded.set(name, work);
    }
    return { value: await work(job as never) };
  } catch (error) {
    if (!(error instanceof ImgstoreError)) throw error;
    return { failure: { code: error.code, message: error.message, data: error.data } };
  }
}

parentPort!.on('message', (question: Question) => {
  answer(question).then(
    (answered) => parentPort!.postMessage([question.number, answered]),
    // A mistake in the program ends the thread, which whoever has asked is told of.
    (error: unknown) =>
      queueMicrotask(() => {
        throw error;
      }),
  );
});

parentPort!.postMessage(READY);
