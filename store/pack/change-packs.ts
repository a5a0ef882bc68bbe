import { basename, join } from 'node:path';
import { removeLeftBehind } from '../objects/left-behind.ts';
import { storedBytes } from '../objects/stored-bytes.ts';
import type { Store } from '../store.ts';
import { refreshMultiPackIndex } from './multi-pack-index.ts';
import { takePackLock } from './pack-lock.ts';
import { SketchIndex } from './sketch-index.ts';

/** What a change of a store's packs came to. */
export interface PackChange {
  /** Packs in the store now. */
  readonly packs: number;
  /** Bytes of all loose objects, packs and their indexes. */
  readonly storedBytesBefore: number;
  readonly storedBytesAfter: number;
  readonly seconds: number;
}

/**
 * Does work that replaces packs, as the only process of the store that does so, and with its sketches; what killed processes have left goes first.
 * @throws ImgstoreError `BUSY` when another process packs or collects, `INTERRUPTED`, `IO`, and what the work throws
 */
export async function changePacks<T>(
  store: Store,
  work: (index: SketchIndex) => Promise<T>,
): Promise<{ readonly made: T; readonly change: PackChange }> {
  const started = performance.now();
  const lock = await takePackLock(store);
  try {
    const index = await SketchIndex.open(join(store.folder, 'imgstore', 'sketches'), store.rules);
    try {
      await removeLeftBehind(store.objects);
      store.objects.packs.refresh();
      const storedBytesBefore = storedBytes(store.objects);
      const made = await work(index);
      await refreshMultiPackIndex(store, []);
      const change = {
        packs: store.objects.packs.packs().length,
        storedBytesBefore,
        storedBytesAfter: storedBytes(store.objects),
        seconds: (performance.now() - started) / 1000,
      };
      return { made, change };
    } finally {
      await index.close();
    }
  } finally {
    await lock.release();
  }
}

/** The checksum that a pack is named by. @param stem its path without ending */
export function checksumOf({ stem }: { readonly stem: string }): string {
  return basename(stem).slice('pack-'.length);
}
