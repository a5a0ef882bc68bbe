import type { Commit, ObjectId } from '../../objects/index.ts';
import { BRANCHES, shortRefName } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { tryReadVersion, type VersionDisk } from '../version/version.ts';
import { walkCommits } from './walk.ts';

/** An image: a branch with its last version. */
export interface ListedImage {
  readonly name: string;
  readonly id: ObjectId;
  readonly commit: Commit;
  /** Versions on the way to the first. */
  readonly versions: number;
  readonly disks: readonly VersionDisk[];
}

/** All images by name. */
export async function listImages(store: Store): Promise<ListedImage[]> {
  const images: ListedImage[] = [];
  for (const { name, id } of await store.refs.list(BRANCHES)) {
    let versions = 0;
    let tip: Commit | undefined;
    for (const { commit } of walkCommits(store.objects, [id])) {
      tip ??= commit;
      versions++;
    }
    images.push({
      name: shortRefName(name),
      id,
      commit: tip!,
      versions,
      disks: tryReadVersion(store.objects, id)?.disks ?? [],
    });
  }
  return images;
}
