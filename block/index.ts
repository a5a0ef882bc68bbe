/**
 * Plain disks and what wraps them: the one interface {@link BlockSource} and its implementations that know no
 * image format.
 *
 * Terms: an *extent* is a range of a disk with one kind (data, zero, hole); a *hole* is a range that no layer
 * has allocated; an *identity* tells one state of a file from another.
 *
 * @module
 */
export { allDone } from './all-done.ts';
export { type FileIdentity, fileIdentity, sameIdentity } from './file-identity.ts';
export { changedWhileRead, type FilePiece, PieceReader, zeroPiece } from './file-piece.ts';
export { InPlaceFile } from './in-place-file.ts';
export { MemorySource } from './memory.ts';
export { locatePadded, readPadded } from './padded.ts';
export { usedByQemu } from './qemu-locks.ts';
export { deviceNumber, RawFile } from './raw-file.ts';
export { ResizedSource } from './resized.ts';
export { parseSize } from './size.ts';
export {
  type BlockSource,
  type ComparedExtent,
  type ComparedKind,
  checkRange,
  type Extent,
  type ExtentKind,
} from './source.ts';
export type { WriteTarget } from './write-target.ts';
export { isZero } from './zero.ts';
