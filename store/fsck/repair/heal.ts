import {
  clusterCount,
  compareEntries,
  deflateRoom,
  encodeTree,
  MapEditor,
  MODE_FILE,
  MODE_FOLDER,
  mapLevels,
  type ObjectId,
  type ObjectType,
  objectId,
} from '../../../objects/index.ts';
import { type OpenDisk, type OpenDiskOptions, openDisk } from '../../commit/open-disk.ts';
import { type HashedBatch, hashBatches } from '../../hashed-batches.ts';
import { type Monitor, throwIfStopped } from '../../progress.ts';
import type { Store } from '../../store.ts';
import { encodeImageRecord, IMAGE_VERSION } from '../../version/image-json.ts';
import { DISKS_FOLDER, IMAGE_FILE } from '../../version/version.ts';
import { ingestedObjects } from '../../workers/ingest-job.ts';
import { ClusterWorkers } from '../../workers/pool.ts';
import type { NewPacks } from './new-packs.ts';

/** The name that a disk has unless it was given another. */
const USUAL_DISK = 'vda';

/**
 * Reads an image and stores what of it is wanted: clusters, nodes of its cluster map, and the description of a version that has it as its only
 * disk.
 * @returns number of objects that were found
 * @throws ImgstoreError what opening and reading the image throws
 */
export async function healFromImage(
  store: Store,
  path: string,
  options: OpenDiskOptions,
  wanted: Set<ObjectId>,
  into: NewPacks,
  monitor: Monitor,
): Promise<number> {
  const before = wanted.size;
  const disk = await openDisk(path, options);
  const workers = new ClusterWorkers(disk.expectedBytes);
  try {
    await new Healing(store, disk, wanted, into, workers, monitor).run();
    await disk.refuseChanged();
    return before - wanted.size;
  } finally {
    await workers.close();
    await disk.source.close();
  }
}

/** A batch with the ids of its clusters. */
class Healing {
  readonly #store: Store;
  readonly #disk: OpenDisk;
  readonly #wanted: Set<ObjectId>;
  readonly #into: NewPacks;
  readonly #workers: ClusterWorkers;
  readonly #monitor: Monitor;

  constructor(
    store: Store,
    disk: OpenDisk,
    wanted: Set<ObjectId>,
    into: NewPacks,
    workers: ClusterWorkers,
    monitor: Monitor,
  ) {
    this.#store = store;
    this.#disk = disk;
    this.#wanted = wanted;
    this.#into = into;
    this.#workers = workers;
    this.#monitor = monitor;
  }

  async run(): Promise<void> {
    const { source, expectedBytes } = this.#disk;
    const { clusterSize } = this.#store;
    const levels = mapLevels(clusterCount(source.size, clusterSize));
    const editor = new MapEditor(readsNothing, (data) => this.#offer('tree', data), levels);
    let done = 0;
    for await (const hashed of hashBatches(source, clusterSize, this.#workers)) {
      throwIfStopped(this.#monitor);
      const { batch, ids } = hashed;
      await this.#takeClusters(hashed);
      for (const [i, cluster] of batch.clusters.entries()) {
        const id = ids[i];
        if (id !== undefined) await editor.set(cluster, id);
      }
      done += batch.length;
      this.#monitor.onProgress?.({ done, total: Math.max(done, expectedBytes) });
      if (this.#wanted.size === 0) return;
    }
    await this.#offerVersion(await editor.finish(), levels);
  }

  async #takeClusters({ batch, ids }: HashedBatch): Promise<void> {
    const { clusterSize, compression } = this.#store;
    const picks = ids.map((id) => (id !== undefined && this.#wanted.delete(id) ? id : undefined));
    const count = picks.filter((id) => id !== undefined).length;
    if (count === 0) return;
    const output = new SharedArrayBuffer(count * deflateRoom(clusterSize));
    const store = { picks, level: compression, output };
    for (const object of ingestedObjects(batch, await this.#workers.ingest({ batch, store }), output))
      await this.#into.add(object);
  }

  /** What a commit of the image would have made around its map. */
  async #offerVersion(map: ObjectId, levels: number): Promise<void> {
    const { source, facts } = this.#disk;
    const { clusterSize } = this.#store;
    const disks = { [USUAL_DISK]: { virtualSize: source.size, levels, source: facts } };
    const record = encodeImageRecord({ version: IMAGE_VERSION, clusterSize, disks });
    const folder = encodeTree([{ mode: MODE_FOLDER, name: USUAL_DISK, id: map }]);
    const root = [
      { mode: MODE_FOLDER, name: DISKS_FOLDER, id: await this.#offer('tree', folder) },
      { mode: MODE_FILE, name: IMAGE_FILE, id: await this.#offer('blob', record) },
    ];
    await this.#offer('tree', encodeTree(root.sort(compareEntries)));
  }

  /** Stores an object if it is wanted, and returns its id. */
  async #offer(type: ObjectType, data: Uint8Array): Promise<ObjectId> {
    const id = objectId(type, data);
    if (this.#wanted.delete(id)) await this.#into.addData(id, type, data);
    return id;
  }
}

/** The map begins empty. */
function readsNothing(): Promise<never> {
  throw new Error('a map that begins empty has no nodes to read');
}
