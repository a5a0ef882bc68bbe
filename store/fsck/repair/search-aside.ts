import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isImgstoreError } from '../../../errors/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import { FileBytes, Idx, lowerBound, Pack, scanPack } from '../../../pack/index.ts';
import type { Store } from '../../store.ts';
import { ASIDE_FOLDER } from './aside.ts';
import type { NewPacks } from './new-packs.ts';
import { SalvageReader } from './salvage-reader.ts';

/**
 * Takes wanted objects out of packs that earlier repairs have set aside: deltas that were lost with their base can be read once the base is here
 * again.
 */
export async function searchAside(store: Store, wanted: Set<ObjectId>, into: NewPacks): Promise<void> {
  for (const stem of asideStems(store)) {
    if (wanted.size === 0) return;
    const pack = await openAside(stem);
    try {
      const reader = new SalvageReader(store, pack);
      for (const id of [...wanted]) {
        const position = pack.idx.find(id);
        if (position === undefined) continue;
        const offset = pack.idx.offset(position);
        const object = reader.read(lowerBound(0, pack.idx.count, (i) => reader.order.offset(i) < offset));
        if (object === undefined) continue;
        await into.addData(id, object.type, object.data);
        wanted.delete(id);
      }
    } finally {
      pack.close();
    }
  }
}

function asideStems(store: Store): string[] {
  const folder = join(store.folder, ASIDE_FOLDER);
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /pack-[0-9a-f]+\.pack$/.test(name))
    .map((name) => join(folder, name.slice(0, -'.pack'.length)));
}

async function openAside(stem: string): Promise<Pack> {
  let file: FileBytes | undefined;
  try {
    file = new FileBytes(`${stem}.idx`);
    const idx = new Idx(file);
    idx.verify();
    return new Pack(stem, { idx, file });
  } catch (error) {
    file?.close();
    if (!isImgstoreError(error)) throw error;
    const idx = (await scanPack(`${stem}.pack`)).idx(`${stem}.idx`);
    return new Pack(stem, { idx, file: { size: 0, close: () => {} } });
  }
}
