import { isImgstoreError } from '../../errors/index.ts';
import { openDisk } from '../commit/open-disk.ts';
import type { CheckoutJob } from './job.ts';

/**
 * Notes in the stat cache what a new file holds, so that committing it unchanged reads nothing and an overlay on it finds its parent.
 * @param mtimeNs of the file before it got its name: another one now means that somebody has written to it
 */
export async function rememberOutput(
  { store, commit, disk, clusters, path, allowBacking, damage }: CheckoutJob,
  mtimeNs: bigint,
): Promise<void> {
  // It holds no version, or stands on a file that holds none.
  if (damage !== undefined && !damage.isEmpty) return;
  try {
    const file = await openDisk(path, { allowBacking });
    try {
      if (file.files?.identities[0]?.mtimeNs !== String(mtimeNs)) return;
      await store.statCache.put(file.files, file.lookedNs, { commit, disk: disk.name, clusters });
    } finally {
      await file.source.close();
    }
  } catch (error) {
    // The file is complete; that it cannot be opened under the rules for images (a backing file elsewhere) costs time later only.
    if (!isImgstoreError(error)) throw error;
  }
}
