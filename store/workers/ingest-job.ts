import { crc32 } from 'node:zlib';
import { changedWhileRead, type FilePiece, isZero, PieceReader } from '../../block/index.ts';
import { codecs, deflateRoom, ObjectFrames, type ObjectId, storeInstead } from '../../objects/index.ts';
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
 * Reads clusters, hashes them, and deflates what is to be stored, some clusters at a time: they stay in the processor's cache meanwhile. One that does not become smaller is stored as it is,
 * which inflates faster.
 * @throws ImgstoreError `IN_USE` when a cluster is not any more what it was, `IO`
 */
export function ingest({ batch, store }: IngestJob): IngestedClusters {
  const { length, clusterSize } = batch;
  const source = clusterReader(batch);
  const ids: (ObjectId | undefined)[] = Array.from({ length: Math.ceil(length / clusterSize) });
  const streams = store === undefined ? undefined : new StreamsOut(ids.length, store);
  let group: Cluster[] = [];
  const finishGroup = () => {
    for (const [i, id] of frames.ids(group.length).entries()) {
      const { number, data } = group[i]!;
      const wanted = store?.picks?.[number];
      if (wanted !== undefined && id !== wanted) throw changedWhileRead(source.name);
      ids[number] = id;
      streams?.add(number, data);
    }
    group = [];
  };

  const groupLength = ObjectFrames.countFor(clusterSize);
  for (const number of ids.keys()) {
    const size = Math.min(clusterSize, length - number * clusterSize);
    if (store?.picks !== undefined && store.picks[number] === undefined) {
      source.skip(size);
      continue;
    }
    const data = frames.resize(group.length, size);
    source.read(data);
    if (isZero(data)) continue;
    group.push({ number, data });
    if (group.length === groupLength) finishGroup();
  }
  finishGroup();
  return { ids, ends: streams?.ends() ?? [], crcs: streams?.crcs ?? [] };
}

/** A cluster in one of the {@link frames}. */
interface Cluster {
  /** Its place in the batch. */
  readonly number: number;
  readonly data: Uint8Array;
}

/** Deflates clusters one behind the other into the output of an order. */
class StreamsOut {
  /** For each cluster the CRC-32 of its entry in a pack; 0 for one that is not stored. */
  readonly crcs: number[];
  readonly #lengths: number[];
  readonly #order: StoreOrder;
  #end = 0;

  constructor(clusters: number, order: StoreOrder) {
    this.crcs = Array.from({ length: clusters }, () => 0);
    this.#lengths = Array.from({ length: clusters }, () => 0);
    this.#order = order;
  }

  /** @param number greater than those before */
  add(number: number, data: Uint8Array): void {
    const { output, level } = this.#order;
    const stream = new Uint8Array(output, this.#end, deflateRoom(data.length));
    const used = deflateCluster(data, level, stream);
    this.#end += used;
    this.#lengths[number] = used;
    this.crcs[number] = crc32(stream.subarray(0, used), crc32(encodeEntryHead('blob', data.length)));
  }

  /** For each cluster where its stream ends. */
  ends(): number[] {
    let end = 0;
    return this.#lengths.map((length) => {
      end += length;
      return end;
    });
  }
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

/** The clusters at work, with their headers: of this thread. */
const frames = new ObjectFrames('blob');

/** Hands out the clusters of a batch. */
interface ClusterReader {
  /** What is read, for messages. */
  readonly name: string;
  /** Fills `into` with what comes next. */
  read(into: Uint8Array): void;
  /** Leaves bytes out. */
  skip(length: number): void;
}

function clusterReader(batch: ClusterBatch | FileBatch): ClusterReader {
  return 'pieces' in batch ? fileReader(batch) : bufferReader(batch);
}

function fileReader({ pieces }: FileBatch): ClusterReader {
  const reader = new PieceReader(pieces);
  return {
    name: pieces.find(({ fd }) => fd !== undefined)?.path ?? 'zeros',
    read: (into) => reader.read(into),
    skip: (length) => reader.skip(length),
  };
}

function bufferReader({ buffer }: ClusterBatch): ClusterReader {
  let at = 0;
  return {
    name: 'a buffer',
    read: (into) => {
      into.set(new Uint8Array(buffer, at, into.length));
      at += into.length;
    },
    skip: (length) => {
      at += length;
    },
  };
}
