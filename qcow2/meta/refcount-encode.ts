/*
 * A refcount block (specification, section "Host cluster management"): one cluster of refcounts of 2^order bits each.
 *
 *   order 0-2  several to a byte, the first in the lowest bits
 *   order 3-6  1, 2, 4 or 8 bytes, big-endian
 */
const FIRST_ORDER_OF_BYTES = 3;

/**
 * Sets the refcounts with numbers from `from` to `to` - 1 of a block to `value`, which must fit.
 * @param order refcounts have 2^order bits, order 0 to 6. @param value at most 2^32 - 1.
 */
export function fillRefcounts(order: number, block: Buffer, from: number, to: number, value: number): void {
  if (from >= to) return;
  if (order >= FIRST_ORDER_OF_BYTES) {
    const bytes = 2 ** (order - FIRST_ORDER_OF_BYTES);
    const one = Buffer.alloc(8);
    one.writeBigUInt64BE(BigInt(value));
    block.fill(one.subarray(8 - bytes), from * bytes, to * bytes);
    return;
  }
  const bits = 2 ** order;
  const perByte = 8 / bits;
  const endWhole = Math.floor(to / perByte);
  const firstWhole = Math.min(Math.ceil(from / perByte), endWhole);
  const single = (index: number) => {
    const shift = (index % perByte) * bits;
    const at = Math.floor(index / perByte);
    block[at] = (block[at]! & ~((2 ** bits - 1) << shift)) | (value << shift);
  };
  for (let index = from; index < firstWhole * perByte; index++) single(index);
  let pattern = 0;
  for (let i = 0; i < perByte; i++) pattern |= value << (i * bits);
  if (firstWhole < endWhole) block.fill(pattern, firstWhole, endWhole);
  for (let index = Math.max(from, endWhole * perByte); index < to; index++) single(index);
}
