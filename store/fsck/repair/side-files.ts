import { dirname } from 'node:path';
import { type FileKind, PendingFile, syncFolder } from '../../../files/index.ts';
import { encodeRev, PackOrder, scanPack } from '../../../pack/index.ts';
import type { PackSource } from '../pack-source.ts';
import type { Aside } from './aside.ts';

/** Permission bits: indexes are replaced, never changed. */
const INDEX_MODE = 0o444;

/** Makes the indexes of a pack anew from what it holds. The old ones go aside. @throws ImgstoreError `IO` */
export async function rebuildIndexes(stem: string, aside: Aside): Promise<void> {
  const scanned = await scanPack(`${stem}.pack`);
  await replace('rev', `${stem}.rev`, scanned.encodeRev(), aside);
  // Last, as it is what makes a pack visible.
  await replace('idx', `${stem}.idx`, scanned.encodeIdx(), aside);
}

/** Makes the reverse index of a pack anew from its index. @throws ImgstoreError `IO` */
export async function rebuildRev({ stem, pack }: PackSource, aside: Aside): Promise<void> {
  const rev = encodeRev(new PackOrder(pack).positions, pack.idx.packChecksum());
  await replace('rev', `${stem}.rev`, rev, aside);
}

async function replace(kind: FileKind, path: string, bytes: Uint8Array, aside: Aside): Promise<void> {
  const file = await PendingFile.create(kind, dirname(path), {
    mode: INDEX_MODE,
    sharing: aside.rules.sharing,
  });
  try {
    await file.write(0, bytes);
    await file.sync();
    await aside.keep(path);
    await file.rename(path);
  } catch (error) {
    await file.discard();
    throw error;
  }
  await syncFolder(kind, dirname(path));
}
