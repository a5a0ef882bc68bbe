import type { Commit, ObjectId } from '../../objects/index.ts';
import { BRANCHES, isVersionRef, shortRefName } from '../refs/name.ts';
import { resolveRevision } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { tryReadVersion, type VersionDisk } from '../version/version.ts';
import { walkCommits } from './walk.ts';

/** A version as a list shows it. */
export interface LoggedVersion {
  readonly id: ObjectId;
  readonly commit: Commit;
  /** The branch by which it was found; undefined when it was found by an id or tag. */
  readonly branch: string | undefined;
  /** Short names of the refs that are just here. */
  readonly refs: readonly string[];
  /** Empty for a commit that is not a version of imgstore. */
  readonly disks: readonly VersionDisk[];
}

/** Where a log starts. */
export interface LogStart {
  /** All branches when not given: a store has none that is checked out. */
  readonly revision?: string | undefined;
  /** Tags and remotes' branches too. */
  readonly all?: boolean | undefined;
}

/** The versions that some starts lead to, newest first. @throws ImgstoreError `NOT_FOUND` for an unknown revision. */
export async function* logVersions(store: Store, { revision, all }: LogStart): AsyncGenerator<LoggedVersion> {
  const refs = (await store.refs.list()).filter((ref) => isVersionRef(ref.name));
  const starts =
    revision !== undefined
      ? [await resolveRevision(store, revision).then(({ id, ref }) => ({ id, name: ref ?? '' }))]
      : refs.filter(({ name }) => all || name.startsWith(BRANCHES));
  const tips = starts
    .map(({ id, name }) => ({ id: store.objects.peel(id), name }))
    .filter(({ id }) => store.objects.header(id).type === 'commit');
  const here = new Map<ObjectId, string[]>();
  for (const { id, name } of refs) {
    const peeled = store.objects.peel(id);
    here.set(peeled, [...(here.get(peeled) ?? []), shortRefName(name)]);
  }
  for (const { id, commit, start } of walkCommits(
    store.objects,
    tips.map((tip) => tip.id),
  )) {
    const name = tips[start]!.name;
    const branch = name.startsWith(BRANCHES) ? shortRefName(name) : undefined;
    yield {
      id,
      commit,
      branch,
      refs: here.get(id) ?? [],
      disks: tryReadVersion(store.objects, id)?.disks ?? [],
    };
  }
}

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
