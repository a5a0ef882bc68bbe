import { codecs, ID_BYTES } from '../../objects/index.ts';
import { encodeFanOut, FAN_OUT_BYTES, FAN_OUT_ENTRIES } from '../id-table.ts';
import {
  BASE_COUNT_AT,
  CHUNK_ALIGNMENT,
  CHUNK_COUNT_AT,
  CHUNK_NAME_BYTES,
  CHUNK_ROW_BYTES,
  CHUNK_TABLE_AT,
  FAN_OUT,
  HASH_AT,
  HASH_SHA256,
  IDS,
  LARGE_OFFSET_BYTES,
  LARGE_OFFSET_FLAG,
  LARGE_OFFSETS,
  MIDX_SIGNATURE,
  MIDX_VERSION,
  MOST_SMALL_OFFSET,
  PACK_COUNT_AT,
  PACK_NAMES,
  PACK_NUMBER_BYTES,
  PLACE_BYTES,
  PLACES,
  VERSION_AT,
} from './layout.ts';
import { MergedIndexes, type MidxSource } from './merge.ts';

/** Rows that are encoded at a time. */
const BLOCK_ROWS = 1 << 16;

/** A chunk before it is encoded. */
interface Chunk {
  readonly name: number;
  readonly size: number;
  readonly blocks: () => Iterable<Buffer>;
}

/**
 * The bytes of a multi-pack-index over some packs, in blocks. Memory: 16 bytes an object and some ids, however many packs there are.
 * @throws ImgstoreError `DAMAGED` when an index of a pack has an offset that is none
 */
export function* encodeMidx(sources: readonly MidxSource[]): Generator<Buffer> {
  const chunks = chunksOf(new MergedIndexes(sources));
  const hash = codecs().hash.create();
  for (const block of [encodeHead(sources.length, chunks), ...chunks]) {
    for (const bytes of Buffer.isBuffer(block) ? [block] : block.blocks()) {
      hash.update(bytes);
      yield bytes;
    }
  }
  yield Buffer.from(hash.digest());
}

function chunksOf(merged: MergedIndexes): Chunk[] {
  const names = encodeNames(merged.names);
  const chunks = [
    { name: PACK_NAMES, size: names.length, blocks: () => [names] },
    { name: FAN_OUT, size: FAN_OUT_BYTES, blocks: () => [encodeFanOut(merged.inBucket)] },
    { name: IDS, size: merged.count * ID_BYTES, blocks: () => idBlocks(merged) },
    { name: PLACES, size: merged.count * PLACE_BYTES, blocks: () => placeBlocks(merged) },
  ];
  if (!needsLargeOffsets(merged)) return chunks;
  const size = countLargeOffsets(merged) * LARGE_OFFSET_BYTES;
  return [...chunks, { name: LARGE_OFFSETS, size, blocks: () => largeOffsetBlocks(merged) }];
}

function encodeHead(packs: number, chunks: readonly Chunk[]): Buffer {
  const head = Buffer.alloc(CHUNK_TABLE_AT + (chunks.length + 1) * CHUNK_ROW_BYTES);
  head.writeUInt32BE(MIDX_SIGNATURE, 0);
  head.writeUInt8(MIDX_VERSION, VERSION_AT);
  head.writeUInt8(HASH_SHA256, HASH_AT);
  head.writeUInt8(chunks.length, CHUNK_COUNT_AT);
  head.writeUInt8(0, BASE_COUNT_AT);
  head.writeUInt32BE(packs, PACK_COUNT_AT);
  let at = head.length;
  for (const [i, { name, size }] of [...chunks, { name: 0, size: 0 }].entries()) {
    const row = CHUNK_TABLE_AT + i * CHUNK_ROW_BYTES;
    head.writeUInt32BE(name, row);
    head.writeBigUInt64BE(BigInt(at), row + CHUNK_NAME_BYTES);
    at += size;
  }
  return head;
}

function encodeNames(names: readonly string[]): Buffer {
  const bytes = Buffer.from(names.map((name) => `${name}\0`).join(''));
  const padding = (CHUNK_ALIGNMENT - (bytes.length % CHUNK_ALIGNMENT)) % CHUNK_ALIGNMENT;
  return Buffer.concat([bytes, Buffer.alloc(padding)]);
}

function* idBlocks(merged: MergedIndexes): Generator<Buffer> {
  for (let byte = 0; byte < FAN_OUT_ENTRIES; byte++) {
    if (merged.inBucket[byte] !== 0) yield merged.ids(byte);
  }
}

function* placeBlocks(merged: MergedIndexes): Generator<Buffer> {
  const smallOnly = !needsLargeOffsets(merged);
  let nextLarge = 0;
  for (let first = 0; first < merged.count; first += BLOCK_ROWS) {
    const rows = Math.min(BLOCK_ROWS, merged.count - first);
    const block = Buffer.allocUnsafe(rows * PLACE_BYTES);
    for (let i = 0; i < rows; i++) {
      const offset = merged.offset[first + i]!;
      const small = smallOnly || offset < LARGE_OFFSET_FLAG;
      block.writeUInt32BE(merged.pack[first + i]!, i * PLACE_BYTES);
      block.writeUInt32BE(
        small ? offset : LARGE_OFFSET_FLAG + nextLarge++,
        i * PLACE_BYTES + PACK_NUMBER_BYTES,
      );
    }
    yield block;
  }
}

function* largeOffsetBlocks(merged: MergedIndexes): Generator<Buffer> {
  for (let first = 0; first < merged.count; first += BLOCK_ROWS) {
    const offsets = merged.offset.subarray(first, Math.min(first + BLOCK_ROWS, merged.count));
    const large = offsets.filter((offset) => offset >= LARGE_OFFSET_FLAG);
    const block = Buffer.allocUnsafe(large.length * LARGE_OFFSET_BYTES);
    large.forEach((offset, i) => {
      block.writeBigUInt64BE(BigInt(offset), i * LARGE_OFFSET_BYTES);
    });
    yield block;
  }
}

/** git writes LOFF only when an offset does not fit 32 bits; then all those that do not fit 31 are in it. */
function needsLargeOffsets({ offset, count }: MergedIndexes): boolean {
  return offset.subarray(0, count).some((each) => each > MOST_SMALL_OFFSET);
}

function countLargeOffsets({ offset, count }: MergedIndexes): number {
  return offset
    .subarray(0, count)
    .reduce((large, each) => (each >= LARGE_OFFSET_FLAG ? large + 1 : large), 0);
}
