import { MemorySource } from '../../../block/index.ts';
import { loadCompressor, Qcow2Writer, type Qcow2WriterOptions } from '../../../qcow2/index.ts';
import { TYPE_CRYPTO_HEADER, TYPE_DATA_FILE } from '../../../qcow2/meta/extensions.ts';
import * as layout from '../../../qcow2/meta/layout.ts';
import { makeLuks } from '../crypto/make-luks.ts';
import { MemoryTarget } from '../model-image.ts';
import { noise } from '../qemu.ts';

/** The password of the encrypted seeds. */
export const KEY = Buffer.from('secret');

/** What every image is opened over; the data file is as long as the largest disk. */
export function surroundings() {
  return {
    key: KEY,
    backing: new MemorySource(Buffer.alloc(40_000, 0xbb)),
    dataFile: new MemorySource(Buffer.alloc(2 ** 20, 0xdd)),
  };
}

interface SeedPlan {
  readonly name: string;
  readonly options: Qcow2WriterOptions;
  readonly clusters: number;
  readonly snapshots: number;
  readonly bitmaps: number;
  readonly compressed: boolean;
}

const KIB = 1024;
/** An extension that is made into that of another kind, which the writer does not write. */
const SPARE_TYPE = 0x5a5a5a5a;
const INCOMPATIBLE_DATA_FILE = 4n;

const PLANS: readonly SeedPlan[] = [
  {
    name: 'v3',
    options: { virtualSize: 1024 * KIB, clusterSize: 4 * KIB },
    clusters: 30,
    snapshots: 3,
    bitmaps: 3,
    compressed: true,
  },
  {
    name: 'v2',
    options: { virtualSize: 1024 * KIB, clusterSize: 4 * KIB, compat: '0.10' },
    clusters: 20,
    snapshots: 2,
    bitmaps: 0,
    compressed: true,
  },
  {
    name: 'subclusters',
    options: {
      virtualSize: 640 * KIB,
      clusterSize: 16 * KIB,
      extendedL2: true,
      compressionType: 'zstd',
      refcountOrder: 5,
    },
    clusters: 12,
    snapshots: 1,
    bitmaps: 2,
    compressed: true,
  },
  {
    name: 'small-clusters',
    options: { virtualSize: 200 * KIB, clusterSize: 512, refcountOrder: 6, compressionType: 'zstd' },
    clusters: 150,
    snapshots: 2,
    bitmaps: 2,
    compressed: true,
  },
  {
    name: 'one-bit-refcounts',
    options: { virtualSize: 100 * KIB, clusterSize: KIB, refcountOrder: 0 },
    clusters: 40,
    snapshots: 0,
    bitmaps: 1,
    compressed: false,
  },
  {
    name: 'overlay',
    options: {
      virtualSize: 3000 * KIB,
      clusterSize: 64 * KIB,
      backing: { file: 'base.raw', format: 'raw' },
      extensions: [{ type: 0x11223344, data: Buffer.from('unknown') }],
    },
    clusters: 6,
    snapshots: 1,
    bitmaps: 1,
    compressed: true,
  },
  {
    name: 'luks',
    options: {
      virtualSize: 100 * KIB,
      clusterSize: 4 * KIB,
      extensions: [{ type: SPARE_TYPE, data: Buffer.alloc(16) }],
    },
    clusters: 8,
    snapshots: 1,
    bitmaps: 0,
    compressed: false,
  },
  {
    name: 'aes',
    options: { virtualSize: 100 * KIB, clusterSize: 4 * KIB, compat: '0.10' },
    clusters: 8,
    snapshots: 1,
    bitmaps: 0,
    compressed: false,
  },
  {
    name: 'data-file',
    options: {
      virtualSize: 200 * KIB,
      clusterSize: 4 * KIB,
      extensions: [{ type: SPARE_TYPE, data: Buffer.from('data.raw') }],
    },
    clusters: 8,
    snapshots: 0,
    bitmaps: 1,
    compressed: false,
  },
];

