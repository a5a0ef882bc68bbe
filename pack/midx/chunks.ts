import type { ImgstoreError } from '../../errors/index.ts';
import type { ByteView } from '../bytes.ts';
import {
  CHUNK_ALIGNMENT,
  CHUNK_NAME_BYTES,
  CHUNK_ROW_BYTES,
  CHUNK_TABLE_AT,
  MIDX_TRAILER_BYTES,
} from './layout.ts';

/** Where a chunk lies. */
export interface ChunkPlace {
  readonly at: number;
  readonly size: number;
}

/**
 * Reads the table of chunks; chunks of other names than we know are for other readers.
 * @throws ImgstoreError what `damaged` makes, when the chunks do not lie one behind the other between the table and the checksum
 */
export function readChunkTable(
  view: ByteView,
  count: number,
  damaged: (reason: string) => ImgstoreError,
): Map<number, ChunkPlace> {
  const tableBytes = (count + 1) * CHUNK_ROW_BYTES;
  const table = Buffer.from(view.bytes(CHUNK_TABLE_AT, tableBytes));
  const chunks = new Map<number, ChunkPlace>();
  const beginning = (row: number) => table.readBigUInt64BE(row * CHUNK_ROW_BYTES + CHUNK_NAME_BYTES);
  if (beginning(0) < BigInt(CHUNK_TABLE_AT + tableBytes))
    throw damaged('chunk 0 begins within the table of chunks');
  const end = BigInt(view.size - MIDX_TRAILER_BYTES);
  if (beginning(count) !== end) throw damaged(`chunks end at ${beginning(count)}, not at ${end}`);
  for (let row = 0; row < count; row++) {
    const [at, next] = [beginning(row), beginning(row + 1)];
    if (next < at || next > end) throw damaged(`chunk ${row} goes from ${at} to ${next} of ${end}`);
    if (at % BigInt(CHUNK_ALIGNMENT) !== 0n) throw damaged(`chunk ${row} begins at ${at}, no multiple of 4`);
    const name = table.readUInt32BE(row * CHUNK_ROW_BYTES);
    if (name === 0) throw damaged(`chunk ${row} has no name`);
    if (chunks.has(name)) throw damaged(`chunk ${row} has the name of another`);
    chunks.set(name, { at: Number(at), size: Number(next - at) });
  }
  if (table.readUInt32BE(count * CHUNK_ROW_BYTES) !== 0)
    throw damaged('the last row of the table of chunks has a name');
  return chunks;
}
