import type { BlockSource } from '../../block/index.ts';
import { badImage } from '../meta/fault.ts';
import { geometryOf } from '../meta/geometry.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';

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
 * @throws ImgstoreError `BAD_IMAGE` when it leaves the file.
 */
export async function readL1(
  host: BlockSource,
  { offset, entries, what, field }: L1Place,
  wanted: number,
  image: string,
): Promise<Buffer> {
  const bytes = entries * TABLE_ENTRY_BYTES;
  if (offset > host.size - bytes) {
    throw badImage(
      image,
      `${what} at offset ${offset} of ${bytes} bytes leaves the file of ${host.size} bytes: is the file cut off?`,
      { field, value: offset },
    );
  }
  const table = Buffer.alloc(wanted);
  const present = Math.min(bytes, wanted);
  await host.read(offset, table.subarray(0, present));
  return table;
}

/** Bytes of the L1 table that describe the disk; what a VM's saved state uses comes after them. */
export function usedL1Bytes(header: Qcow2Header, size: number = header.virtualSize): number {
  const { l2Span } = geometryOf(header.clusterBits, header.extendedL2);
  return Math.ceil(size / l2Span) * TABLE_ENTRY_BYTES;
}
