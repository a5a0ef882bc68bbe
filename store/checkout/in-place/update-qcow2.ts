import type { ObjectId } from '../../../objects/index.ts';
import { type ClusterPlace, ImageUpdate, wholeSectors } from '../../../qcow2/index.ts';
import type { SourceChange } from '../../compare/source-diff.ts';
import { throwIfStopped } from '../../progress.ts';
import { allClusters, clusterLength } from '../../version/disk-source.ts';
import type { PatchPiece } from '../../workers/patch-job.ts';
import { targetChanges } from './changes.ts';
import type { InPlaceJob } from './job.ts';
import { type PatchedCluster, patchClusters } from './patch.ts';

/**
 * Makes a qcow2's present disk that of a version. The store's clusters and the image's may differ in size: an image's cluster that has to be new gets all that the version has there.
 * @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO`
 */
export async function updateQcow2(job: InPlaceJob): Promise<void> {
  const { file, header, path } = job.target;
  const update = new Qcow2Update(job, new ImageUpdate(file, header!, path));
  const units = update.units()[Symbol.asyncIterator]();
  try {
    while (await update.step(units));
  } finally {
    await units.return?.(undefined);
  }
}

/** Neighbouring clusters of the store that changed and lie in one cluster of the image, or one that covers several of those. */
type Unit = readonly SourceChange[];

/** A part of a version's disk: a stored cluster, or zeros. */
interface Part {
  readonly cluster: number;
  readonly id: ObjectId | undefined;
}

class Qcow2Update {
  readonly #job: InPlaceJob;
  readonly #update: ImageUpdate;

  constructor(job: InPlaceJob, update: ImageUpdate) {
    this.#job = job;
    this.#update = update;
  }

  async *units(): AsyncGenerator<Unit> {
    const { clusterSize } = this.#job.disk;
    const perUnit = Math.max(1, this.#update.clusterSize / clusterSize);
    let unit: SourceChange[] = [];
    for await (const change of targetChanges(this.#job)) {
      const [first] = unit;
      if (
        first !== undefined &&
        Math.floor(first.cluster / perUnit) !== Math.floor(change.cluster / perUnit)
      ) {
        yield unit;
        unit = [];
      }
      unit.push(change);
    }
    if (unit.length > 0) yield unit;
  }

  /** Writes as much as the image takes at once, and makes it show. Returns whether there may be more. */
  async step(units: AsyncIterator<Unit>): Promise<boolean> {
    let isDone = false;
    const write = async function* (this: Qcow2Update): AsyncGenerator<PatchedCluster> {
      while (!this.#update.isFull) {
        const next = await units.next();
        if (next.done === true) {
          isDone = true;
          return;
        }
        throwIfStopped(this.#job.monitor);
        yield* this.#written(next.value);
      }
    };
    await patchClusters(this.#job, write.call(this));
    await this.#update.apply();
    return !isDone;
  }

  #written(unit: Unit): AsyncIterable<PatchedCluster> | Iterable<PatchedCluster> {
    const { clusterSize } = this.#job.disk;
    return this.#update.clusterSize > clusterSize ? this.#partsOfOne(unit) : this.#oneOfSeveral(unit[0]!);
  }

  /** A cluster of the store that covers one or several of the image's. */
  *#oneOfSeveral({ cluster, stored: id }: SourceChange): Generator<PatchedCluster> {
    const { disk } = this.#job;
    const { clusterSize } = this.#update;
    const length = clusterLength(disk, cluster);
    const pieces: PatchPiece[] = [];
    for (let from = 0; from < length; from += clusterSize) {
      const guest = (cluster * disk.clusterSize + from) / clusterSize;
      const filled = Math.min(clusterSize, length - from);
      if (id === undefined) {
        this.#zero(guest, filled);
        continue;
      }
      const place = this.#update.place(guest);
      if (filled < clusterSize) this.#zeroTail(place, filled);
      join(pieces, { from, length: filled, to: place.offset, isNew: place.isNew });
    }
    if (id !== undefined) yield { id, length, pieces };
  }

  /** Clusters of the store that lie in one of the image. */
  async *#partsOfOne(unit: Unit): AsyncGenerator<PatchedCluster> {
    const { disk, target, counts } = this.#job;
    const perUnit = this.#update.clusterSize / disk.clusterSize;
    const guest = Math.floor(unit[0]!.cluster / perUnit);
    const parts = await this.#parts(guest * perUnit, perUnit);
    if (parts.every(({ id }) => id === undefined)) {
      this.#zero(
        guest,
        unit.reduce((sum, { cluster }) => sum + clusterLength(disk, cluster), 0),
      );
      return;
    }
    const { offset, isNew, isUsed } = this.#update.place(guest);
    if (isNew && isUsed) counts.writtenBytes += target.file.zero(offset, this.#update.clusterSize);
    const changed = new Set(unit.map(({ cluster }) => cluster));
    for (const { cluster, id } of parts) {
      if (!isNew && !changed.has(cluster)) continue;
      const length = clusterLength(disk, cluster);
      const to = offset + (cluster - guest * perUnit) * disk.clusterSize;
      const isLast = length < disk.clusterSize;
      if (isLast && !isNew) target.file.write(to + length, Buffer.alloc(wholeSectors(length) - length));
      if (id !== undefined) yield { id, length, pieces: [{ from: 0, length, to, isNew }] };
      else if (!isNew) counts.writtenBytes += target.file.zero(to, length);
      if (id === undefined && changed.has(cluster)) counts.zeroedBytes += length;
    }
  }

  /** What the version has in a cluster of the image. */
  async #parts(first: number, count: number): Promise<readonly Part[]> {
    const { store, disk } = this.#job;
    const end = Math.min(first + count, Math.ceil(disk.virtualSize / disk.clusterSize));
    const ids = new Map<number, ObjectId>();
    for await (const { cluster, id } of allClusters(store.objects, disk, first, end)) ids.set(cluster, id);
    return Array.from({ length: end - first }, (_, i) => ({ cluster: first + i, id: ids.get(first + i) }));
  }

  /** @param length bytes of it that are of the disk and change */
  #zero(guest: number, length: number): void {
    const { target, counts } = this.#job;
    const place = this.#update.zero(guest);
    if (place !== undefined && (!place.isNew || place.isUsed))
      counts.writtenBytes += target.file.zero(place.offset, this.#update.clusterSize);
    counts.zeroedBytes += length;
  }

  /** What follows the disk's last bytes in a cluster of the image. */
  #zeroTail({ offset, isUsed }: ClusterPlace, filled: number): void {
    if (isUsed) this.#job.target.file.zero(offset + filled, this.#update.clusterSize - filled);
  }
}

/** Adds a piece, or makes the last longer where it goes on. */
function join(pieces: PatchPiece[], piece: PatchPiece): void {
  const last = pieces.at(-1);
  const goesOn = last !== undefined && last.isNew === piece.isNew && last.to + last.length === piece.to;
  if (goesOn) pieces[pieces.length - 1] = { ...last, length: last.length + piece.length };
  else pieces.push(piece);
}
