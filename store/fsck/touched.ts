import { isImgstoreError } from '../../errors/index.ts';
import {
  clusterCount,
  clustersPerSlot,
  isFolder,
  type ObjectId,
  type TreeEntry,
} from '../../objects/index.ts';
import { treeLinks } from '../reach/tree-links.ts';
import { BRANCHES, shortRefName } from '../refs/name.ts';
import { type ImageRecord, parseImageRecord } from '../version/image-json.ts';
import { DISKS_FOLDER, IMAGE_FILE } from '../version/version.ts';
import type { DiskShape } from './map-walk.ts';
import type { ByteRange, Touched } from './report.ts';
import type { Root } from './roots.ts';
import type { HistoryWalk, WalkedVersion } from './walk.ts';

/** Entries in all lists together: a lost pack of a long history would have hundreds of millions. */
const MOST_TOUCHES = 200_000;
/** Of an id, where no branch leads to a version. */
const SHORT_DIGITS = 12;

/** Which parts of which versions the lost objects are. */
export interface Touches {
  readonly byObject: ReadonlyMap<ObjectId, readonly Touched[]>;
  readonly omitted: number;
}

/** Finds what of every version the lost objects are, entering only what is known to be damaged. */
export async function findTouches(
  walk: HistoryWalk,
  lost: ReadonlySet<ObjectId>,
  roots: readonly Root[],
): Promise<Touches> {
  const tracer = new Tracer(walk, lost, nameVersions(walk.versions, roots));
  for (const version of walk.versions) await tracer.trace(version);
  return tracer;
}

/** For each version the shortest of `web`, `web~1`, …, by first parents. */
function nameVersions(versions: readonly WalkedVersion[], roots: readonly Root[]): Map<ObjectId, string> {
  const parents = new Map(versions.map((version) => [version.id, version.parents[0]]));
  const names = new Map<ObjectId, { readonly branch: string; readonly back: number }>();
  for (const { name, id, isLog } of roots) {
    if (isLog || !name.startsWith(BRANCHES)) continue;
    let at: ObjectId | undefined = id;
    for (let back = 0; at !== undefined && back < (names.get(at)?.back ?? Infinity); back++) {
      names.set(at, { branch: shortRefName(name), back });
      at = parents.get(at);
    }
  }
  return new Map(
    [...names].map(([id, { branch, back }]) => [id, back === 0 ? branch : `${branch}~${back}`] as const),
  );
}

interface OpenTouch {
  readonly version: ObjectId;
  readonly name: string;
  readonly disk: string | undefined;
  readonly path: string;
  readonly ranges: ByteRange[];
}

class Tracer implements Touches {
  readonly byObject = new Map<ObjectId, OpenTouch[]>();
  omitted = 0;
  readonly #walk: HistoryWalk;
  readonly #lost: ReadonlySet<ObjectId>;
  readonly #names: ReadonlyMap<ObjectId, string>;
  #count = 0;

  constructor(walk: HistoryWalk, lost: ReadonlySet<ObjectId>, names: ReadonlyMap<ObjectId, string>) {
    this.#walk = walk;
    this.#lost = lost;
    this.#names = names;
  }