/** A valid image in memory. */
export interface Seed {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Valid images of every kind that there is. */
export async function makeSeeds(): Promise<readonly Seed[]> {
  const seeds: Seed[] = [];
  for (const plan of PLANS) {
    const bytes = await writeSeed(plan);
    seeds.push({ name: plan.name, bytes: CHANGES[plan.name]?.(bytes) ?? bytes });
  }
  return seeds;
}

async function writeSeed(plan: SeedPlan): Promise<Buffer> {
  const target = new MemoryTarget();
  const writer = new Qcow2Writer(target, plan.options);
  let shared: number | undefined;
  for (let i = 0; i < plan.snapshots; i++) {
    await writer.beginSnapshot({ id: String(i + 1), name: `snapshot ${i}`, date: new Date(1e12 + i) });
    if (i === 0) shared = await writer.allocate(0);
    else if (shared !== undefined) await writer.share(0, shared);
    await writer.allocate(2 + i);
  }
  await writer.beginActive();
  await writeDisk(plan, writer, target, shared);
  for (let i = 0; i < plan.bitmaps; i++) {
    const dirty = [{ offset: 4096 * i, length: 30_000 }];
    await writer.addBitmap({ name: `bitmap ${i}`, granularity: 512 << i, auto: i !== 2, dirty });
  }
  const size = await writer.finish();
  return Buffer.concat([target.bytes, Buffer.alloc(Math.max(0, size - target.bytes.length))]);
}

async function writeDisk(
  { options, clusters, compressed }: SeedPlan,
  writer: Qcow2Writer,
  target: MemoryTarget,
  shared: number | undefined,
): Promise<void> {
  const type = options.compressionType ?? 'zlib';
  const compress = await loadCompressor(type);
  const bytes = Buffer.alloc(writer.clusterSize, 7);
  noise(64, 1).copy(bytes, 100);
  const stream = compress(bytes, type === 'zlib' ? 6 : 3);
  if (shared !== undefined) await writer.share(0, shared);
  let placed: { readonly offset: number; readonly length: number } | undefined;
  for (let i = 1; i < clusters; i++) {
    // Spread out, so that there are several L2 tables.
    const cluster = i * Math.max(1, Math.floor(writer.virtualSize / writer.clusterSize / clusters));
    const kind = i % 7;
    if (kind === 1 && options.extendedL2) {
      await writer.allocateSubclusters(cluster, { data: 0xff, zero: 0xff00 });
    } else if (kind === 2 && compressed && stream !== undefined) {
      placed = { offset: await writer.placeCompressed(cluster, stream.length), length: stream.length };
      await target.write(placed.offset, stream);
    } else if (kind === 3 && placed !== undefined) {
      await writer.shareCompressed(cluster, placed.offset, placed.length);
    } else if (kind === 4) {
      await writer.zero(cluster, 1, { preallocate: i % 2 === 0 });
    } else {
      await target.write(await writer.allocate(cluster), Buffer.alloc(writer.clusterSize, i));
    }
  }
}

/** What our writer does not write is made out of what it does. */
const CHANGES: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  luks: (bytes) => {
    const luks = makeLuks({
      password: KEY,
      masterKey: noise(64, 3),
      hash: 'sha256',
      iterations: 10,
      slot: 1,
    });
    bytes.writeUInt32BE(2, layout.CRYPT_METHOD_AT);
    const at = spareExtension(bytes, TYPE_CRYPTO_HEADER);
    bytes.writeBigUInt64BE(BigInt(bytes.length), at);
    bytes.writeBigUInt64BE(BigInt(luks.length), at + 8);
    return Buffer.concat([bytes, luks]);
  },
  aes: (bytes) => {
    bytes.writeUInt32BE(1, layout.CRYPT_METHOD_AT);
    return bytes;
  },
  'data-file': (bytes) => {
    spareExtension(bytes, TYPE_DATA_FILE);
    bytes.writeBigUInt64BE(INCOMPATIBLE_DATA_FILE, layout.INCOMPATIBLE_AT);
    const l1 = Number(bytes.readBigUInt64BE(layout.L1_OFFSET_AT));
    const l2 = Number(bytes.readBigUInt64BE(l1) & 0x00ff_ffff_ffff_fe00n);
    for (let i = 0; i < 50; i++) {
      const entry = bytes.readBigUInt64BE(l2 + 8 * i);
      if (entry > 1n)
        bytes.writeBigUInt64BE((entry & ~0x00ff_ffff_ffff_fe00n) | BigInt(i * 4 * KIB), l2 + 8 * i);
    }
    return bytes;
  },
};

/** Gives the spare extension another type. @returns where its data is. */
function spareExtension(bytes: Buffer, type: number): number {
  const wanted = Buffer.alloc(4);
  wanted.writeUInt32BE(SPARE_TYPE);
  const at = bytes.indexOf(wanted);
  bytes.writeUInt32BE(type, at);
  return at + 8;
}
