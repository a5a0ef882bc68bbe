/** A range of the guest's disk, in bytes; `length` > 0. */
export interface DirtyRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * The ranges of set bits, in order and never two that touch. Bit 0 of byte 0 comes first; bits beyond the range
 * mean nothing.
 * @param bits enough bytes for `length`. @param start guest offset of the first bit.
 * @param length guest bytes that `bits` stand for. @param granularity guest bytes of one bit.
 */
export function* dirtyRanges(
  bits: Uint8Array,
  start: number,
  length: number,
  granularity: number,
): Iterable<DirtyRange> {
  const count = Math.ceil(length / granularity);
  for (let at = nextBit(bits, 0, count, 1); at < count; ) {
    const end = nextBit(bits, at, count, 0);
    const offset = at * granularity;
    yield { offset: start + offset, length: Math.min(end * granularity, length) - offset };
    at = nextBit(bits, end, count, 1);
  }
}

/** The first bit from `at` on that is `wanted`, or `count`. */
function nextBit(bits: Uint8Array, at: number, count: number, wanted: 0 | 1): number {
  const unwantedByte = wanted === 1 ? 0 : 0xff;
  let bit = at;
  while (bit < count) {
    const byte = bits[bit >>> 3]!;
    if (byte === unwantedByte) bit = (bit | 7) + 1;
    else if (((byte >>> (bit & 7)) & 1) === wanted) return bit;
    else bit++;
  }
  return count;
}
