import { writeSync } from 'node:fs';
import { fromSystem, ImgstoreError } from '../../errors/index.ts';
import { ObjectFrame, type ObjectId } from '../../objects/index.ts';
import { readWholeInto } from '../../pack/index.ts';
import { type CompressionType, loadCompressor } from '../../qcow2/index.ts';
import { readVerified, type StoredStream } from './stored-stream.ts';

/** A stored cluster. */
export interface StoredItem {
  readonly id: ObjectId;
  readonly stored: StoredStream;
  /** Length in bytes that the cluster must have. */
  readonly length: number;
}

/** A stored cluster and where it goes in a file. */
export interface RestoreItem extends StoredItem {
  /** Offset in the file. */
  readonly to: number;
}

/** Clusters to write to an open file, ascending by `to`. */
export interface RestoreJob {
  readonly fd: number;
  /** The file's name, for messages. */
  readonly path: string;
  readonly items: readonly RestoreItem[];
}

/** Inflates clusters, checks each against its id, and writes it while the processor has it at hand. */
export function restore({ fd, path, items }: RestoreJob): void {
  for (const item of items) writeAll({ fd, path }, readCluster(item), item.to);
}

/** Clusters to compress for a qcow2 image. */
export interface CompressJob {
  readonly items: readonly StoredItem[];
  /** Bytes of the image's clusters, which a disk's last may not fill. */
  readonly clusterSize: number;
  readonly type: CompressionType;
  readonly level: number;
  /** Room for all clusters as they are. */
  readonly output: SharedArrayBuffer;
}

/** A cluster in the output of a {@link CompressJob}, behind the one before. */
export interface CompressedItem {
  /** Bytes. */
  readonly length: number;
  /** False for one that does not become shorter, which is there as it is. */
  readonly compressed: boolean;
}

/** Inflates clusters, checks each against its id, and compresses it as qcow2 does into the output. */
export async function compress({
  items,
  clusterSize,
  type,
  level,
  output,
}: CompressJob): Promise<CompressedItem[]> {
  const compressCluster = await loadCompressor(type);
  const bytes = new Uint8Array(output);
  let end = 0;
  return items.map((item) => {
    const data = readCluster(item);
    const stream = compressCluster(padded(data, clusterSize), level);
    const made = stream ?? data;
    bytes.set(made, end);
    end += made.length;
    return { length: made.length, compressed: stream !== undefined };
  });
}

function padded(data: Uint8Array, length: number): Uint8Array {
  return data.length === length ? data : Buffer.concat([data], length);
}

/** The cluster at work, with its header: of this thread. */
const frame = new ObjectFrame('blob');

/** A cluster's bytes, checked against its id, until the next is read. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO` */
export function readCluster({ id, stored, length }: StoredItem): Uint8Array {
  const whole = readWhole(stored, id, length);
  if (whole !== undefined) return whole;
  const { data } = readVerified(stored, id);
  if (data.length === length) return data;
  throw new ImgstoreError(
    'DAMAGED',
    `${stored.where}: cluster ${id} is ${data.length} bytes long, not ${length}`,
    { id },
  );
}

/** Most clusters lie whole in packs: without memory for each, restoring takes a third less. Undefined for all else, and what is damaged, about which {@link readVerified} says more. */
function readWhole(stored: StoredStream, id: ObjectId, length: number): Uint8Array | undefined {
  if (stored.kind !== 'packed' || stored.type !== 'blob') return undefined;
  const data = frame.resize(length);
  try {
    return readWholeInto(stored, data) && frame.id() === id ? data : undefined;
  } catch {
    return undefined;
  }
}

/** @throws ImgstoreError `IO` */
export function writeAll({ fd, path }: Pick<RestoreJob, 'fd' | 'path'>, bytes: Uint8Array, at: number): void {
  try {
    for (let done = 0; done < bytes.length; )
      done += writeSync(fd, bytes, done, bytes.length - done, at + done);
  } catch (error) {
    throw fromSystem(error, path);
  }
}
