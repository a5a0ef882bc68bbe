import { isImgstoreError } from '../../errors/index.ts';
import type { ObjectId, TreeEntry } from '../../objects/index.ts';
import { walkCommits } from '../history/walk.ts';
import { isVersionRef } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { tryReadVersion, type Version } from '../version/version.ts';
import type { StoredDisk } from './store-disk.ts';

/** What makes two versions the same to a guest: its disks and what is attached. From which kind of file they were read does not count. */
export interface Content {
  readonly clusterSize: number;
  readonly disks: readonly StoredDisk[];
  readonly files: readonly TreeEntry[];
}

/** Whether a version holds this content. */
export function hasContent(version: Version, content: Content): boolean {
  const { disks, files } = version;
  return (
    version.record.clusterSize === content.clusterSize &&
    disks.length === content.disks.length &&
    files.length === content.files.length &&
    content.disks.every((disk) => {
      const same = disks.find((each) => each.name === disk.name);
      return same !== undefined && same.virtualSize === disk.virtualSize && same.map.id === disk.map.id;
    }) &&
    content.files.every((file) => files.some((each) => each.name === file.name && each.id === file.id))
  );
}

/** The newest version of any branch or tag that holds this content. Commits that imgstore did not make, and refs that
 * lead nowhere, are passed over: they must not keep a new image out. */
export async function findSameContent(store: Store, content: Content): Promise<Version | undefined> {
  const refs = (await store.refs.list()).filter((ref) => isVersionRef(ref.name));
  const tips = refs.flatMap((ref) => tryPeelToCommit(store, ref.id) ?? []);
  try {
    for (const { id } of walkCommits(store.objects, tips)) {
      const version = tryReadVersion(store.objects, id);
      if (version !== undefined && hasContent(version, content)) return version;
    }
  } catch (error) {
    // A history with a hole in it; without the comparison the branch begins with a commit of its own.
    if (!isImgstoreError(error)) throw error;
  }
  return undefined;
}

function tryPeelToCommit(store: Store, id: ObjectId): ObjectId | undefined {
  try {
    const peeled = store.objects.peel(id);
    return store.objects.header(peeled).type === 'commit' ? peeled : undefined;
  } catch (error) {
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
}
