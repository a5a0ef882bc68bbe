import { ImgstoreError } from '../../errors/index.ts';
import { ObjectFrames, type ObjectId } from '../../objects/index.ts';
import { type PackedEntry, readBlob } from '../../pack/index.ts';
import { type CompressionType, loadCompressor } from '../../qcow2/index.ts';
import { ClusterWriter } from './cluster-writer.ts';
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

/** A cluster in a pack, and where it goes in a file. */
export interface PackedItem extends Omit<RestoreItem, 'stored'> {
  readonly entry: PackedEntry;
}

/** Clusters to write to an open file, ascending by `to`. */
export interface RestoreJob<Item> {
  readonly fd: number;
  /** The file's name, for messages. */
  readonly path: string;
  readonly items: readonly Item[];
  /** A {@link WriteTurn} of all jobs that write to the file. */
  readonly turn: SharedArrayBuffer;
}

/** Inflates clusters, checks each against its id, and writes it. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO` */
export function restore({ items, turn, ...file }: RestoreJob<RestoreItem>): void {
  const writer = new ClusterWriter(file, turn);
  for (const item of items) {
    writer.add(readCluster(item), item.to);
    writer.flush();
  }
}

/**
 * Reads clusters from packs, checks them against their ids, and writes them while the processor has them at hand. Returns the places in `items` of those that are left: deltas against objects that are named by
 * their ids, and whatever is wrong, about which {@link restore} says more.
 * @throws ImgstoreError `IO`
 */
export function restorePacked({ items, turn, ...file }: RestoreJob<PackedItem>): number[] {
  const writer = new ClusterWriter(file, turn);
  const left: number[] = [];
  const perGroup = ObjectFrames.countFor(Math.max(...items.map(({ length }) => length)));
  for (let first = 0; first < items.length; first += perGroup) {
    const group = items.slice(first, first + perGroup);
    const data = group.map((item, i) => readPacked(frames, item, first + i));
    const ids = frames.ids(group.length, first);
    for (const [i, { id, to }] of group.entries()) {
      const cluster = data[i];
      if (cluster === undefined || ids[i] !== id) left.push(first + i);
      else writer.add(cluster, to);
    }
    writer.offer();
  }
  writer.flush();
  return left;
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

/** The clusters at work, with their headers: of this thread. */
const frames = new ObjectFrames('blob');

/** The cluster in the frame of a number; undefined for what cannot be read so, or is damaged. */
export function readPacked(
  frames: ObjectFrames,
  { entry, length }: Pick<PackedItem, 'entry' | 'length'>,
  number: number,
): Uint8Array | undefined {
  const data = frames.resize(number, length);
  try {
    return readBlob(entry, data) ? data : undefined;
  } catch {
    return undefined;
  }
}

/** A cluster's bytes, checked against its id. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO` */
export function readCluster({ id, stored, length }: StoredItem): Uint8Array {
  const { data } = readVerified(stored, id);
  if (data.length === length) return data;
  throw new ImgstoreError(
    'DAMAGED',
    `${stored.where}: cluster ${id} is ${data.length} bytes long, not ${length}`,
    { id },
  );
}
