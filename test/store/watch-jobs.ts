import { onTestFinished, vi } from 'vitest';
import { ClusterWorkers } from '../../store/workers/pool.ts';

type Job = Exclude<keyof ClusterWorkers, 'threads' | 'close'>;

/** Shows each job of a kind before it is given to a thread, until the test ends. */
export function watchJobs(job: Job, look: (given: unknown) => void): void {
  const original = ClusterWorkers.prototype[job] as (this: ClusterWorkers, given: never) => Promise<never>;
  const spy = vi.spyOn(ClusterWorkers.prototype, job).mockImplementation(function (
    this: ClusterWorkers,
    given: unknown,
  ) {
    look(given);
    return original.call(this, given as never);
  });
  onTestFinished(() => spy.mockRestore());
}

/** Does something once, when places of objects were found and their bytes not read, just before the first job of a kind. Returns how many jobs there were. */
export function beforeFirst(job: Job, work: () => void): () => number {
  let calls = 0;
  watchJobs(job, () => {
    if (calls++ === 0) work();
  });
  return () => calls;
}
