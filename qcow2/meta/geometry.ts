import { EXTENDED_L2_ENTRY_BYTES, SUBCLUSTERS, TABLE_ENTRY_BYTES } from './layout.ts';

/** Sizes that follow from an image's cluster size and the form of its L2 entries; all in bytes unless said. */
export interface Geometry {
  readonly clusterBits: number;
  readonly clusterSize: number;
  readonly extendedL2: boolean;
  readonly l2EntryBytes: number;
  /** Entries of one L2 table, which fills one cluster. */
  readonly l2Entries: number;
  /** Guest bytes that one L2 table describes: at most 512 GiB. */
  readonly l2Span: number;
  /** The unit of allocation: a subcluster with extended L2 entries, else a cluster. */
  readonly unit: number;
}

/** The geometry of clusters of 2^`clusterBits` bytes. */
export function geometryOf(clusterBits: number, extendedL2: boolean): Geometry {
  const clusterSize = 2 ** clusterBits;
  const l2EntryBytes = extendedL2 ? EXTENDED_L2_ENTRY_BYTES : TABLE_ENTRY_BYTES;
  const l2Entries = clusterSize / l2EntryBytes;
  return {
    clusterBits,
    clusterSize,
    extendedL2,
    l2EntryBytes,
    l2Entries,
    l2Span: l2Entries * clusterSize,
    unit: extendedL2 ? clusterSize / SUBCLUSTERS : clusterSize,
  };
}
