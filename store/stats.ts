import { clustersPerSlot, type ObjectId, type ObjectType, readNode } from '../objects/index.ts';
import { walkCommits } from './history/walk.ts';
import { BRANCHES, shortRefName } from './refs/name.ts';
import { resolveRevision } from './revision/resolve.ts';
import type { Store } from './store.ts';
import { ClusterCounter } from './version/count.ts';
import { dataBytes } from './version/data-bytes.ts';
import { clusterLength } from './version/disk-source.ts';
import { tryReadVersion, type Version, type VersionDisk } from './version/version.ts';

/** One image's share. Bytes of guest data. */
export interface ImageStats {
  readonly name: string;
  readonly versions: number;
  /** Virtual sizes of all versions together. */
  readonly virtualBytes: number;
  /** Data in all versions together, as if each were kept by itself. */
  readonly logicalBytes: number;
  /** Data in different clusters: what deduplication leaves. */
  readonly uniqueBytes: number;
}

/** What a store holds, and at what cost. */
export interface StoreStats extends Omit<ImageStats, 'name' | 'versions'> {
  /** Bytes of all loose objects, packs and their indexes. */
  readonly storedBytes: number;
  readonly objects: Readonly<Record<ObjectType, number>>;
  /** Loose objects. */
  readonly loose: number;
  readonly packs: number;
  readonly images: readonly ImageStats[];
}

/**
 * Measures a store. Memory grows with the number of different clusters (some 100 bytes each).
 * @param revisions whose versions count; all branches when empty. What is stored is always that of the whole store.
 * @throws ImgstoreError `NOT_FOUND` for an unknown revision
 */
export async function measureStore(store: Store, revisions: readonly string[] = []): Promise<StoreStats> {
  const starts =
    revisions.length === 0
      ? (await store.refs.list(BRANCHES)).map(({ name, id }) => ({ name: shortRefName(name), id }))
      : await Promise.all(
          revisions.map(async (name) => ({
            name,
            id: store.objects.peel((await resolveRevision(store, name)).id),
          })),
        );
  const counter = new ClusterCounter(store.objects.readTree);
  const images: ImageStats[] = [];
  const all = new Map<ObjectId, Version>();
  for (const { name, id } of starts) {
    const versions = [...walkCommits(store.objects, [id])].flatMap(
      (walked) => tryReadVersion(store.objects, walked.id) ?? [],
    );
    for (const version of versions) all.set(version.id, version);
    images.push({ name, versions: versions.length, ...(await measureVersions(store, versions, counter)) });
  }
  const total = images.length === 1 ? images[0]! : await measureVersions(store, [...all.values()], counter);
  const { virtualBytes, logicalBytes, uniqueBytes } = total;
  return { virtualBytes, logicalBytes, uniqueBytes, ...measureObjects(store), images };
}

type VersionBytes = Pick<ImageStats, 'virtualBytes' | 'logicalBytes' | 'uniqueBytes'>;

async function measureVersions(
  store: Store,
  versions: readonly Version[],
  counter: ClusterCounter,
): Promise<VersionBytes> {
  const unique = new UniqueClusters(store);
  let virtualBytes = 0;
  let logicalBytes = 0;
  for (const disk of versions.flatMap((version) => version.disks)) {
    virtualBytes += disk.virtualSize;
    logicalBytes += await dataBytes(store.objects, disk, counter);
    await unique.add(disk);
  }
  return { virtualBytes, logicalBytes, uniqueBytes: unique.bytes };
}

/** Adds up the different clusters of disks; a part of a map that two disks share is entered once. */
class UniqueClusters {
  bytes = 0;
  readonly #store: Store;
  readonly #nodes = new Set<ObjectId>();
  readonly #blobs = new Set<ObjectId>();

  constructor(store: Store) {
    this.#store = store;
  }

  async add(disk: VersionDisk): Promise<void> {
    if (disk.map.id !== undefined) await this.#enter(disk, disk.map.id, disk.map.levels, 0);
  }

  async #enter(disk: VersionDisk, id: ObjectId, level: number, first: number): Promise<void> {
    if (this.#nodes.has(id)) return;
    this.#nodes.add(id);
    const node = await readNode(this.#store.objects.readTree, id, level);
    for (const [slot, below] of node.entries()) {
      if (below === undefined) continue;
      const start = first + slot * clustersPerSlot(level);
      if (level > 1) {
        await this.#enter(disk, below, level - 1, start);
      } else if (!this.#blobs.has(below)) {
        this.#blobs.add(below);
        this.bytes += clusterLength(disk, start);
      }
    }
  }
}

function measureObjects(store: Store): Pick<StoreStats, 'storedBytes' | 'objects' | 'loose' | 'packs'> {
  const { loose, packs } = store.objects;
  const objects: Record<ObjectType, number> = { blob: 0, tree: 0, commit: 0, tag: 0 };
  let storedBytes = 0;
  let looseCount = 0;
  for (const id of loose.ids()) {
    objects[loose.header(id)?.type ?? 'blob']++;
    storedBytes += loose.fileSize(id);
    looseCount++;
  }
  for (const pack of packs.packs()) {
    storedBytes += pack.fileBytes;
    for (let position = 0; position < pack.idx.count; position++) objects[pack.header(position).type]++;
  }
  return { storedBytes, objects, loose: looseCount, packs: packs.packs().length };
}
