import type { WriteTarget } from '../../block/index.ts';
import { ALL_ONES, type NewBitmap } from '../meta/bitmap-encode.ts';
import {
  MAX_BITMAP_BYTES,
  MAX_GRANULARITY_BITS,
  MAX_NAME_BYTES,
  MIN_GRANULARITY_BITS,
} from '../meta/bitmap-layout.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import type { DirtyRange } from '../reader/bitmap-bits.ts';
import type { HostSpace } from './host-space.ts';
import { usage } from './usage.ts';

/** A persistent bitmap to be written: what changed on the disk since some time. */
export interface BitmapOptions {
  /** Unique in the image; 1 to 1023 bytes as UTF-8. */
  readonly name: string;
  /** Guest bytes for one bit, a power of two from 512 to 2^31. */
  readonly granularity: number;
  /** Every writer of the image keeps it up; true when not given. */
  readonly auto?: boolean | undefined;
  /** What changed, ascending, without overlaps; nothing when not given. A bit is set when a range touches it. */
  readonly dirty?: Iterable<DirtyRange> | AsyncIterable<DirtyRange> | undefined;
}

/**
 * Writes a bitmap's bits and its table. Memory: the table and one cluster of bits.
 * @param virtualSize of the disk in bytes.
 * @throws ImgstoreError `USAGE` for options that QEMU would refuse, or ranges that are not ascending or not on the disk.
 */
export async function writeBitmap(
  target: WriteTarget,
  space: HostSpace,
  options: BitmapOptions,
  virtualSize: number,
): Promise<NewBitmap> {
  const { name, granularity } = options;
  const nameBytes = Buffer.byteLength(name);
  if (nameBytes < 1 || nameBytes > MAX_NAME_BYTES || name.includes('\0')) {
    throw usage(`a bitmap's name has 1 to ${MAX_NAME_BYTES} bytes, not ${nameBytes}`);
  }
  const granularityBits = Math.log2(granularity);
  if (
    !Number.isInteger(granularityBits) ||
    granularityBits < MIN_GRANULARITY_BITS ||
    granularityBits > MAX_GRANULARITY_BITS
  ) {
    throw usage(`granularity ${granularity} is not a power of two from 512 to 2^31`);
  }
  const bits = Math.ceil(virtualSize / granularity);
  const tableEntries = Math.ceil(bits / (space.clusterSize * 8));
  if (tableEntries === 0) throw usage('a disk without bytes has no bitmaps');
  if (tableEntries * space.clusterSize > MAX_BITMAP_BYTES) {
    throw usage(`a bitmap of ${bits} bits is too large: choose a granularity above ${granularity}`);
  }
  const table = Buffer.alloc(tableEntries * TABLE_ENTRY_BYTES);
  const writer = new BitWriter(target, space, table, bits);
  let end = 0;
  for await (const { offset, length } of options.dirty ?? []) {
    if (
      !Number.isSafeInteger(offset) ||
      !Number.isSafeInteger(length) ||
      offset < end ||
      length < 0 ||
      offset > virtualSize - length
    ) {
      throw usage(`bitmap ${name}: dirty range ${offset}+${length} is out of order or not on the disk`);
    }
    end = offset + length;
    if (length > 0) await writer.set(Math.floor(offset / granularity), Math.ceil(end / granularity));
  }
  await writer.finish();
  const tableOffset = space.take(Math.ceil(table.length / space.clusterSize));
  await target.write(tableOffset, table);
  return { name, granularity, auto: options.auto ?? true, tableOffset, tableEntries };
}

/** Writes bits cluster by cluster; clusters of one kind of bit have no place in the file. */
class BitWriter {
  readonly #target: WriteTarget;
  readonly #space: HostSpace;
  readonly #table: Buffer;
  readonly #bits: number;
  readonly #cluster: Buffer;
  readonly #perCluster: number;
  /** The cluster of bits that is being filled, and how many of its bits are set. */
  #index = 0;
  #ones = 0;
  /** The least bit that is not set. */
  #next = 0;

  constructor(target: WriteTarget, space: HostSpace, table: Buffer, bits: number) {
    this.#target = target;
    this.#space = space;
    this.#table = table;
    this.#bits = bits;
    this.#cluster = Buffer.alloc(space.clusterSize);
    this.#perCluster = space.clusterSize * 8;
  }

  /** Sets bits `from` to `to` - 1; neighbouring ranges may share their first. */
  async set(from: number, to: number): Promise<void> {
    for (let at = Math.max(from, this.#next); at < to; ) {
      const index = Math.floor(at / this.#perCluster);
      if (index !== this.#index) {
        await this.finish();
        this.#index = index;
      }
      const end = Math.min(to, (index + 1) * this.#perCluster);
      const first = index * this.#perCluster;
      setBits(this.#cluster, at - first, end - first);
      this.#ones += end - at;
      at = end;
    }
    this.#next = Math.max(this.#next, to);
  }

  /** Writes the cluster that is being filled. */
  async finish(): Promise<void> {
    if (this.#ones === 0) return;
    const at = this.#index * TABLE_ENTRY_BYTES;
    if (this.#ones === Math.min(this.#perCluster, this.#bits - this.#index * this.#perCluster)) {
      this.#table.writeBigUInt64BE(ALL_ONES, at);
    } else {
      const offset = this.#space.take(1);
      await this.#target.write(offset, this.#cluster);
      this.#table.writeBigUInt64BE(BigInt(offset), at);
    }
    this.#cluster.fill(0);
    this.#ones = 0;
  }
}

/** Sets bits `from` to `to` - 1; the first of a byte is its lowest. */
function setBits(bytes: Buffer, from: number, to: number): void {
  const firstWhole = Math.ceil(from / 8);
  const endWhole = Math.floor(to / 8);
  if (firstWhole < endWhole) bytes.fill(0xff, firstWhole, endWhole);
  for (let bit = from; bit < Math.min(to, firstWhole * 8); bit++) bytes[bit >>> 3]! |= 1 << (bit & 7);
  for (let bit = Math.max(from, endWhole * 8); bit < to; bit++) bytes[bit >>> 3]! |= 1 << (bit & 7);
}
