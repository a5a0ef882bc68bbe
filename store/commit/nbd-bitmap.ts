import type { NbdSource } from '../../nbd/index.ts';
import type { DirtyRange } from '../../qcow2/index.ts';

/** The metadata context of a bitmap in an export of QEMU. */
export function bitmapContext(name: string): string {
  return `qemu:dirty-bitmap:${name}`;
}

/** Bit 0 of what QEMU tells of a dirty bitmap (docs/interop/nbd). */
const DIRTY = 1;

/** What a bitmap has as written, in order; ranges do not touch. */
export async function* dirtyRanges(source: NbdSource, context: string): AsyncGenerator<DirtyRange> {
  let [from, to] = [0, 0];
  for await (const { offset, length, flags } of source.status(context, 0, source.size)) {
    if ((flags & DIRTY) === 0) continue;
    if (offset !== to) {
      if (to > from) yield { offset: from, length: to - from };
      from = offset;
    }
    to = offset + length;
  }
  if (to > from) yield { offset: from, length: to - from };
}
