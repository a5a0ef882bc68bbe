import { DiskSource, findDisk, readVersion, resolveCommit, type Store } from '../../../store/index.ts';

/** The bytes of a version's disk, read through the store. */
export async function diskBytes(store: Store, revision: string, disk?: string): Promise<Buffer> {
  const version = readVersion(store.objects, await resolveCommit(store, revision));
  const source = new DiskSource(store.objects, findDisk(version, disk));
  const bytes = Buffer.alloc(source.size, 0xee);
  await source.read(0, bytes);
  return bytes;
}
