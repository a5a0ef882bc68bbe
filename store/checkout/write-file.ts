import type { PendingFile } from '../../files/index.ts';
import type { ImageFormat } from '../../qcow2/index.ts';
import { inDisk } from '../version/map-errors.ts';
import { type CheckoutJob, type ImageCluster, jobClusters } from './job.ts';
import { rememberOutput } from './remember.ts';
import { type BackingFile, writeQcow2 } from './write-qcow2.ts';
import { writeRaw } from './write-raw.ts';

/** Writes a disk into one file that needs no other. Returns the bytes of data written. */
export function writeFlat(job: CheckoutJob, format: ImageFormat): Promise<number> {
  return write(job, format, (file) =>
    format === 'raw' ? writeRaw(job, file) : writeQcow2(job, file, jobClusters(job)),
  );
}

/** Writes what differs between a disk and a backing file. Returns the bytes of data written. */
export function writeOverlay(
  job: CheckoutJob,
  changes: AsyncIterable<ImageCluster>,
  backing: BackingFile,
): Promise<number> {
  return write(job, 'qcow2', (file) => writeQcow2(job, file, changes, backing));
}

function write(
  job: CheckoutJob,
  format: ImageFormat,
  writer: (file: PendingFile) => Promise<number>,
): Promise<number> {
  const { path, force, readOnly, onTaken } = job;
  const onPublished = (mtimeNs: bigint) => rememberOutput(job, format, mtimeNs);
  const named = (file: PendingFile) =>
    writer(file).catch((error: unknown) => {
      throw inDisk(job.disk, error);
    });
  return job.outputs.write({ path, force, readOnly, onTaken, onPublished }, named);
}
