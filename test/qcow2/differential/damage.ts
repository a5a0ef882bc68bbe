import { readFile } from 'node:fs/promises';
import { parseHeader } from '../../../qcow2/index.ts';
import type { Random } from './random.ts';

/** A kind of metadata and the places of its entries of 8 bytes. */
interface Region {
  readonly name: string;
  readonly offsets: readonly number[];
}

/**
 * Header fields that decide what is walked: L1 size and place, refcount table, snapshots. Names of other files stay:
 * QEMU opens those before it checks, imgstore does not.
 */
const HEADER_FIELDS = [32, 40, 48, 56, 60, 64];

/** Bytes of an image with one entry of its metadata changed, and what was done. */
export async function damage(random: Random, path: string): Promise<{ bytes: Buffer; what: string }> {
  const bytes = await readFile(path);
  const regions = regionsOf(bytes).filter(({ offsets }) => offsets.length > 0);
  const region = random.pick(regions);
  const used = region.offsets.filter((at) => bytes.readBigUInt64BE(at) !== 0n);
  const at = random.pick(used.length > 0 && !random.once(6) ? used : region.offsets);
  const before = bytes.readBigUInt64BE(at);
  const clusterSize = 2 ** bytes.readUInt32BE(20);
  bytes.writeBigUInt64BE(
    mutate(random, before, clusterSize, () => bytes.readBigUInt64BE(random.pick(region.offsets))),
    at,
  );
  return {
    bytes,
    what: `${region.name} at ${at}: ${before.toString(16)} -> ${bytes.readBigUInt64BE(at).toString(16)}`,
  };
}

function mutate(random: Random, entry: bigint, clusterSize: number, other: () => bigint): bigint {
  switch (random.below(7)) {
    case 0:
      return entry ^ (1n << BigInt(random.below(64)));
    case 1:
      return entry ^ (1n << 63n);
    case 2: {
      const shift = BigInt(random.below(8) * 8);
      return (entry & ~(0xffn << shift)) | (BigInt(random.below(256)) << shift);
    }
    case 3:
      return BigInt.asUintN(64, entry + BigInt(random.pick([-1, 1]) * clusterSize));
    case 4:
      return other();
    case 5:
      return 0n;
    default:
      return BigInt.asUintN(64, entry + BigInt(random.pick([-512, 512, 1, -1])));
  }
}

function regionsOf(file: Buffer): Region[] {
  const header = parseHeader(file, 'image');
  const clusterSize = 2 ** header.clusterBits;
  const isInside = (at: number) => at + 8 <= file.length;
  const range = (at: number, bytes: number) =>
    Array.from({ length: Math.floor(bytes / 8) }, (_, i) => at + i * 8).filter(isInside);
  const pointed = (table: readonly number[]) =>
    table
      .map((at) => Number(file.readBigUInt64BE(at) & 0x00ff_ffff_ffff_fe00n))
      .filter((at) => at !== 0 && at % clusterSize === 0 && at + clusterSize <= file.length);
  const clusters = (places: readonly number[]) => places.flatMap((at) => range(at, clusterSize));
  const l1 = range(header.l1Offset, header.l1Entries * 8);
  const refcountTable = range(header.refcountTableOffset, header.refcountTableClusters * clusterSize);
  const regions: Region[] = [
    { name: 'L1', offsets: l1 },
    { name: 'L2', offsets: clusters(pointed(l1)) },
    { name: 'refcount table', offsets: refcountTable },
    { name: 'refcount block', offsets: clusters(pointed(refcountTable)) },
    { name: 'header', offsets: HEADER_FIELDS },
  ];
  if (header.snapshotCount > 0) {
    regions.push({ name: 'snapshot table', offsets: range(header.snapshotsOffset, 64) });
    const snapshotL1 = Number(file.readBigUInt64BE(header.snapshotsOffset));
    regions.push({ name: 'snapshot L1', offsets: range(snapshotL1, 64) });
  }
  if (header.bitmaps?.consistent === true) {
    const directory = Number(header.bitmaps.directoryOffset);
    const table = Number(file.readBigUInt64BE(directory));
    regions.push({ name: 'bitmap directory', offsets: range(directory, 24) });
    regions.push({ name: 'bitmap table', offsets: range(table, file.readUInt32BE(directory + 8) * 8) });
  }
  return regions;
}
