import type { Commit, ObjectId } from '../../objects/index.ts';
import { MISSING_REMEDY, refWithKind } from '../refs/damage.ts';
import { BRANCHES, shortRefName } from '../refs/name.ts';
import type { Ref } from '../refs/refs.ts';
import type { Store } from '../store.ts';
import { tryReadVersion, type VersionDisk } from '../version/version.ts';
import { findTips } from './tips.ts';
import { lostText, walkCommits } from './walk.ts';

/** An image: a branch with its last version. */
export interface ListedImage {
  readonly name: string;
  /** Undefined for a damaged branch of which that much cannot be read. */
  readonly id: ObjectId | undefined;
  /** Undefined for a damaged branch of which that much cannot be read. */
  readonly commit: Commit | undefined;
  /** Versions on the way to the first; of a damaged branch those that can be reached. */
  readonly versions: number;
  /** Empty for a commit that imgstore did not make. */
  readonly disks: readonly VersionDisk[];
  /** What is wrong with the branch, its last version or its history, and what to do. */
  readonly damaged: string | undefined;
}

/** All images by name, damaged ones too. @throws ImgstoreError `DAMAGED` for a line of `packed-refs`, `IO`. */
export async function listImages(store: Store): Promise<ListedImage[]> {
  const { tips, damaged } = await findTips(store, BRANCHES);
  const images: ListedImage[] = tips.map((tip) => readImage(store, tip));
  for (const { name, id, message } of damaged)
    images.push({
      name: shortRefName(name),
      id,
      commit: undefined,
      versions: 0,
      disks: [],
      damaged: message,
    });
  return images.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readImage(store: Store, { name, id }: Ref): ListedImage {
  const faults: string[] = [];
  let versions = 0;
  let tip: Commit | undefined;
  for (const { commit } of walkCommits(store.objects, [id], (lost) => faults.push(lostText(lost)))) {
    tip ??= commit;
    versions++;
  }
  const version = tip && tryReadVersion(store.objects, id, ({ message }) => faults.push(message));
  const [fault] = faults;
  return {
    name: shortRefName(name),
    id,
    commit: tip,
    versions,
    disks: version?.disks ?? [],
    damaged: fault === undefined ? undefined : `${refWithKind(name)}: ${fault}: ${MISSING_REMEDY}`,
  };
}
