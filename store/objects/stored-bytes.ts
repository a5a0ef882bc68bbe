import type { ObjectDatabase } from './database.ts';

/** Bytes of all loose objects, packs and their indexes. */
export function storedBytes({ loose, packs }: ObjectDatabase): number {
  let bytes = 0;
  for (const id of loose.ids()) bytes += loose.fileSize(id) ?? 0;
  for (const pack of packs.packs()) bytes += pack.fileBytes;
  return bytes;
}
