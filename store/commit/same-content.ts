import type { TreeEntry } from '../../objects/index.ts';
import { findTips } from '../history/tips.ts';
import { walkCommits } from '../history/walk.ts';
import { VERSION_REFS } from '../refs/name.ts';
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

/** The newest version of any branch or tag that holds this content. Commits that imgstore did not make, and all that cannot be read,
 * are passed over: they must not keep a new image out. */
export async function findSameContent(store: Store, content: Content): Promise<Version | undefined> {
  const { tips } = await findTips(store, ...VERSION_REFS);
  const starts = tips.map(({ id }) => id);
  for (const { id } of walkCommits(store.objects, starts, passOver)) {
    const version = tryReadVersion(store.objects, id);
    if (version !== undefined && hasContent(version, content)) return version;
  }
  return undefined;
}

function passOver(): void {
  // The verbs that list say what is damaged.
}
