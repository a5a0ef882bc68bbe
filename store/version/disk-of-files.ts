import type { KnownFiles } from '../stat-cache.ts';
import type { Store } from '../store.ts';
import { tryReadDisk, type VersionDisk } from './version.ts';

/**
 * What files hold: known from the stat cache when none of them has changed since they were committed or checked out. The stat cache may outlive a version, or a part of its map: whoever needs all
 * of that looks.
 * @param files undefined for those that do not tell what they hold
 */
export async function diskOfFiles(
  store: Store,
  files: KnownFiles | undefined,
): Promise<VersionDisk | undefined> {
  const known = files === undefined ? undefined : await store.statCache.get(files);
  return known && tryReadDisk(store.objects, known);
}
