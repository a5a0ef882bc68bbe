import { throwIfStopped } from '../../progress.ts';
import { clusterLength } from '../../version/disk-source.ts';
import { targetChanges } from './changes.ts';
import type { InPlaceJob } from './job.ts';
import { type PatchedCluster, patchClusters } from './patch.ts';

/** Zeros that are made at once: beyond that somebody may want to stop. */
const MOST_ZEROS = 64 * 2 ** 20;

/** Makes a raw file or a device hold a disk. A file gets its length. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO` */
export async function updateRaw(job: InPlaceJob): Promise<void> {
  const { file } = job.target;
  const { virtualSize } = job.disk;
  // Room that cannot be had is missed before anything is written; what lies behind the end goes last.
  if (!file.isDevice && file.size < virtualSize) await file.resize(virtualSize);
  await patchClusters(job, placed(job));
  if (!file.isDevice) await file.resize(virtualSize);
}

async function* placed(job: InPlaceJob): AsyncGenerator<PatchedCluster> {
  const { disk } = job;
  const zeros = new ZeroRun(job);
  for await (const { cluster, stored: id } of targetChanges(job)) {
    const length = clusterLength(disk, cluster);
    const to = cluster * disk.clusterSize;
    if (id === undefined) zeros.add(to, length);
    else yield { id, length, pieces: [{ from: 0, length, to, isNew: false }] };
  }
  zeros.end();
}

/** Joins neighbouring zeros, as each takes a call of the system. */
class ZeroRun {
  readonly #job: InPlaceJob;
  #from = 0;
  #length = 0;

  constructor(job: InPlaceJob) {
    this.#job = job;
  }

  add(offset: number, length: number): void {
    if (offset !== this.#from + this.#length || this.#length >= MOST_ZEROS) {
      this.end();
      this.#from = offset;
    }
    this.#length += length;
  }

  end(): void {
    const { target, counts, monitor } = this.#job;
    throwIfStopped(monitor);
    counts.writtenBytes += target.file.zero(this.#from, this.#length);
    counts.zeroedBytes += this.#length;
    this.#length = 0;
  }
}
