import { deflateRawSync } from 'node:zlib';
import { compress } from '@cloudpss/zstd';
import type { WriteTarget } from '../../block/index.ts';
import { encodeHeader } from '../../qcow2/meta/header-encode.ts';
import { copiedEntry } from '../../qcow2/meta/l2-entry.ts';
import * as layout from '../../qcow2/meta/layout.ts';
import { noise } from './qemu.ts';

/** What one cluster of a made image is; with extended L2 entries `sub` has 32 of them. */
export type ClusterPlan =
  | { readonly kind: 'data' | 'zero' | 'unallocated' | 'compressed' }
  | { readonly kind: 'sub'; readonly sub: readonly ('data' | 'zero' | 'unallocated')[] };

export interface ImagePlan {
  readonly clusterBits: number;
  readonly extendedL2: boolean;
  readonly compression: 'zlib' | 'zstd';
  readonly clusters: readonly ClusterPlan[];
  /** Order in which host clusters are handed out: numbers that are sorted by. */
  readonly shuffle: readonly number[];
  /** Bytes missing at the end of the last cluster, a multiple of 512. */
  readonly cut: number;
}

/** An image file made in memory, and the bytes that a guest must see over `backing`. */
export function makeImage(plan: ImagePlan, backing: Buffer): { file: Buffer; expected: Buffer } {
  const clusterSize = 2 ** plan.clusterBits;
  const virtualSize = plan.clusters.length * clusterSize - plan.cut;
  const entryBytes = plan.extendedL2 ? 16 : 8;
  const l2Entries = clusterSize / entryBytes;
  const tables = Math.ceil(plan.clusters.length / l2Entries);
  const l1Clusters = Math.ceil((tables * 8) / clusterSize);
  const firstData = 1 + l1Clusters + tables;
  const order = plan.clusters
    .map((_, i) => i)
    .sort((a, b) => (plan.shuffle[a] ?? 0) - (plan.shuffle[b] ?? 0) || a - b);
  // Two host clusters for each, since a stream that does not compress is longer than what it holds.
  const file = Buffer.alloc((firstData + 2 * plan.clusters.length) * clusterSize);
  const expected = Buffer.alloc(plan.clusters.length * clusterSize);
  backing.copy(expected, 0, 0, Math.min(backing.length, expected.length));

  const header = encodeHeader({
    clusterBits: plan.clusterBits,
    virtualSize,
    l1Offset: clusterSize,
    l1Entries: tables,
    refcountTableOffset: 0,
    refcountTableClusters: 0,
    backing: undefined,
  });
  file.set(header);
  let incompatible = 0n;
  if (plan.extendedL2) incompatible |= 1n << 4n;
  if (plan.compression === 'zstd') {
    incompatible |= 1n << 3n;
    file[layout.COMPRESSION_TYPE_AT] = 1;
  }
  file.writeBigUInt64BE(incompatible, layout.INCOMPATIBLE_AT);
  const tableAt = (index: number) => (1 + l1Clusters + index) * clusterSize;
  for (let i = 0; i < tables; i++) file.writeBigUInt64BE(copiedEntry(tableAt(i)), clusterSize + i * 8);

  let next = firstData * clusterSize;
  for (const index of order) {
    const cluster = plan.clusters[index]!;
    const entryAt = tableAt(Math.floor(index / l2Entries)) + (index % l2Entries) * entryBytes;
    const guest = index * clusterSize;
    const put = (subs: readonly string[]) => {
      const unit = clusterSize / subs.length;
      let allocated = 0;
      let zeros = 0;
      subs.forEach((kind, i) => {
        const at = guest + i * unit;
        if (kind === 'zero') {
          expected.fill(0, at, at + unit);
          zeros |= 1 << i;
        } else if (kind === 'data') {
          const bytes = noise(unit, index * 37 + i);
          bytes.copy(file, next + i * unit);
          bytes.copy(expected, at);
          allocated |= 1 << i;
        }
      });
      return { allocated: allocated >>> 0, zeros: zeros >>> 0 };
    };
    switch (cluster.kind) {
      case 'unallocated':
        break;
      case 'compressed': {
        const bytes = Buffer.concat([noise(clusterSize / 2, index), Buffer.alloc(clusterSize / 2, index)]);
        bytes.copy(expected, guest);
        const stored =
          plan.compression === 'zstd' ? compress(bytes) : deflateRawSync(bytes, { windowBits: 12 });
        // Not aligned, as QEMU packs them.
        const at = next + (index % 7);
        file.set(stored, at);
        const sectors = Math.floor((at + stored.length - 1) / 512) - Math.floor(at / 512);
        const split = BigInt(62 - (plan.clusterBits - 8));
        file.writeBigUInt64BE((1n << 62n) | (BigInt(sectors) << split) | BigInt(at), entryAt);
        next += 2 * clusterSize;
        break;
      }
      case 'zero':
      case 'data': {
        const bits = put(Array<string>(plan.extendedL2 ? 32 : 1).fill(cluster.kind));
        const flag = cluster.kind === 'zero' && !plan.extendedL2 ? 1n : 0n;
        file.writeBigUInt64BE(cluster.kind === 'data' ? copiedEntry(next) : flag, entryAt);
        if (plan.extendedL2) {
          file.writeUInt32BE(bits.zeros, entryAt + 8);
          file.writeUInt32BE(bits.allocated, entryAt + 12);
        }
        if (cluster.kind === 'data') next += clusterSize;
        break;
      }
      case 'sub': {
        const bits = put(cluster.sub);
        if (bits.allocated !== 0) file.writeBigUInt64BE(copiedEntry(next), entryAt);
        file.writeUInt32BE(bits.zeros, entryAt + 8);
        file.writeUInt32BE(bits.allocated, entryAt + 12);
        next += clusterSize;
      }
    }
  }
  return { file: file.subarray(0, next), expected: expected.subarray(0, virtualSize) };
}

/** A target that keeps what is written, with zeros between. */
export class MemoryTarget implements WriteTarget {
  bytes = Buffer.alloc(0);
  /** Offsets in the order in which they were written. */
  readonly order: number[] = [];

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.order.push(offset);
    const end = offset + bytes.length;
    if (end > this.bytes.length) {
      this.bytes = Buffer.concat([this.bytes, Buffer.alloc(end - this.bytes.length)]);
    }
    this.bytes.set(bytes, offset);
  }
}
