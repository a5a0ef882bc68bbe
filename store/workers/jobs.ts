import { writevSync } from 'node:fs';
import { fromSystem, ImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
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

/** Inflates clusters, checks each against its id, and writes them; neighbours in the file go out in one write. */
export function restore({ fd, path, items }: RestoreJob): void {
  let run: Uint8Array[] = [];
  let runStart = 0;
  let runEnd = 0;
  const flush = () => {
    writeAll({ fd, path }, run, runStart);
    run = [];
  };
  for (const item of items) {
    const { to, length } = item;
    const data = readCluster(item);
    if (to !== runEnd || run.length === MOST_PIECES) {
      flush();
      runStart = to;
    }
    run.push(data);
    runEnd = to + length;
  }
  flush();
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

function readCluster({ id, stored, length }: StoredItem): Uint8Array {
  const { data } = readVerified(stored, id);
  if (data.length === length) return data;
  throw new ImgstoreError(
    'DAMAGED',
    `${stored.where}: cluster ${id} is ${data.length} bytes long, not ${length}`,
    { id },
  );
}

/** Linux takes at most this many pieces in one writev(2) (IOV_MAX). */
const MOST_PIECES = 1024;

function writeAll(
  { fd, path }: Pick<RestoreJob, 'fd' | 'path'>,
  pieces: readonly Uint8Array[],
  at: number,
): void {
  let left = [...pieces];
  let offset = at;
  try {
    while (left.length > 0) {
      let written = writevSync(fd, left, offset);
      offset += written;
      // A short write ends within a piece: what is left of it goes first.
      while (left.length > 0 && written >= left[0]!.length) written -= left.shift()!.length;
      if (written > 0) left = [left[0]!.subarray(written), ...left.slice(1)];
    }
  } catch (error) {
    throw fromSystem(error, path);
  }
}
