import { isImgstoreError } from '../../errors/index.ts';
import { openDisk } from '../commit/open-disk.ts';
import type { KnownFile } from '../stat-cache.ts';
import type { Store } from '../store.ts';

/**
 * Notes in the stat cache what a new file holds, so that committing it unchanged reads nothing and an overlay on it finds its parent. The file was
 * written a moment ago: its times are told to be settled only because nobody else has had it yet, so the clock is waited for.
 */
export async function rememberOutput(store: Store, path: string, known: KnownFile): Promise<void> {
  try {
    const file = await openDisk(path, {});
    try {
      if (file.files !== undefined) await store.statCache.put(file.files, file.lookedNs, known);
    } finally {
      await file.source.close();
    }
  } catch (error) {
    // The file is complete; that it cannot be opened under the rules for images (a backing file elsewhere) costs time later only.
    if (!isImgstoreError(error)) throw error;
  }
}
