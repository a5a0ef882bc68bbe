/** The numbers of the bits that are set, ascending; bit 0 is the lowest of the first byte. */
export function setBits(bits: Uint8Array): Uint32Array {
  const positions: number[] = [];
  for (const [at, byte] of bits.entries())
    for (let rest = byte; rest !== 0; rest &= rest - 1) positions.push(at * 8 + lowestBit(rest));
  return Uint32Array.from(positions);
}

function lowestBit(byte: number): number {
  return 31 - Math.clz32(byte & -byte);
}
