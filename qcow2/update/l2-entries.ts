import type { Geometry } from '../meta/geometry.ts';
import { ALL_SUBCLUSTERS, writeStandardEntry, writeSubclusterBits } from '../meta/l2-encode.ts';
import { compressedRange, entryOffset, extendedKind, standardKind } from '../meta/l2-entry.ts';

/** What an L2 entry leads to. */
export interface PresentEntry {
  /** Host offset of the guest's cluster where it may be written in place: nothing else leads there. */
  readonly own: number | undefined;
  /** All of {@link own} shows: with extended entries some subclusters may be taken from elsewhere. */
  readonly isWhole: boolean;
  /** The entry hides whatever a backing file has, and reads as zeros. */
  readonly isZero: boolean;
  /** Nothing is there: the backing file shows. */
  readonly isUnallocated: boolean;
  /** Host offsets of the clusters that it refers to. */
  readonly clusters: readonly number[];
}

const HIGH_COPIED = 0x8000_0000;

/** Reads the entry at byte `at` of an L2 table. */
export function readEntry(geometry: Geometry, table: Buffer, at: number): PresentEntry {
  const { clusterBits, clusterSize, extendedL2 } = geometry;
  const high = table.readUInt32BE(at);
  const low = table.readUInt32BE(at + 4);
  const kind = extendedL2 ? extendedKind(high, low, false) : standardKind(high, low, false);
  if (kind === 'compressed') {
    const { offset, length } = compressedRange(high, low, clusterBits);
    const first = offset - (offset % clusterSize);
    const count = Math.floor((offset + length - 1) / clusterSize) - first / clusterSize + 1;
    const clusters = Array.from({ length: count }, (_, i) => first + i * clusterSize);
    return { own: undefined, isWhole: false, isZero: false, isUnallocated: false, clusters };
  }
  const offset = entryOffset(high, low);
  const zeros = extendedL2 ? table.readUInt32BE(at + 8) : 0;
  const allocated = extendedL2 ? table.readUInt32BE(at + 12) : 0;
  const isZero = extendedL2 ? zeros === ALL_SUBCLUSTERS : kind === 'zero';
  return {
    own: offset !== 0 && (high & HIGH_COPIED) !== 0 ? offset : undefined,
    isWhole: extendedL2 ? allocated === ALL_SUBCLUSTERS : kind === 'data',
    isZero,
    isUnallocated: offset === 0 && !isZero && zeros === 0,
    clusters: offset === 0 ? [] : [offset],
  };
}

/** Writes the entry of a whole cluster of data that is its alone. @param host bytes */
export function writeOwnEntry({ extendedL2 }: Geometry, table: Buffer, at: number, host: number): void {
  writeStandardEntry(table, at, host, { copied: true, zero: false });
  if (extendedL2) writeSubclusterBits(table, at, ALL_SUBCLUSTERS, 0);
}

/** Writes the entry of a cluster without a place. @param zero hides the backing file, which version 2 cannot */
export function writePlacelessEntry(
  { extendedL2 }: Geometry,
  table: Buffer,
  at: number,
  zero: boolean,
): void {
  writeStandardEntry(table, at, 0, { copied: false, zero: zero && !extendedL2 });
  if (extendedL2) writeSubclusterBits(table, at, 0, zero ? ALL_SUBCLUSTERS : 0);
}
