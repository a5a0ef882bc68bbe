import { writeSync } from 'node:fs';
import { isZero } from '../../block/index.ts';
import { fromSystem, ImgstoreError } from '../../errors/index.ts';
import { codecs, type ObjectId, objectId, verifyObject } from '../../objects/index.ts';
import { readStored, type StoredStream } from './stored-stream.ts';

/** Clusters in a shared buffer, one behind the other, each `clusterSize` long but the last, which ends at `length`. */
export interface ClusterBatch {
  readonly buffer: SharedArrayBuffer;
  /** Bytes in use. */
  readonly length: number;
  readonly clusterSize: number;
}

/** The id of each cluster of a batch; undefined for one of zeros. */
export function digest(batch: ClusterBatch): (ObjectId | undefined)[] {
  return clusters(batch).map((cluster) => (isZero(cluster) ? undefined : objectId('blob', cluster)));
}

/** Which clusters of a batch to deflate. */
export interface DeflateJob extends ClusterBatch {
  /** Places in the batch. */
  readonly picks: readonly number[];
  /** zlib level. */
  readonly level: number;
}

/** zlib streams one behind the other; stream i ends at `ends[i]`. */
export interface Deflated {
  readonly bytes: Uint8Array;
  readonly ends: readonly number[];
}

/** Deflates clusters. One that does not become smaller is stored as it is, which inflates faster. */
export function deflate({ picks, level, ...batch }: DeflateJob): Deflated {
  const { deflate: codec } = codecs();
  const all = clusters(batch);
  const streams = picks.map((pick) => {
    const cluster = all[pick]!;
    const stream = codec.deflate(cluster, level);
    return stream.length < cluster.length ? stream : codec.deflate(cluster, 0);
  });
  let end = 0;
  const ends = streams.map((stream) => (end += stream.length));
  // Shared memory goes back to the main thread without a copy.
  const bytes = new Uint8Array(new SharedArrayBuffer(end));
  streams.forEach((stream, i) => {
    bytes.set(stream, ends[i]! - stream.length);
  });
  return { bytes, ends };
}

/** A stored cluster and where it goes in a file. */
export interface RestoreItem {
  readonly id: ObjectId;
  readonly stored: StoredStream;
  /** Length in bytes that the cluster must have. */
  readonly length: number;
  /** Offset in the file. */
  readonly to: number;
}

/** Clusters to write to an open file, ascending by `to`. */
export interface RestoreJob {
  readonly fd: number;
  readonly items: readonly RestoreItem[];
}

/** Inflates clusters, checks each against its id, and writes them; neighbours in the file go out in one write. */
export function restore({ fd, items }: RestoreJob): void {
  let run: Uint8Array[] = [];
  let runStart = 0;
  let runEnd = 0;
  const flush = () => {
    if (run.length > 0) writeAll(fd, Buffer.concat(run, runEnd - runStart), runStart);
    run = [];
  };
  for (const { id, stored, length, to } of items) {
    const object = readStored(stored, id);
    verifyObject(id, object, stored.where);
    if (object.data.length !== length) {
      throw new ImgstoreError(
        'DAMAGED',
        `${stored.where}: cluster ${id} is ${object.data.length} bytes long, not ${length}`,
        { id },
      );
    }
    if (run.length === 0 || to !== runEnd) {
      flush();
      runStart = to;
    }
    run.push(object.data);
    runEnd = to + length;
  }
  flush();
}

function writeAll(fd: number, bytes: Uint8Array, at: number): void {
  try {
    for (let done = 0; done < bytes.length; )
      done += writeSync(fd, bytes, done, bytes.length - done, at + done);
  } catch (error) {
    throw fromSystem(error, 'the output file');
  }
}

function clusters({ buffer, length, clusterSize }: ClusterBatch): Buffer[] {
  const all = Buffer.from(buffer, 0, length);
  return Array.from({ length: Math.ceil(length / clusterSize) }, (_, i) =>
    all.subarray(i * clusterSize, (i + 1) * clusterSize),
  );
}
