import { allDone, isZero } from '../../block/index.ts';
import { CommandFlag } from '../protocol/constants.ts';
import { writeSimpleReply } from '../protocol/reply.ts';
import type { Request } from '../protocol/request.ts';
import type { Buffers } from './buffers.ts';
import type { NbdExport } from './export.ts';
import {
  DATA_HEAD_BYTES,
  HOLE_CHUNK_BYTES,
  holeReply,
  type ReplyBytes,
  SIMPLE_HEAD_BYTES,
  successReply,
  writeDataHead,
  writeHoleChunk,
} from './replies.ts';
import type { Terms } from './terms.ts';

/**
 * Shorter holes are sent as the zeros that they are: a chunk for each would cost both sides more. Shorter reads are read without asking for extents first, which takes as
 * long as reading them.
 */
const LEAST_HOLE_BYTES = 64 * 1024;

/** A stretch of a read, as it goes to the client. */
interface Piece {
  readonly offset: number;
  length: number;
  readonly isHole: boolean;
}

/** The reply to `NBD_CMD_READ`: one buffer, headers and data in the order of the disk. */
export function readReply(request: Required<Request>, terms: Terms, buffers: Buffers): Promise<ReplyBytes> {
  const { flags, length } = request;
  if (!terms.structured) return readSimple(request, terms.export, buffers);
  const isWhole = length <= LEAST_HOLE_BYTES || (flags & CommandFlag.df) !== 0;
  return isWhole ? readPacked(request, terms.export, buffers) : readPieces(request, terms.export, buffers);
}

async function readSimple(
  { cookie, offset, length }: Required<Request>,
  disk: NbdExport,
  buffers: Buffers,
): Promise<ReplyBytes> {
  const buffer = buffers.take(SIMPLE_HEAD_BYTES + length);
  const bytes = buffer.subarray(0, SIMPLE_HEAD_BYTES + length);
  writeSimpleReply(bytes, { error: 0, cookie });
  await disk.read(offset, bytes.subarray(SIMPLE_HEAD_BYTES));
  return { bytes, buffer };
}

/** One chunk. */
async function readPacked(
  { cookie, offset, length }: Required<Request>,
  disk: NbdExport,
  buffers: Buffers,
): Promise<ReplyBytes> {
  if (length === 0) return successReply(cookie, true);
  if (disk.isHole?.(offset, length)) return holeReply(cookie, offset, length);
  const buffer = buffers.take(DATA_HEAD_BYTES + length);
  const bytes = buffer.subarray(0, DATA_HEAD_BYTES + length);
  const data = bytes.subarray(DATA_HEAD_BYTES);
  await disk.read(offset, data);
  if (disk.isHole === undefined && isZero(data)) {
    buffers.give(buffer);
    return holeReply(cookie, offset, length);
  }
  writeDataHead(bytes, 0, cookie, offset, length, true);
  return { bytes, buffer };
}

/** A chunk for each piece of data and each hole. */
async function readPieces(
  { cookie, offset, length }: Required<Request>,
  disk: NbdExport,
  buffers: Buffers,
): Promise<ReplyBytes> {
  const pieces = await piecesOf(disk, offset, length);
  const total = pieces.reduce((sum, piece) => sum + bytesOf(piece), 0);
  const buffer = buffers.take(total);
  const bytes = buffer.subarray(0, total);
  const reads: Promise<void>[] = [];
  let at = 0;
  for (const [i, piece] of pieces.entries()) {
    const isLast = i === pieces.length - 1;
    if (piece.isHole) writeHoleChunk(bytes, at, cookie, piece.offset, piece.length, isLast);
    else {
      writeDataHead(bytes, at, cookie, piece.offset, piece.length, isLast);
      const from = at + DATA_HEAD_BYTES;
      reads.push(disk.read(piece.offset, bytes.subarray(from, from + piece.length)));
    }
    at += bytesOf(piece);
  }
  // Before the buffer goes anywhere.
  await allDone(reads);
  return { bytes, buffer };
}

/** Data and long holes of a range, by turns. */
async function piecesOf(disk: NbdExport, offset: number, length: number): Promise<readonly Piece[]> {
  const pieces: Piece[] = [];
  const add = (piece: Piece) => {
    const last = pieces.at(-1);
    if (last?.isHole === piece.isHole) last.length += piece.length;
    else pieces.push(piece);
  };
  let hole: Piece | undefined;
  const endHole = () => {
    if (hole !== undefined) add({ ...hole, isHole: hole.length >= LEAST_HOLE_BYTES });
    hole = undefined;
  };
  for await (const { offset: from, length: count, kind } of disk.extents(offset, length)) {
    if (kind === 'data') {
      endHole();
      add({ offset: from, length: count, isHole: false });
    } else if (hole === undefined) hole = { offset: from, length: count, isHole: true };
    else hole.length += count;
  }
  endHole();
  return pieces;
}

function bytesOf({ isHole, length }: Piece): number {
  return isHole ? HOLE_CHUNK_BYTES : DATA_HEAD_BYTES + length;
}
