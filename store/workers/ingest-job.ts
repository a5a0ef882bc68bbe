import { crc32 } from 'node:zlib';
import { changedWhileRead, type FilePiece, isZero, PieceReader } from '../../block/index.ts';
import { codecs, deflateRoom, ObjectFrame, type ObjectId, storeInstead } from '../../objects/index.ts';
import { encodeEntryHead, type PackableObject } from '../../pack/index.ts';

/** Clusters in a shared buffer, one behind the other, each `clusterSize` long but the last, which ends at `length`. */
export interface ClusterBatch {
  readonly buffer: SharedArrayBuffer;
  /** Bytes in use. */
  readonly length: number;
  readonly clusterSize: number;
}

/** Clusters as they lie in files, one behind the other, each `clusterSize` long but the last, which ends at `length`. */
export interface FileBatch {
  readonly pieces: readonly FilePiece[];
  /** Bytes in all. */
  readonly length: number;
  readonly clusterSize: number;
}

/** Clusters to be hashed, and what of them is to be stored. */
export interface IngestJob {
  readonly batch: ClusterBatch | FileBatch;
  /** Undefined when the ids are all that is wanted. */
  readonly store: StoreOrder | undefined;
}

/** Which clusters to deflate, and where to put the streams. */
export interface StoreOrder {
  /** The id of each cluster to be stored, by its place in the batch; undefined for all that hold data, whose ids are not known yet. */
  readonly picks: readonly (ObjectId | undefined)[] | undefined;
  /** zlib level. */
  readonly level: number;
  /** Room for `deflateRoom` of every cluster. */
  readonly output: SharedArrayBuffer;
}

export interface IngestedClusters {
  /** The id of each cluster; undefined for one of zeros, or one that was not to be stored. */
  readonly ids: readonly (ObjectId | undefined)[];
  /** For each cluster where its stream ends in the output, which begins where the one before ends; empty without an order to store. */
  readonly ends: readonly number[];
  /** For each cluster the CRC-32 of its entry in a pack. */
  readonly crcs: readonly number[];
}

/**
 * Reads clusters, hashes them, and deflates what is to be stored, cluster by cluster: each stays in the processor's cache meanwhile. One that does not become smaller is stored as it is,
 * which inflates faster.
 * @throws ImgstoreError `IN_USE` when a cluster is not any more what it was, `IO`
 */
export function ingest({ batch, store }: IngestJob): IngestedClusters {
  const source = clusterReader(batch);
  const ids: (ObjectId | undefined)[] = [];
  const ends: number[] = [];
  const crcs: number[] = [];
  let end = 0;
  for (let at = 0; at < batch.length; at += batch.clusterSize) {
    const length = Math.min(batch.clusterSize, batch.length - at);
    const wanted = store?.picks?.[ids.length];
    let crc = 0;
    if (store?.picks !== undefined && wanted === undefined) {
      source.skip(length);
      ids.push(undefined);
    } else {
      const data = source.read(length);
      const id = isZero(data) ? undefined : frame.id();
      if (wanted !== undefined && id !== wanted) throw changedWhileRead(source.name);
      if (store !== undefined && id !== undefined) {
        const stream = new Uint8Array(store.output, end, deflateRoom(length));
        const used = deflateCluster(data, store.level, stream);
        end += used;
        crc = crc32(stream.subarray(0, used), crc32(encodeEntryHead('blob', length)));
      }
      ids.push(id);
    }
    ends.push(end);
    crcs.push(crc);
  }
  return store === undefined ? { ids, ends: [], crcs: [] } : { ids, ends, crcs };
}

/** The clusters that were stored, as objects; their streams lie in the output. */
export function ingestedObjects(
  { length, clusterSize }: ClusterBatch | FileBatch,
  { ids, ends, crcs }: IngestedClusters,
  output: SharedArrayBuffer,
): PackableObject[] {
  const streams = new Uint8Array(output);
  return ids.flatMap((id, i) => {
    if (id === undefined) return [];
    const size = Math.min(clusterSize, length - i * clusterSize);
    return { id, type: 'blob', size, deflated: streams.subarray(ends[i - 1] ?? 0, ends[i]), crc: crcs[i] };
  });
}

/** Returns the length of the stream. */
function deflateCluster(cluster: Uint8Array, level: number, into: Uint8Array): number {
  const length = codecs().deflate.deflateInto(cluster, level, into);
  return length < cluster.length ? length : storeInstead(cluster, into, length);
}

/** The cluster at work, with its header: of this thread. */
const frame = new ObjectFrame('blob');

/** Hands out the clusters of a batch in {@link frame}. */
interface ClusterReader {
  /** What is read, for messages. */
  readonly name: string;
  read(length: number): Uint8Array;
  skip(length: number): void;
}

function clusterReader(batch: ClusterBatch | FileBatch): ClusterReader {
  return 'pieces' in batch ? fileReader(batch) : bufferReader(batch);
}

function fileReader({ pieces }: FileBatch): ClusterReader {
  const reader = new PieceReader(pieces);
  return {
    name: pieces.find(({ fd }) => fd !== undefined)?.path ?? 'zeros',
    read: (length) => {
      const data = frame.resize(length);
      reader.read(data);
      return data;
    },
    skip: (length) => reader.skip(length),
  };
}

function bufferReader({ buffer }: ClusterBatch): ClusterReader {
  let at = 0;
  return {
    name: 'a buffer',
    read: (length) => {
      const data = frame.resize(length);
      data.set(new Uint8Array(buffer, at, length));
      at += length;
      return data;
    },
    skip: (length) => {
      at += length;
    },
  };
}
