import { DiskSource, findDisk, readVersion, type Store } from '../../store/index.ts';
import { resolveCommit } from '../../store/revision/resolve.ts';

/** All bytes of the only disk of a version. */
export async function readBack(store: Store, revision: string): Promise<Buffer> {
  const disk = findDisk(readVersion(store.objects, await resolveCommit(store, revision)), undefined);
  const source = new DiskSource(store.objects, disk);
  const bytes = Buffer.alloc(source.size);
  await source.read(0, bytes);
  return bytes;
}
