import { isImgstoreError } from '../../errors/index.ts';
import { type Commit, type ObjectId, parseCommit } from '../../objects/index.ts';
import { findTips } from '../history/tips.ts';
import { walkCommits } from '../history/walk.ts';
import { VERSION_REFS } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { tryReadVersion, type Version } from '../version/version.ts';

/** A version's disk in one word: equal keys, equal versions to a guest. */
export type ContentKey = string;

/** What makes up the key of a version that an import makes: one disk, nothing attached. */
export interface ImportedContent {
  readonly name: string;
  /** Bytes. */
  readonly virtualSize: number;
  readonly clusterSize: number;
  readonly map: ObjectId | undefined;
}

/** The key of a content. */
export function contentKey({ name, virtualSize, clusterSize, map }: ImportedContent): ContentKey {
  return `${name} ${virtualSize} ${clusterSize} ${map}`;
}

/** The key of a version; undefined for one that no import makes: with several disks, with attachments, or of another program. */
export function versionKey(store: Store, id: ObjectId): ContentKey | undefined {
  return keyOf(tryReadVersion(store.objects, id));
}

function keyOf(version: Version | undefined): ContentKey | undefined {
  const disk = version?.disks[0];
  if (version === undefined || disk === undefined) return undefined;
  const isPlain = version.disks.length === 1 && version.files.length === 0;
  return isPlain ? contentKey({ ...disk, map: disk.map.id }) : undefined;
}

/** A version, and what it holds, if an import could have made it. */
interface KnownVersion {
  readonly id: ObjectId;
  readonly parents: readonly ObjectId[];
  readonly key: ContentKey | undefined;
}

/**
 * Finds the versions of the store that hold the states of an image already, state by state.
 *
 * On the branch they are looked for from its oldest version on, none before that of the last state. What follows the branch's last version on any other branch counts too, and so does any
 * version for the first state of a new branch: images with layers in common get one history, which forks where they do.
 */
export class Lineage {
  readonly #store: Store;
  /** Oldest first. */
  #branch: KnownVersion[];
  /** Where in it the last state is; -1 before the first. */
  #position = -1;
  /** A new branch may still begin anywhere. */
  #isOpen: boolean;
  #elsewhere: ReadonlyMap<ContentKey, readonly KnownVersion[]> | undefined;

  /**
   * @param tip of the branch; undefined for a new one
   * @param start the version that a new branch starts from, when that is known
   */
  constructor(store: Store, tip: ObjectId | undefined, start: ObjectId | undefined) {
    this.#store = store;
    this.#isOpen = tip === undefined;
    this.#branch = tip === undefined ? knownVersions(store, start).slice(0, 1) : knownVersions(store, tip);
    this.#branch.reverse();
  }

  /** The branch's last version, which the next that is made follows. */
  get tip(): ObjectId | undefined {
    return this.#branch.at(-1)?.id;
  }

  /**
   * The version that the next state is, if the store has it.
   * @param mayBeAnywhere whether the first state of a new branch may be any version of this content
   */
  async find(key: ContentKey, mayBeAnywhere: boolean): Promise<ObjectId | undefined> {
    const from = Math.max(0, this.#position);
    const there = this.#branch.findIndex((version, i) => i >= from && version.key === key);
    if (there >= 0) {
      this.#position = there;
      this.#isOpen = false;
      return this.#branch[there]!.id;
    }
    this.#elsewhere ??= await versionsByContent(this.#store);
    const same = this.#elsewhere.get(key) ?? [];
    const { tip } = this;
    const next = tip === undefined ? undefined : same.find(({ parents }) => parents[0] === tip);
    const found = next ?? (this.#isOpen && mayBeAnywhere ? same[0] : undefined);
    if (found !== undefined) this.#enter(found);
    return found?.id;
  }

  /** Enters a version that was made for the last state, after {@link find} found none. */
  add(id: ObjectId, key: ContentKey): void {
    this.#enter({ id, key, parents: [] });
  }

  #enter(version: KnownVersion): void {
    this.#branch.push(version);
    this.#position = this.#branch.length - 1;
    this.#isOpen = false;
  }
}

/** A version and those before it by first parents, newest first, as far as they can be read. */
function knownVersions(store: Store, tip: ObjectId | undefined): KnownVersion[] {
  const versions: KnownVersion[] = [];
  for (let id = tip; id !== undefined; id = versions.at(-1)!.parents[0]) {
    const version = tryReadVersion(store.objects, id);
    const commit = version?.commit ?? tryReadCommit(store, id);
    if (commit === undefined) break;
    versions.push({ id, parents: commit.parents, key: keyOf(version) });
  }
  return versions;
}

/** A commit that need not be a version: git users may put others into a store. */
function tryReadCommit(store: Store, id: ObjectId): Commit | undefined {
  try {
    return parseCommit(store.objects.readAs('commit', id));
  } catch (error) {
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
}

/** All versions of branches and tags that an import could have made, newest first. What cannot be read is passed over: it must not keep an image out. */
async function versionsByContent(store: Store): Promise<Map<ContentKey, KnownVersion[]>> {
  const { tips } = await findTips(store, ...VERSION_REFS);
  const starts = tips.map(({ id }) => id);
  const versions = new Map<ContentKey, KnownVersion[]>();
  const passOver = () => {};
  for (const { id, commit } of walkCommits(store.objects, starts, passOver)) {
    const key = versionKey(store, id);
    if (key === undefined) continue;
    const same = versions.get(key) ?? [];
    versions.set(key, [...same, { id, key, parents: commit.parents }]);
  }
  return versions;
}
