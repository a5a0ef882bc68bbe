import { allDone, isZero } from '../../block/index.ts';
import { CommandFlag } from '../protocol/constants.ts';
import { writeSimpleReply } from '../protocol/reply.ts';
import type { ParsedRequest } from '../protocol/request.ts';
import type { Buffers } from './buffers.ts';
import type { NbdExport } from './export.ts';
import {
  dataHeadBytes,
  holeChunkBytes,
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
export function readReply(request: ParsedRequest, terms: Terms, buffers: Buffers): Promise<ReplyBytes> {
  const { flags, length } = request;
  if (!terms.structured) return readSimple(request, terms.export, buffers);
  const isWhole = length <= LEAST_HOLE_BYTES || (flags & CommandFlag.df) !== 0;
  return isWhole ? readPacked(request, terms, buffers) : readPieces(request, terms, buffers);
}

async function readSimple(
  { cookie, offset, length }: ParsedRequest,
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
async function readPacked(request: ParsedRequest, terms: Terms, buffers: Buffers): Promise<ReplyBytes> {
  const { offset, length } = request;
  const { export: disk } = terms;
  if (length === 0) return successReply(request, terms);
  if (disk.isHole?.(offset, length)) return holeReply(request, terms);
  const headBytes = dataHeadBytes(terms);
  const buffer = buffers.take(headBytes + length);
  const bytes = buffer.subarray(0, headBytes + length);
  const data = bytes.subarray(headBytes);
  await disk.read(offset, data);
  if (disk.isHole === undefined && isZero(data)) {
    buffers.give(buffer);
    return holeReply(request, terms);
  }
  writeDataHead(bytes, 0, request, terms, { offset, length, done: true });
  return { bytes, buffer };
}

/** A chunk for each piece of data and each hole. */
async function readPieces(request: ParsedRequest, terms: Terms, buffers: Buffers): Promise<ReplyBytes> {
  const { export: disk } = terms;
  const pieces = await piecesOf(disk, request.offset, request.length);
  const [headBytes, holeBytes] = [dataHeadBytes(terms), holeChunkBytes(terms)];
  const bytesOf = ({ isHole, length }: Piece) => (isHole ? holeBytes : headBytes + length);
  const total = pieces.reduce((sum, piece) => sum + bytesOf(piece), 0);
  const buffer = buffers.take(total);
  const bytes = buffer.subarray(0, total);
  const reads: Promise<void>[] = [];
  let at = 0;
  for (const [i, piece] of pieces.entries()) {
    const { offset, length, isHole } = piece;
    const range = { offset, length, done: i === pieces.length - 1 };
    if (isHole) writeHoleChunk(bytes, at, request, terms, range);
    else {
      writeDataHead(bytes, at, request, terms, range);
      reads.push(disk.read(offset, bytes.subarray(at + headBytes, at + headBytes + length)));
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
