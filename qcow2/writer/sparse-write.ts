import { isZero, type WriteTarget } from '../../block/index.ts';

/** Pieces that are tested for zeros on their own: the table of a large empty disk is nearly all zeros. */
const PIECE_BYTES = 64 * 1024;

/** Writes `bytes` at `offset`, leaving holes where they are zero: the target reads as zeros there already. */
export async function writeSparse(target: WriteTarget, offset: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    const piece = bytes.subarray(at, at + PIECE_BYTES);
    if (!isZero(piece)) await target.write(offset + at, piece);
  }
}
