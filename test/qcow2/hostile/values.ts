import * as layout from '../../../qcow2/meta/layout.ts';
import { type StructureField, structurePlaces } from './structures.ts';

const COPIED = 1n << 63n;
const COMPRESSED = 1n << 62n;

/** Around the limits of single fields, by name; what is a limit for all of their width comes anyway. */
const BOUNDS: Readonly<Record<string, readonly number[]>> = {
  version: [2, 3, 4],
  backing_file_size: [1023, 1024],
  cluster_bits: [8, 9, 13, 14, 21, 22, 31, 32, 63, 64],
  crypt_method: [2, 3],
  l1_size: [2 ** 22, 2 ** 22 + 1, 2 ** 29],
  refcount_table_clusters: [2, 2048, 2049, 16384, 16385],
  nb_snapshots: [2, 4, 65536, 65537],
  refcount_order: [6, 7, 31, 32],
  header_length: [72, 103, 104, 105, 111, 112, 113, 4096, 4097],
  compression_type: [2],
  extra_data_size: [8, 15, 17, 1024, 1025],
  nb_bitmaps: [2, 4, 65535, 65536],
  granularity_bits: [8, 9, 31, 32, 63, 64],
  key_bytes: [16, 32, 64, 65],
  stripes: [3999, 4000, 4001],
  length: [591, 592],
};

/** What a field is set to: zero, one, its bounds and beyond, what is not aligned, and every place that it may mean. */
export function hostileValues(image: Buffer, { field, at, bytes }: StructureField): bigint[] {
  const present = read(image, at, bytes);
  const max = 256n ** BigInt(bytes) - 1n;
  const values = [0n, 1n, present - 1n, present + 1n, max >> 1n, (max >> 1n) + 1n, max - 1n, max];
  values.push(...(BOUNDS[field] ?? []).map(BigInt));
  if (bytes === 8) {
    const clusterSize = 2 ** image.readUInt32BE(layout.CLUSTER_BITS_AT);
    const end = Math.ceil(image.length / clusterSize) * clusterSize;
    const places = [
      ...structurePlaces(image),
      // The structure that holds the field.
      Math.floor(at / clusterSize) * clusterSize,
      end - clusterSize,
      end,
      end + clusterSize,
    ].map(BigInt);
    values.push(...places, present + 512n, 2n ** 40n, 2n ** 53n - 512n, 2n ** 53n, 2n ** 56n - 512n);
    if (/entry$/.test(field)) {
      values.push(...[...places, 2n ** 53n, 2n ** 56n - 512n].map((place) => place | COPIED));
      values.push(present | COMPRESSED, present ^ 1n, COMPRESSED, COMPRESSED | (max >> 2n), present ^ COPIED);
    }
  }
  return [...new Set(values)].filter((value) => value >= 0n && value <= max && value !== present);
}

/** The image with a field set to a value. */
export function withValue(image: Buffer, { at, bytes }: StructureField, value: bigint): Buffer {
  const changed = Buffer.from(image);
  for (let i = 0; i < bytes; i++) changed[at + i] = Number((value >> BigInt(8 * (bytes - 1 - i))) & 0xffn);
  return changed;
}

function read(image: Buffer, at: number, bytes: number): bigint {
  return image.subarray(at, at + bytes).reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
