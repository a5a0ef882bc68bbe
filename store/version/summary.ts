import { isImgstoreError } from '../../errors/index.ts';
import type { Commit, ObjectId } from '../../objects/index.ts';
import { diffVersions } from '../compare/diff.ts';
import { isVersionRef, shortRefName } from '../refs/name.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { ClusterCounter } from './count.ts';
import { dataBytes } from './data-bytes.ts';
import { readVersion, type VersionDisk } from './version.ts';

/** All about one version. */
export interface VersionSummary {
  readonly id: ObjectId;
  readonly commit: Commit;
  /** Short names of branches and tags that are just here. */
  readonly refs: readonly string[];
  /** With the bytes of each that are not zeros. */
  readonly disks: readonly { readonly disk: VersionDisk; readonly dataBytes: number }[];
  readonly files: readonly { readonly name: string; readonly size: number; readonly id: ObjectId }[];
  /** Bytes in clusters that differ from the first parent; undefined for a first version, or one that cannot be compared. */
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
  const refs = (await store.refs.list()).filter(
    (ref) => isVersionRef(ref.name) && store.objects.peel(ref.id) === id,
  );
  return {
    id,
    commit: version.commit,
    refs: refs.map((ref) => shortRefName(ref.name)),
    disks,
    files: version.files.map((file) => ({
      name: file.name,
      size: store.objects.header(file.id).size,
      id: file.id,
    })),
    changedBytes: await changedBytes(store, version.commit.parents[0], id),
  };
}

async function changedBytes(
  store: Store,
  parent: ObjectId | undefined,
  id: ObjectId,
): Promise<number | undefined> {
  if (parent === undefined) return undefined;
  try {
    let bytes = 0;
    for await (const { length } of diffVersions(store, parent, id)) bytes += length;
    return bytes;
  } catch (error) {
    // A parent with clusters of another size, or one that imgstore did not make.
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
}
