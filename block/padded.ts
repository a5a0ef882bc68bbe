import { type FilePiece, zeroPiece } from './file-piece.ts';
import type { BlockSource } from './source.ts';

/** Fills `into` from `offset` on; what lies beyond the end of the source reads as zeros, as it does in QEMU. */
export async function readPadded(source: BlockSource, offset: number, into: Uint8Array): Promise<void> {
  const present = Math.max(0, Math.min(into.length, source.size - offset));
  if (present < into.length) into.fill(0, present);
  if (present > 0) await source.read(offset, present < into.length ? into.subarray(0, present) : into);
}

/** Where those bytes lie as they are in files (see {@link BlockSource.locate}). */
export async function locatePadded(
  source: BlockSource,
  offset: number,
  length: number,
): Promise<readonly FilePiece[] | undefined> {
  const present = Math.max(0, Math.min(length, source.size - offset));
  const pieces = present === 0 ? [] : await source.locate?.(offset, present);
  return present === length ? pieces : pieces?.concat(zeroPiece(length - present));
}
