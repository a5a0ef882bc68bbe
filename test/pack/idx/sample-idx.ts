import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { EntryTable, encodeIdx } from '../../../pack/index.ts';
import { anyId } from '../../objects/arbitraries.ts';

export interface Row {
  readonly id: string;
  readonly crc: number;
  readonly offset: number;
}

const anyOffset = fc.oneof(
  fc.nat(),
  fc.maxSafeNat(),
  fc.constantFrom(2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
);

/** Rows of an index, in the order of their ids. */
export const anyRows: fc.Arbitrary<Row[]> = fc
  .uniqueArray(fc.record({ id: anyId, crc: fc.integer({ min: 0, max: 2 ** 32 - 1 }), offset: anyOffset }), {
    selector: (row) => row.id,
    maxLength: 40,
  })
  .map((rows) => rows.sort((a, b) => (a.id < b.id ? -1 : 1)));

/** The checksum of a pack that nobody made. */
export const PACK_CHECKSUM = Buffer.alloc(32, 0x5c);

/** The index of these rows. */
export function idxOf(rows: readonly Row[]): Buffer {
  const table = new EntryTable();
  for (const { id, crc, offset } of rows) table.add(Buffer.from(id, 'hex'), crc, offset);
  return encodeIdx(table, table.byId(), PACK_CHECKSUM);
}

/** The same bytes with a right checksum behind them. */
export function withChecksum(idx: Buffer): Buffer {
  const body = idx.subarray(0, -32);
  return Buffer.concat([body, createHash('sha256').update(body).digest()]);
}
