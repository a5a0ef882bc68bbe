import { codecs, ID_BYTES } from '../../objects/index.ts';
import type { EntryTable } from '../entry-table.ts';
import { encodeFanOut, FAN_OUT_ENTRIES } from '../id-table.ts';
import {
  CRC_BYTES,
  FAN_OUT_AT,
  IDS_AT,
  IDX_SIGNATURE,
  IDX_TRAILER_BYTES,
  IDX_VERSION,
  LARGE_OFFSET_BYTES,
  LARGE_OFFSET_FLAG,
  OFFSET_BYTES,
  ROW_BYTES,
} from './layout.ts';

/**
 * The index of a pack.
 * @param table the pack's entries
 * @param order positions in `table`, by id ascending
 * @param packChecksum the pack's last 32 bytes
 */
export function encodeIdx(table: EntryTable, order: Uint32Array, packChecksum: Uint8Array): Buffer {
  const count = order.length;
  let large = 0;
  for (const row of order) if (table.offset(row) >= LARGE_OFFSET_FLAG) large++;

  const crcAt = IDS_AT + count * ID_BYTES;
  const offsetAt = crcAt + count * CRC_BYTES;
  const largeAt = offsetAt + count * OFFSET_BYTES;
  const idx = Buffer.alloc(IDS_AT + count * ROW_BYTES + large * LARGE_OFFSET_BYTES + IDX_TRAILER_BYTES);
  idx.writeUInt32BE(IDX_SIGNATURE, 0);
  idx.writeUInt32BE(IDX_VERSION, 4);

  const inBucket = new Uint32Array(FAN_OUT_ENTRIES);
  let nextLarge = 0;
  order.forEach((row, i) => {
    const id = table.id(row);
    inBucket[id[0]!]!++;
    idx.set(id, IDS_AT + i * ID_BYTES);
    idx.writeUInt32BE(table.crc(row), crcAt + i * CRC_BYTES);
    const offset = table.offset(row);
    if (offset < LARGE_OFFSET_FLAG) {
      idx.writeUInt32BE(offset, offsetAt + i * OFFSET_BYTES);
    } else {
      idx.writeUInt32BE(LARGE_OFFSET_FLAG + nextLarge, offsetAt + i * OFFSET_BYTES);
      idx.writeBigUInt64BE(BigInt(offset), largeAt + nextLarge * LARGE_OFFSET_BYTES);
      nextLarge++;
    }
  });
  idx.set(encodeFanOut(inBucket), FAN_OUT_AT);
  idx.set(packChecksum, idx.length - IDX_TRAILER_BYTES);
  const body = idx.subarray(0, idx.length - ID_BYTES);
  idx.set(codecs().hash.create().update(body).digest(), body.length);
  return idx;
}
