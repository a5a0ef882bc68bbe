import type { RemoteContent } from '../../../remote/index.ts';
import { readPackList } from '../../lazy/pack-list.ts';
import type { BucketRemote } from './bucket-remote.ts';
import { notedPacks } from './journal.ts';

/**
 * Removes the kept indexes of packs that have left the bucket's list. Those stay that a push which was interrupted counts on, and those that a lazy clone's own list has: its readers take no lock, and open them by it.
 * Whoever else uses indexes by their names holds the lock of the remote's place, as the caller does.
 */
export async function removeOldIndexes(
  { indexes, place }: BucketRemote,
  { packs }: RemoteContent,
): Promise<void> {
  const [noted, promised = []] = await Promise.all([notedPacks(place.journal), readPackList(place.packList)]);
  await indexes.keepOnly(new Set([...packs.values(), ...noted, ...promised].map(({ pack }) => pack)));
}
