import { ImgstoreError } from '../errors/index.ts';
import type { FilePiece } from './file-piece.ts';

/**
 * What a layer holds in a range:
 * - `data`: bytes that are stored;
 * - `zero`: known to read as zeros, by this layer's own word (it hides what a backing file holds there);
 * - `hole`: not allocated in this layer or in any below it; reads as zeros.
 */
export type ExtentKind = 'data' | 'zero' | 'hole';

/** A range of a disk with one kind; `offset` and `length` in bytes, `length` > 0. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
  readonly kind: ExtentKind;
}

/** What a disk holds in a range when it is laid beside another one: `same`, what that one holds there, or anything by itself. */
export type ComparedKind = ExtentKind | 'same';

/** A range of a disk that is laid beside another one; `offset` and `length` in bytes, `length` > 0. */
export interface ComparedExtent {
  readonly offset: number;
  readonly length: number;
  readonly kind: ComparedKind;
}

/**
 * A readable disk: raw file, block device, qcow2 chain, committed version, NBD export.
 *
 * The one interface between what can be read and what reads. Offsets and lengths are bytes, at most 2^53 − 1.
 */
export interface BlockSource {
  /** Virtual size in bytes. */
  readonly size: number;
  /**
   * Extents that cover [offset, offset + length) without gap or overlap, in order. Neighbours may have the same
   * kind. Metadata is read as the walk goes on, so an empty terabyte costs no memory.
   * @throws ImgstoreError `USAGE` when the range leaves the disk.
   */
  extents(offset: number, length: number): AsyncIterable<Extent>;
  /**
   * Fills all of `into` with the bytes at `offset`. Calls may overlap in time.
   * @throws ImgstoreError `USAGE` when the range leaves the disk, `BAD_IMAGE` or `IO` when bytes cannot be had.
   */
  read(offset: number, into: Uint8Array): Promise<void>;
  /**
   * Where the bytes of a range lie as they are in files: neighbouring pieces that cover it, for a thread that reads them by itself; they hold until {@link BlockSource.close}. Undefined
   * when some do not lie so: they are compressed, encrypted, in memory or on another machine. A kind of source of which no range does has no such method.
   * @throws ImgstoreError `USAGE` when the range leaves the disk, `BAD_IMAGE` or `IO` when that cannot be told.
   */
  locate?(offset: number, length: number): Promise<readonly FilePiece[] | undefined>;
  /** Gives back every file handle. A second call does nothing. */
  close(): Promise<void>;
}

/** The gate before every access: throws `USAGE` unless [offset, offset + length) lies within [0, size). */
export function checkRange(size: number, offset: number, length: number): void {
  if (
    !Number.isSafeInteger(offset) ||
    !Number.isSafeInteger(length) ||
    offset < 0 ||
    length < 0 ||
    offset > size - length
  ) {
    throw new ImgstoreError('USAGE', `range ${offset}+${length} is outside of a disk of ${size} bytes`, {
      offset,
      length,
      size,
    });
  }
}
