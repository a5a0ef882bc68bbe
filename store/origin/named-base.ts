import type { ObjectId } from '../../objects/index.ts';
import type { OpenDisk } from '../commit/disk.ts';
import type { Store } from '../store.ts';
import { claimedBase } from './doubt.ts';
import { presentOriginKey } from './key.ts';

/** Not to be found by a sweep's number: only a ref that leads to a version says that all of it is there. */
export const NO_SWEEP = -1;

/**
 * The version that an overlay was checked out onto, by what this store wrote into its header: its history goes on from there, also when both files were moved and are not known any more. It does not tell
 * what the backing file holds now.
 */
export async function namedBase(
  store: Store,
  { path, header }: Pick<OpenDisk, 'path' | 'header'>,
): Promise<ObjectId | undefined> {
  if (header === undefined) return undefined;
  const claim = await claimedBase({ path, header }, await presentOriginKey(store));
  if (claim === undefined || claim.doubt !== undefined) return undefined;
  return store.sweeps.current(claim.base.commit, NO_SWEEP);
}
