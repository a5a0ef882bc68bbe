import { ImgstoreError } from '../../errors/index.ts';
import type { PendingFile } from '../../files/index.ts';
import { clusterCount } from '../../objects/index.ts';
import { Qcow2Writer, type Qcow2WriterOptions } from '../../qcow2/index.ts';
import { encodeOrigin, type OriginDisk } from '../origin/extension.ts';
import { originKey } from '../origin/key.ts';
import { clusterLength } from '../version/disk-source.ts';
import type { VersionDisk } from '../version/version.ts';
import { storedAt } from './changes.ts';
import type { CheckoutJob, ImageCluster } from './job.ts';
import { type PlacedCluster, restoreClusters } from './restore.ts';
import { restoreCompressed } from './restore-compressed.ts';

/** What an overlay stands on, as its header will say. */
export interface BackingFile {
  /** Relative to the overlay's folder. */
  readonly file: string;
  readonly format: 'qcow2' | 'raw';
  /** What it holds, where that is known. */
  readonly holds: OriginDisk | undefined;
}

/**
 * Writes a disk, or what differs between it and a backing file, as qcow2 with the store's cluster size. Host offsets are handed out in guest order while workers write the data.
 * Returns the bytes of data written.
 * @throws ImgstoreError `UNSUPPORTED` for a disk that is too large
 */
export async function writeQcow2(
  job: CheckoutJob,
  file: PendingFile,
  clusters: AsyncIterable<ImageCluster>,
  backing?: BackingFile,
): Promise<number> {
  refuseTooLarge(job);
  const { virtualSize, clusterSize } = job.disk;
  const first: FirstCluster = { cluster: undefined };
  const lateExtension = await originExtension(job, backing, first);
  const options = { virtualSize, clusterSize, backing, compressionType: job.compress, lateExtension };
  const writer = new Qcow2Writer(file, options);
  const changes = onDisk(job.disk, clusters);
  const seen = noteFirst(first, backing === undefined ? changes : neverNone(job, changes));
  const written =
    job.compress === undefined
      ? await restoreClusters(job, file, place(writer, job.disk, seen))
      : await restoreCompressed(job, file, writer, seen, job.compress);
  await writer.finish();
  return written;
}

/** Makes the header say what the file holds, unless a part of that could not be read. */
export async function originExtension(
  { store, commit, disk, damage }: CheckoutJob,
  backing: BackingFile | undefined,
  first: FirstCluster,
): Promise<NonNullable<Qcow2WriterOptions['lateExtension']>> {
  const key = await originKey(store);
  const base = backing?.holds && { ...backing.holds, file: backing.file };
  return (places) =>
    damage === undefined || damage.isEmpty
      ? encodeOrigin({ commit, disk: disk.name, base, firstCluster: first.cluster, ...places }, key)
      : undefined;
}

/** The first cluster that goes into a file, when it was seen. */
export interface FirstCluster {
  cluster: number | undefined;
}

async function* noteFirst(
  first: FirstCluster,
  clusters: AsyncIterable<ImageCluster>,
): AsyncGenerator<ImageCluster> {
  for await (const entry of clusters) {
    first.cluster ??= entry.cluster;
    yield entry;
  }
}

/** The disk's first cluster, when nothing else goes into an overlay: by one that has no entry at all nobody could tell that it was emptied later. */
async function* neverNone(
  job: CheckoutJob,
  clusters: AsyncIterable<ImageCluster>,
): AsyncGenerator<ImageCluster> {
  let isNone = true;
  for await (const entry of clusters) {
    isNone = false;
    yield entry;
  }
  if (isNone && job.disk.virtualSize > 0) yield { cluster: 0, id: await storedAt(job, 0) };
}

/** An L1 table has 32 MiB at most, QEMU's limit, of entries of 8 bytes; each leads to a cluster of as many. */
const MOST_L1_ENTRIES = (32 * 2 ** 20) / 8;

/** @throws ImgstoreError `UNSUPPORTED` for a disk that qcow2 cannot hold in clusters of its size */
export function refuseTooLarge({ path, disk: { virtualSize, clusterSize } }: CheckoutJob): void {
  const most = Math.min(MOST_L1_ENTRIES * (clusterSize / 8) * clusterSize, 2 ** 53 - 1024);
  if (virtualSize <= most) return;
  throw new ImgstoreError(
    'UNSUPPORTED',
    `${path}: the disk has ${virtualSize} bytes, a qcow2 with clusters of ${clusterSize} bytes ${most} at most: use --format raw`,
    { path, size: virtualSize },
  );
}

/** A backing file may be longer than the disk: what lies behind the end is not seen. */
async function* onDisk(
  disk: VersionDisk,
  clusters: AsyncIterable<ImageCluster>,
): AsyncGenerator<ImageCluster> {
  const end = clusterCount(disk.virtualSize, disk.clusterSize);
  for await (const entry of clusters) {
    if (entry.cluster >= end) return;
    yield entry;
  }
}

async function* place(
  writer: Qcow2Writer,
  disk: VersionDisk,
  clusters: AsyncIterable<ImageCluster>,
): AsyncGenerator<PlacedCluster> {
  for await (const { cluster, id } of clusters) {
    if (id === undefined) await writer.zero(cluster, 1);
    else yield { cluster, id, length: clusterLength(disk, cluster), to: await writer.allocate(cluster) };
  }
}