  async trace({ id, tree, parents }: WalkedVersion): Promise<void> {
    await this.#walk.breathe();
    for (const parent of parents) if (this.#lost.has(parent)) this.#touch(parent, parent, undefined, '');
    if (this.#lost.has(id)) this.#touch(id, id, undefined, '');
    if (!this.#walk.dirty.has(tree)) return;
    if (this.#lost.has(tree)) this.#touch(tree, id, undefined, '');
    const entries = this.#entries(tree);
    const record = this.#record(entries);
    for (const each of entries) {
      if (each.name === DISKS_FOLDER && isFolder(each) && record !== undefined)
        await this.#disks(id, each.id, record);
      else await this.#tree(id, each, each.name);
    }
  }

  async #disks(version: ObjectId, tree: ObjectId, { disks, clusterSize }: ImageRecord): Promise<void> {
    if (this.#lost.has(tree))
      for (const [disk, { virtualSize }] of Object.entries(disks))
        this.#touch(tree, version, disk, `${DISKS_FOLDER}/${disk}`, { offset: 0, length: virtualSize });
    for (const each of this.#dirtyEntries(tree)) {
      const path = `${DISKS_FOLDER}/${each.name}`;
      const disk = Object.hasOwn(disks, each.name) ? disks[each.name] : undefined;
      if (disk === undefined) await this.#tree(version, each, path);
      else await this.#node(version, each, { ...disk, clusterSize }, disk.levels, 0);
    }
  }

  /** @param disk the entry that has the disk's name @param first number of the node's first cluster */
  async #node(
    version: ObjectId,
    disk: TreeEntry,
    shape: DiskShape,
    level: number,
    first: number,
    id = disk.id,
  ): Promise<void> {
    await this.#walk.breathe();
    const { virtualSize, clusterSize } = shape;
    if (first >= clusterCount(virtualSize, clusterSize)) return;
    if (this.#lost.has(id)) {
      const offset = first * clusterSize;
      const length = Math.min(clustersPerSlot(level + 1) * clusterSize, virtualSize - offset);
      this.#touch(id, version, disk.name, `${DISKS_FOLDER}/${disk.name}`, { offset, length });
    }
    if (level === 0) return;
    for (const each of this.#dirtyEntries(id)) {
      const slot = Number.parseInt(each.name, 16);
      const isSlot = /^[0-9a-f]{2}$/.test(each.name);
      if (isSlot)
        await this.#node(version, disk, shape, level - 1, first + slot * clustersPerSlot(level), each.id);
    }
  }

  async #tree(version: ObjectId, entry: TreeEntry, path: string): Promise<void> {
    await this.#walk.breathe();
    if (this.#lost.has(entry.id)) this.#touch(entry.id, version, undefined, path);
    if (isFolder(entry))
      for (const each of this.#dirtyEntries(entry.id))
        await this.#tree(version, each, `${path}/${each.name}`);
  }

  /** What of a tree is, or leads to, something lost. */
  #dirtyEntries(tree: ObjectId): TreeEntry[] {
    return this.#entries(tree).filter(({ id }) => this.#lost.has(id) || this.#walk.dirty.has(id));
  }

  #entries(tree: ObjectId): TreeEntry[] {
    if (!this.#walk.dirty.has(tree)) return [];
    const object = this.#walk.finder.read(tree);
    try {
      return object === undefined ? [] : treeLinks(object.data);
    } catch (error) {
      if (isImgstoreError(error)) return [];
      throw error;
    }
  }

  #record(entries: readonly TreeEntry[]): ImageRecord | undefined {
    const image = entries.find((each) => each.name === IMAGE_FILE && !isFolder(each));
    const object = image === undefined ? undefined : this.#walk.finder.read(image.id);
    try {
      return object === undefined ? undefined : parseImageRecord(object.data);
    } catch (error) {
      if (isImgstoreError(error)) return undefined;
      throw error;
    }
  }

  #touch(
    object: ObjectId,
    version: ObjectId,
    disk: string | undefined,
    path: string,
    range?: ByteRange,
  ): void {
    let touches = this.byObject.get(object);
    if (touches === undefined) {
      touches = [];
      this.byObject.set(object, touches);
    }
    const last = touches.at(-1);
    if (last?.version === version && last.path === path) {
      addRange(last.ranges, range);
      return;
    }
    if (this.#count >= MOST_TOUCHES) {
      this.omitted++;
      return;
    }
    this.#count++;
    const name = this.#names.get(version) ?? version.slice(0, SHORT_DIGITS);
    touches.push({ version, name, disk, path, ranges: range === undefined ? [] : [range] });
  }
}

/** Ranges come ascending. */
function addRange(ranges: ByteRange[], range: ByteRange | undefined): void {
  if (range === undefined) return;
  const last = ranges.at(-1);
  if (last !== undefined && last.offset + last.length === range.offset)
    ranges[ranges.length - 1] = { offset: last.offset, length: last.length + range.length };
  else ranges.push(range);
}
