import { isImgstoreError } from '../../errors/index.ts';
import type { Commit, ObjectId } from '../../objects/index.ts';
import { findTips } from '../history/tips.ts';
import { shortRefName, VERSION_REFS } from '../refs/name.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { ClusterCounter } from './count.ts';
import { dataBytes } from './data-bytes.ts';
import { diffDiskMaps } from './map-errors.ts';
import { readVersion, tryReadVersion, type Version, type VersionDisk } from './version.ts';

/** All about one version. */
export interface VersionSummary {
  readonly id: ObjectId;
  readonly commit: Commit;
  /** Short names of branches and tags that are just here. */
  readonly refs: readonly string[];
  /** With the bytes of each that are not zeros. */
  readonly disks: readonly { readonly disk: VersionDisk; readonly dataBytes: number }[];
  readonly files: readonly { readonly name: string; readonly size: number; readonly id: ObjectId }[];
  /** Bytes in clusters that differ from the first parent; undefined for a first version, or when the parent's clusters have another size or it cannot be read. */
  readonly changedBytes: number | undefined;
}

/** Gathers what there is to say about a version. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`. */
export async function summarizeVersion(store: Store, revision: string): Promise<VersionSummary> {
  const id = await resolveCommit(store, revision);
  const version = readVersion(store.objects, id);
  const counter = new ClusterCounter(store.objects.readTree);
  const disks: { disk: VersionDisk; dataBytes: number }[] = [];
  for (const disk of version.disks)
    disks.push({ disk, dataBytes: await dataBytes(store.objects, disk, counter) });
  const { tips } = await findTips(store, ...VERSION_REFS);
  await store.objects.bring(version.files.map(({ id }) => id));
  return {
    id,
    commit: version.commit,
    refs: tips.filter((tip) => tip.id === id).map((tip) => shortRefName(tip.name)),
    disks,
    files: version.files.map((file) => ({
      name: file.name,
      size: store.objects.header(file.id).size,
      id: file.id,
    })),
    changedBytes: await changedBytes(store, version),
  };
}

/** Counted by the maps alone; a disk that the parent does not have counts whole. */
async function changedBytes(store: Store, version: Version): Promise<number | undefined> {
  const [id] = version.commit.parents;
  const parent = id === undefined ? undefined : tryReadVersion(store.objects, id);
  if (parent?.record.clusterSize !== version.record.clusterSize) return undefined;
  let clusters = 0;
  try {
    for (const disk of version.disks) {
      const before = parent.disks.find((each) => each.name === disk.name) ?? {
        ...disk,
        version: parent.id,
        map: { id: undefined, levels: 1 },
      };
      for await (const _ of diffDiskMaps(store.objects, before, disk)) clusters++;
    }
  } catch (error) {
    // The version's own maps were read before: those of the parent are damaged.
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
  return clusters * version.record.clusterSize;
}
