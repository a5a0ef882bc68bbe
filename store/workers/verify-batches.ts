import type { Pack, PackOrder } from '../../pack/index.ts';
import { BATCH_BYTES } from '../batches.ts';
import type { PackedToVerify } from './verify-jobs.ts';

/** Objects that are verified together; commits and nodes of maps are small. */
const MOST_BATCH_OBJECTS = 256;

/** Something to be verified, and about how much it holds. */
export interface SizedItem {
  /** Bytes. */
  readonly inflated: number;
}

/** Gathers what is to be verified into jobs for threads. */
export async function* verifyBatches<Item extends SizedItem>(
  items: AsyncIterable<Item>,
): AsyncGenerator<readonly Item[]> {
  let batch: Item[] = [];
  let bytes = 0;
  for await (const item of items) {
    if (batch.length === MOST_BATCH_OBJECTS || (batch.length > 0 && bytes + item.inflated > BATCH_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(item);
    bytes += item.inflated;
  }
  if (batch.length > 0) yield batch;
}

/** The i-th entry of a pack, to be verified. @throws ImgstoreError `DAMAGED` when its chain cannot be followed */
export function packedToVerify(
  pack: Pack,
  order: PackOrder,
  i: number,
): SizedItem & { readonly item: PackedToVerify } {
  const position = order.positions[i]!;
  const offset = order.offset(i);
  const streams = pack.streamsAt(offset);
  const item = { id: pack.idx.id(position), streams, offset, end: order.end(i), crc: pack.idx.crc(position) };
  return { item, inflated: Math.max(streams.base.size, ...streams.deltas.map(({ size }) => size)) };
}
