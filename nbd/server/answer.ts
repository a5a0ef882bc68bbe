import { Command, CommandFlag } from '../protocol/constants.ts';
import type { ParsedRequest } from '../protocol/request.ts';
import type { Buffers } from './buffers.ts';
import type { NbdExport } from './export.ts';
import { readReply } from './read.ts';
import { type ReplyBytes, successReply } from './replies.ts';
import { MAX_STATUS_REPLY_BYTES, statusReply } from './status.ts';
import type { Terms } from './terms.ts';

/** Bytes of memory that a request takes up until it is answered and the reply is sent. */
export function memoryOf({ command, length }: ParsedRequest): number {
  if (command === Command.read || command === Command.write) return length;
  return command === Command.blockStatus ? MAX_STATUS_REPLY_BYTES : 0;
}

/**
 * Does what a request asks for, which has passed the gate.
 * @param payload of a write
 * @throws what the export throws
 */
export async function answer(
  request: ParsedRequest,
  payload: Buffer,
  terms: Terms,
  buffers: Buffers,
): Promise<ReplyBytes> {
  if (request.command === Command.read) return readReply(request, terms, buffers);
  if (request.command === Command.blockStatus) return statusReply(request, terms);
  await change(request, payload, terms.export);
  return successReply(request, terms);
}

async function change(
  { command, flags, offset, length }: ParsedRequest,
  payload: Buffer,
  disk: NbdExport,
): Promise<void> {
  if (command === Command.flush) return disk.flush!();
  if (length > 0) {
    if (command === Command.write) await disk.write!(offset, payload);
    else if (command === Command.trim) await disk.trim!(offset, length);
    else if (command === Command.cache) await disk.cache!(offset, length);
    else {
      const mayPunch = (flags & CommandFlag.noHole) === 0;
      await disk.zero!(offset, length, { mayPunch, fast: (flags & CommandFlag.fastZero) !== 0 });
    }
  }
  if ((flags & CommandFlag.fua) !== 0) await disk.flush!();
}
