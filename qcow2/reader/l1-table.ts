import { badImage } from '../meta/fault.ts';
import { geometryOf } from '../meta/geometry.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import { checkTableClaims, type L1Host } from './table-claims.ts';

/** Where an L1 table lies. */
export interface L1Place {
  readonly offset: number;
  readonly entries: number;
  /** Whose it is, for errors: `the L1 table`. */
  readonly what: string;
  /** The field that says where it lies, for programs. */
  readonly field: string;
}

/**
 * Reads the first `wanted` bytes of an L1 table, all of which must lie in the file. What it does not have is
 * unallocated.
 * @throws ImgstoreError `BAD_IMAGE` when it leaves the file, `BAD_IMAGE` or `UNSUPPORTED` when it names more L2 tables
 * than the file can have.
 */
export async function readL1(
  host: L1Host,
  { offset, entries, what, field }: L1Place,
  wanted: number,
): Promise<Buffer> {
  const { source, image } = host;
  const bytes = entries * TABLE_ENTRY_BYTES;
  if (offset > source.size - bytes) {
    throw badImage(
      image,
      `${what} at offset ${offset} of ${bytes} bytes leaves the file of ${source.size} bytes: is the file cut off?`,
      { field, value: offset },
    );
  }
  const table = Buffer.alloc(wanted);
  const present = Math.min(bytes, wanted);
  await source.read(offset, table.subarray(0, present));
  checkTableClaims(table, what, host);
  return table;
}

/** Bytes of the L1 table that describe the disk; what a VM's saved state uses comes after them. */
export function usedL1Bytes(header: Qcow2Header, size: number = header.virtualSize): number {
  const { l2Span } = geometryOf(header.clusterBits, header.extendedL2);
  return Math.ceil(size / l2Span) * TABLE_ENTRY_BYTES;
}
