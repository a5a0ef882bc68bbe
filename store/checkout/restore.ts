import type { PendingFile } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { orderedMap } from '../ordered-map.ts';
import { throwIfStopped } from '../progress.ts';
import { WriteTurn } from '../workers/cluster-writer.ts';
import type { PackedItem, RestoreItem } from '../workers/jobs.ts';
import { locateEntry, locateStored, type StoredStream, withLocated } from '../workers/stored-stream.ts';
import { isDamage } from './damage.ts';
import type { CheckoutJob } from './job.ts';

/** Bytes of clusters that one job writes. */
const JOB_BYTES = 4 * 1024 * 1024;

/** A stored cluster and where it goes in the output file. */
export interface PlacedCluster {
  /** Its number in the disk. */
  readonly cluster: number;
  readonly id: ObjectId;
  /** Bytes. */
  readonly length: number;
  /** Offset in the output file. */
  readonly to: number;
}

/**
 * Writes stored clusters to a file: workers read, inflate, check and write on their own, each at its offset, so no data passes through this
 * thread. Returns the number of bytes written.
 * @throws ImgstoreError `DAMAGED`, `IO`
 */
export async function restoreClusters(
  job: CheckoutJob,
  file: PendingFile,
  clusters: AsyncIterable<PlacedCluster>,
): Promise<number> {
  const { disk, workers, monitor } = job;
  const total = job.clusters * disk.clusterSize;
  let written = 0;
  const restorer = new Restorer(job, file);
  const width = 2 * workers.threads + 1;
  for await (const bytes of orderedMap(gather(clusters), width, (batch) => restorer.restore(batch))) {
    throwIfStopped(monitor);
    written += bytes;
    monitor.onProgress?.({ done: written, total });
  }
  return written;
}

/** A cluster whose place in the store is known. */
interface LocatedCluster extends PlacedCluster {
  readonly stored: StoredStream;
}

/** Writes batches of clusters to one file. */
class Restorer {
  readonly #job: CheckoutJob;
  readonly #output: { readonly fd: number; readonly path: string; readonly turn: SharedArrayBuffer };
  constructor(job: CheckoutJob, file: PendingFile) {
    this.#job = job;
    this.#output = { fd: file.fd, path: job.path, turn: WriteTurn.share() };
  }

  /** Returns the number of bytes written. What cannot be read stays a hole in the file, where damage is noted. */
  async restore(clusters: readonly PlacedCluster[]): Promise<number> {
    await this.#job.store.objects.bring(clusters.map(({ id }) => id));
    const left = await this.#restorePacked(clusters);
    const packed = sumOfLengths(clusters) - sumOfLengths(left);
    return packed + (await this.#restoreLocated(left.flatMap((cluster) => this.#locate(cluster) ?? [])));
  }

  /** Returns those that threads cannot read by what packs have of them. */
  async #restorePacked(clusters: readonly PlacedCluster[]): Promise<readonly PlacedCluster[]> {
    const { store, workers } = this.#job;
    const items: (PackedItem & { readonly place: number })[] = [];
    const elsewhere: number[] = [];
    for (const [place, { id, length, to }] of clusters.entries()) {
      const entry = locateEntry(store.objects, id);
      if (entry === undefined) elsewhere.push(place);
      else items.push({ id, length, to, entry, place });
    }
    if (items.length === 0) return clusters;
    const left = await workers.restorePacked({ ...this.#output, items });
    return [...elsewhere, ...left.map((i) => items[i]!.place)]
      .toSorted((a, b) => a - b)
      .map((place) => clusters[place]!);
  }

  async #restoreLocated(items: readonly LocatedCluster[]): Promise<number> {
    const { store, path, disk, workers, damage } = this.#job;
    if (items.length === 0) return 0;
    const restore = async (some: readonly LocatedCluster[]) => {
      const run = (located: readonly RestoreItem[]) => workers.restore({ ...this.#output, items: located });
      await withLocated(store.objects, some, run);
      return sumOfLengths(some);
    };
    try {
      return await restore(items);
    } catch (error) {
      if (damage === undefined || !isDamage(error)) throw error;
    }
    let written = 0;
    for (const item of items) {
      try {
        written += await restore([item]);
      } catch (error) {
        if (!isDamage(error)) throw error;
        damage.addCluster({ path, disk }, item.cluster, error);
      }
    }
    return written;
  }

  #locate(cluster: PlacedCluster): LocatedCluster | undefined {
    const stored = locateOrSkip(this.#job, cluster);
    return stored === undefined ? undefined : { ...cluster, stored };
  }
}

function sumOfLengths(clusters: readonly PlacedCluster[]): number {
  return clusters.reduce((sum, { length }) => sum + length, 0);
}

async function* gather(clusters: AsyncIterable<PlacedCluster>): AsyncGenerator<readonly PlacedCluster[]> {
  let batch: PlacedCluster[] = [];
  let bytes = 0;
  for await (const placed of clusters) {
    batch.push(placed);
    bytes += placed.length;
    if (bytes < JOB_BYTES) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}

/** Where a cluster is; undefined for one that is nowhere, where damage is noted. @throws ImgstoreError `DAMAGED`, `NOT_FOUND` */
export function locateOrSkip(
  job: CheckoutJob,
  { cluster, id }: { readonly cluster: number; readonly id: ObjectId },
): StoredStream | undefined {
  try {
    return locateStored(job.store.objects, id);
  } catch (error) {
    if (job.damage === undefined || !isDamage(error)) throw error;
    job.damage.addCluster(job, cluster, error);
    return undefined;
  }
}
