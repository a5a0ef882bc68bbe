import type { BlockSource } from '../../block/index.ts';

/** Fills `into` from `offset` on; what lies beyond the end of the source reads as zeros, as it does in QEMU. */
export async function readPadded(source: BlockSource, offset: number, into: Uint8Array): Promise<void> {
  const present = Math.max(0, Math.min(into.length, source.size - offset));
  if (present < into.length) into.fill(0, present);
  if (present > 0) await source.read(offset, present < into.length ? into.subarray(0, present) : into);
}
