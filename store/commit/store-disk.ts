import type { BlockSource } from '../../block/index.ts';
import { isImgstoreError } from '../../errors/index.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import type { HeldDisk } from './disk-map.ts';
import { type IngestBasis, type IngestedDisk, ingestDisk } from './ingest.ts';
import type { KnownDisk } from './known-disk.ts';

/** A disk whose clusters are in the store or in the transaction. */
export interface StoredDisk extends HeldDisk {
  readonly name: string;
  readonly newClusters: number;
  /** Bytes read from the image; 0 when the store knew all of it. */
  readonly readBytes: number;
}

/** What is needed to store disks. */
export interface DiskStoring {
  readonly store: Store;
  readonly transaction: ObjectTransaction;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
}

/**
 * Stores one disk: as what the store knows it to be, else by reading it, where the store knows another disk beside which it can be laid only what differs.
 * @param source the disk
 */
export async function storeDisk(
  name: string,
  source: BlockSource,
  { held, basis, expectedBytes }: Omit<KnownDisk, 'baseVersion'>,
  storing: DiskStoring,
): Promise<StoredDisk> {
  if (held !== undefined) return { name, ...held, newClusters: 0, readBytes: 0 };
  const ingested = await ingest(source, basis, expectedBytes, storing);
  return { name, virtualSize: source.size, ...ingested };
}

async function ingest(
  source: BlockSource,
  basis: IngestBasis | undefined,
  expectedBytes: number,
  { store, transaction, workers, monitor }: DiskStoring,
): Promise<IngestedDisk> {
  const { clusterSize, compression, objects: database } = store;
  const options = { clusterSize, compression, database, expectedBytes, transaction, workers, monitor };
  try {
    return await ingestDisk(source, { ...options, basis });
  } catch (error) {
    const isLost = isImgstoreError(error, 'DAMAGED') || isImgstoreError(error, 'NOT_FOUND');
    // A damaged map of the base must not keep a whole image out.
    if (basis === undefined || !isLost) throw error;
    return await ingestDisk(source, options);
  }
}
