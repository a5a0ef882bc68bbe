import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { examineStore } from './examine.ts';
import type { FsckReport } from './report.ts';

export interface FsckRequest {
  /** The structure alone: no object is inflated but commits and trees. */
  readonly quick?: boolean | undefined;
}

/**
 * Checks everything in a store: every copy of every object, the files around them, and all that refs and reflogs lead to. Changes nothing, and goes on beside other processes
 * that commit, pack and collect garbage.
 * @throws ImgstoreError `IO`, `INTERRUPTED`
 */
export async function checkStore(
  store: Store,
  request: FsckRequest = {},
  monitor: Monitor = {},
): Promise<FsckReport> {
  const examination = await examineStore(store, request.quick ?? false, monitor);
  examination.close();
  return examination.report;
}
