import { crc32 } from 'node:zlib';
import { ImgstoreError } from '../errors/index.ts';
import { ID_BYTES } from '../objects/index.ts';
import type { EntryHead } from './entry.ts';
import type { PackOrder } from './order.ts';
import type { Pack } from './pack.ts';

/** Bytes that deflate may add to what does not shrink, and more. */
const SPARE_BYTES = 1024;
const LEAST_STREAM_BYTES = 2;

/** An entry as it lies in its pack. */
export interface RawEntry {
  readonly head: EntryHead;
  /** The zlib stream behind the head. */
  readonly stream: Buffer;
}

/**
 * The i-th entry of a pack, to be copied as it is: it is not inflated, so that only its CRC-32 tells that it is whole.
 * @param size bytes that its stream may take twice: by default those that it holds
 * @throws ImgstoreError `DAMAGED` naming pack and offset
 */
export function readRawEntry(pack: Pack, order: PackOrder, i: number, size?: number): RawEntry {
  const offset = order.offset(i);
  const damaged = (reason: string) =>
    new ImgstoreError('DAMAGED', `${pack.path}: entry at ${offset} ${reason}`, { path: pack.path, offset });
  const head = pack.head(offset);
  const length = order.end(i) - offset - head.length;
  if (length < LEAST_STREAM_BYTES || length > (size ?? head.size) * 2 + ID_BYTES + SPARE_BYTES)
    throw damaged(`takes ${length} bytes`);
  const bytes = Buffer.allocUnsafe(head.length + length);
  pack.readInto(bytes, offset);
  if (crc32(bytes) !== pack.idx.crc(order.positions[i]!)) throw damaged('does not fit its CRC-32');
  return { head, stream: bytes.subarray(head.length) };
}
