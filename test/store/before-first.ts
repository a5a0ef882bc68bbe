import { onTestFinished, vi } from 'vitest';
import { ClusterWorkers } from '../../store/workers/pool.ts';

type Job = Exclude<keyof ClusterWorkers, 'threads' | 'close'>;

/** Does something once, when places of objects were found and their bytes not read, just before the first job of a kind. Returns how many jobs there were. */
export function beforeFirst(job: Job, work: () => void): () => number {
  const original = ClusterWorkers.prototype[job] as (this: ClusterWorkers, job: never) => Promise<never>;
  let calls = 0;
  const spy = vi.spyOn(ClusterWorkers.prototype, job).mockImplementation(function (
    this: ClusterWorkers,
    each: unknown,
  ) {
    if (calls++ === 0) work();
    return original.call(this, each as never);
  });
  onTestFinished(() => spy.mockRestore());
  return () => calls;
}
