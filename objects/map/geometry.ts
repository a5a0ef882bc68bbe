import type { ObjectId } from '../id.ts';

/**
 * The shape of a cluster map: a radix-256 tree over cluster numbers, whose nodes are git trees with the names `00` to `ff`.
 * A disk of n clusters has ceil(log256 n) levels, at least one; level 1 is the one whose entries are clusters.
 */
export const FAN_OUT = 256;

/** Names of a node's entries by index: two lower-case hex digits. */
export const SLOT_NAMES: readonly string[] = Array.from({ length: FAN_OUT }, (_, i) =>
  i.toString(16).padStart(2, '0'),
);

/** The largest number of levels: 256^6 clusters of 4 KiB are more than 2^53 bytes. */
export const MOST_LEVELS = 6;

/** Number of clusters of a disk; the last may be shorter than the others. Sizes in bytes. */
export function clusterCount(virtualSize: number, clusterSize: number): number {
  return Math.ceil(virtualSize / clusterSize);
}

/** Number of levels of the map of a disk with `clusters` clusters. */
export function mapLevels(clusters: number): number {
  let levels = 1;
  for (let covered = FAN_OUT; covered < clusters; covered *= FAN_OUT) levels++;
  return levels;
}

/** Clusters below one entry of a node at `level` (1 for the lowest): 256^(level − 1). */
export function clustersPerSlot(level: number): number {
  return FAN_OUT ** (level - 1);
}

/** A root with the number of levels it stands on; an undefined root is a map of zeros. */
export interface MapRoot {
  readonly id: ObjectId | undefined;
  readonly levels: number;
}
