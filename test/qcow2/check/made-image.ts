import { readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseHeader, type Qcow2Header } from '../../../qcow2/index.ts';
import { checkBoth, compareCounts, type Verdicts } from '../differential/compare.ts';

/** An image file in memory, to break single entries of its tables. */
export class MadeImage {
  readonly bytes: Buffer;
  readonly header: Qcow2Header;
  readonly clusterSize: number;

  private constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.header = parseHeader(bytes, 'made');
    this.clusterSize = 2 ** this.header.clusterBits;
  }

  static async read(path: string): Promise<MadeImage> {
    return new MadeImage(await readFile(path));
  }

  /** An entry of 8 bytes without its flags. */
  pointer(at: number): number {
    return Number(this.bytes.readBigUInt64BE(at) & 0x00ff_ffff_ffff_fe00n);
  }

  /** Where entry `index` of the L1 table is. */
  l1(index = 0): number {
    return this.header.l1Offset + 8 * index;
  }

  /** Where entry `index` of the first L2 table is. */
  l2(index = 0): number {
    return this.pointer(this.l1()) + (this.header.extendedL2 ? 16 : 8) * index;
  }

  refcountTable(index = 0): number {
    return this.header.refcountTableOffset + 8 * index;
  }

  /** Where the 16-bit refcount of a cluster of the first block is. */
  refcount(cluster: number): number {
    return this.pointer(this.refcountTable()) + 2 * cluster;
  }

  setRefcount(cluster: number, refcount: number): void {
    this.bytes.writeUInt16BE(refcount, this.refcount(cluster));
  }

  change(at: number, change: (entry: bigint) => bigint): void {
    this.bytes.writeBigUInt64BE(BigInt.asUintN(64, change(this.bytes.readBigUInt64BE(at))), at);
  }
}

/** Writes the image and has both judge it; fails unless exit codes and all counts are the same. */
export async function judge(path: string, bytes: Buffer): Promise<Verdicts> {
  await writeFile(path, bytes);
  const both = await checkBoth(dirname(path), path);
  if (both.ours !== both.theirs) throw new Error(JSON.stringify(both));
  if (both.ours !== 1) compareCounts(both);
  return both;
}
