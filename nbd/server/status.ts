import type { ExtentKind } from '../../block/index.ts';
import { encodeExtendedStatus, encodeStatus, type StatusExtent } from '../protocol/block-status.ts';
import { AllocationFlag, Chunk, CommandFlag } from '../protocol/constants.ts';
import type { ParsedRequest } from '../protocol/request.ts';
import type { NbdExport } from './export.ts';
import { chunkReply, type ReplyBytes } from './replies.ts';
import type { Terms } from './terms.ts';

/** The number of `base:allocation`, on every connection. */
export const ALLOCATION_CONTEXT_ID = 1;

/** Extents of one reply; a client asks on behind them. */
const MAX_EXTENTS = 16 * 1024;
/** Memory that a reply takes up at most. */
export const MAX_STATUS_REPLY_BYTES = 16 * MAX_EXTENTS;
/** The longest range that is looked at for one reply: a map of a terabyte would take the server's time for too long. */
const MAX_RANGE_BYTES = 2 ** 36;

const FLAGS: Readonly<Record<ExtentKind, number>> = {
  data: 0,
  zero: AllocationFlag.zero,
  hole: AllocationFlag.hole | AllocationFlag.zero,
};

/** The reply to `NBD_CMD_BLOCK_STATUS`. */
export async function statusReply(request: ParsedRequest, terms: Terms): Promise<ReplyBytes> {
  const { flags, offset, length } = request;
  const most = (flags & CommandFlag.reqOne) === 0 ? MAX_EXTENTS : 1;
  const extents = await statusOf(terms.export, offset, Math.min(length, MAX_RANGE_BYTES), most);
  return terms.extended
    ? chunkReply(
        request,
        terms,
        Chunk.extendedBlockStatus,
        encodeExtendedStatus(ALLOCATION_CONTEXT_ID, extents),
      )
    : chunkReply(request, terms, Chunk.blockStatus, encodeStatus(ALLOCATION_CONTEXT_ID, extents));
}

/** What the disk has in a range, neighbours of one kind joined, until there are `most`. */
async function statusOf(
  disk: NbdExport,
  offset: number,
  length: number,
  most: number,
): Promise<readonly StatusExtent[]> {
  const found: { length: number; readonly flags: number }[] = [];
  for await (const extent of disk.extents(offset, length)) {
    const flags = FLAGS[extent.kind];
    const last = found.at(-1);
    if (last?.flags === flags) last.length += extent.length;
    else if (found.length === most) break;
    else found.push({ length: extent.length, flags });
  }
  return found;
}
