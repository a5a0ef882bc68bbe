import { readFile, writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { MemorySource } from '../../../block/index.ts';
import { ImgstoreError } from '../../../errors/index.ts';
import { openImage, Qcow2Image } from '../../../qcow2/index.ts';
import * as layout from '../../../qcow2/meta/layout.ts';
import { extentsOf, qemuBytes, qemuImg, qemuIo, readAll, tempFolder } from '../qemu.ts';

const file = tempFolder();

/** Small images of each kind, and where their tables are. */
interface Victim {
  readonly name: string;
  readonly create: readonly string[];
  readonly writes: readonly string[];
}

const VICTIMS: readonly Victim[] = [
  {
    name: 'v3',
    create: ['-o', 'cluster_size=4k'],
    writes: ['write -P 1 0 20k', 'write -z 20k 8k', 'write -c -P 2 32k 4k', 'write -P 3 200k 4k'],
  },
  {
    name: 'v2',
    create: ['-o', 'cluster_size=4k,compat=0.10'],
    writes: ['write -P 1 0 20k', 'write -c -P 2 32k 4k'],
  },
  {
    name: 'extended',
    create: ['-o', 'cluster_size=16k,extended_l2=on'],
    writes: ['write -P 1 0 20k', 'write -z 20k 8k', 'write -c -P 2 32k 16k', 'write -P 3 100k 1k'],
  },
  {
    name: 'zstd',
    create: ['-o', 'cluster_size=4k,compression_type=zstd'],
    writes: ['write -c -P 1 0 20k', 'write -P 2 40k 8k'],
  },
];
const DISK = 256 * 1024;
const images = new Map<string, Buffer>();

beforeAll(async () => {
  for (const { name, create, writes } of VICTIMS) {
    const path = file(`${name}.qcow2`);
    await qemuImg('create', '-f', 'qcow2', ...create, path, String(DISK));
    await qemuIo(path, ...writes);
    images.set(name, await readFile(path));
  }
});

/** What imgstore makes of an image: its bytes, or the one error that it may fail with. */
async function outcome(image: Buffer): Promise<Buffer | ImgstoreError> {
  try {
    const source = await Qcow2Image.open(new MemorySource(image), { name: 'hostile.qcow2' });
    if (source.size > 2 ** 24) {
      // Too large to read whole: its ends and its map must do.
      await source.read(source.size - 4096, Buffer.alloc(4096));
      return Buffer.alloc(0);
    }
    await extentsOf(source);
    return await readAll(source);
  } catch (error) {
    expect(error).toBeInstanceOf(ImgstoreError);
    const failed = error as ImgstoreError;
    expect(failed.message).toMatch(/^hostile\.qcow2: [^\n]+$/);
    expect(['BAD_IMAGE', 'UNSUPPORTED']).toContain(failed.code);
    return failed;
  }
}

/** Bytes are only right if QEMU has the same. An error is right too: imgstore may refuse what QEMU reads. */
async function expectErrorOrQemu(image: Buffer): Promise<string> {
  const ours = await outcome(image);
  if (ours instanceof ImgstoreError) return ours.message;
  if (ours.length === 0) return 'large';
  const path = file('hostile.qcow2');
  await writeFile(path, image);
  expect(ours.equals(await qemuBytes(path))).toBe(true);
  return 'read';
}

function changed(name: string, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(images.get(name)!);
  change(bytes);
  return bytes;
}

const l1Offset = (image: Buffer) => Number(image.readBigUInt64BE(layout.L1_OFFSET_AT));
const l2Offset = (image: Buffer) => Number(image.readBigUInt64BE(l1Offset(image)) & 0x00ff_ffff_ffff_fe00n);

const FIELDS32 = Object.entries({
  version: layout.VERSION_AT,
  backing_file_size: layout.BACKING_SIZE_AT,
  cluster_bits: layout.CLUSTER_BITS_AT,
  crypt_method: layout.CRYPT_METHOD_AT,
  l1_size: layout.L1_SIZE_AT,
  refcount_table_clusters: layout.REFCOUNT_TABLE_CLUSTERS_AT,
  nb_snapshots: layout.SNAPSHOT_COUNT_AT,
  refcount_order: layout.REFCOUNT_ORDER_AT,
  header_length: layout.HEADER_LENGTH_AT,
});
const FIELDS64 = Object.entries({
  backing_file_offset: layout.BACKING_OFFSET_AT,
  size: layout.SIZE_AT,
  l1_table_offset: layout.L1_OFFSET_AT,
  refcount_table_offset: layout.REFCOUNT_TABLE_OFFSET_AT,
  snapshots_offset: layout.SNAPSHOTS_OFFSET_AT,
  incompatible: layout.INCOMPATIBLE_AT,
  compatible: layout.COMPATIBLE_AT,
  autoclear: layout.AUTOCLEAR_AT,
});

describe('a hostile image', () => {
  it.each(FIELDS32)('gives an error or bytes when header field %s is any bound', async (_, at) => {
    for (const value of [0, 1, 2, 9, 21, 65536, 65537, 4194304, 4194305, 0x7fffffff, 0xffffffff]) {
      await outcome(changed('v3', (bytes) => bytes.writeUInt32BE(value, at)));
    }
  });

  it.each(FIELDS64)('gives an error or bytes when header field %s is any bound', async (_, at) => {
    const size = BigInt(images.get('v3')!.length);
    const values = [0n, 1n, 8n, 511n, 512n, 4096n, 4097n, size - 1n, size, size & ~4095n, size + 4096n];
    for (const value of [
      ...values,
      2n ** 53n - 1n,
      2n ** 53n,
      2n ** 63n,
      2n ** 64n - 4096n,
      2n ** 64n - 1n,
    ]) {
      await outcome(changed('v3', (bytes) => bytes.writeBigUInt64BE(value, at)));
    }
  });

  it.each(VICTIMS.map(({ name }) => name))(
    'gives an error or the right bytes when %s is cut off anywhere',
    async (name) => {
      const image = images.get(name)!;
      const cuts = [
        0,
        1,
        4,
        20,
        71,
        72,
        103,
        104,
        112,
        300,
        4095,
        4096,
        4097,
        8192,
        l1Offset(image),
        l1Offset(image) + 7,
      ];
      cuts.push(
        l2Offset(image),
        l2Offset(image) + 100,
        image.length - 1,
        image.length - 4096,
        image.length - 5000,
      );
      for (const cut of cuts) {
        const ours = await outcome(image.subarray(0, cut));
        // QEMU reads tables beyond the end as zeros, which would make an image that was not copied whole look empty.
        if (cut < l2Offset(image) + 4096) expect(ours).toBeInstanceOf(ImgstoreError);
        else await expectErrorOrQemu(image.subarray(0, cut));
      }
    },
  );

  it.each(VICTIMS.map(({ name }) => name))(
    'gives an error or what QEMU reads when an L1 entry of %s is wrong',
    async (name) => {
      const image = images.get(name)!;
      const past = BigInt(Math.ceil(image.length / 65536) * 65536);
      const values = [
        0n,
        1n,
        512n,
        4096n,
        BigInt(l1Offset(image)),
        BigInt(l2Offset(image)),
        past,
        past + (1n << 62n),
      ];
      for (const value of [
        ...values,
        1n << 55n,
        1n << 56n,
        1n << 63n,
        2n ** 64n - 1n,
        0x00ff_ffff_ffff_fe00n,
      ]) {
        await expectErrorOrQemu(changed(name, (bytes) => bytes.writeBigUInt64BE(value, l1Offset(image))));
      }
      const reserved = changed(name, (bytes) => {
        bytes.writeBigUInt64BE(
          bytes.readBigUInt64BE(l1Offset(image)) | (0x7fn << 56n) | 0x1ffn,
          l1Offset(image),
        );
      });
      expect(await expectErrorOrQemu(reserved)).toBe('read');
    },
  );

  it.each(VICTIMS.map(({ name }) => name))(
    'gives an error or what QEMU reads when an L2 entry of %s is wrong',
    async (name) => {
      const image = images.get(name)!;
      const at = l2Offset(image);
      const past = BigInt(Math.ceil(image.length / 65536) * 65536);
      const packed = 1n << 62n;
      const values = [
        0n,
        1n,
        512n,
        4096n,
        BigInt(at),
        past,
        past | 1n,
        past + (1n << 61n),
        1n << 55n,
        1n << 63n,
      ];
      values.push(
        513n,
        past + 513n,
        packed,
        packed | 4096n,
        packed | past,
        packed | (0x3fn << 56n),
        packed | (1n << 53n),
      );
      values.push((1n << 63n) | BigInt(l1Offset(image)) | (0x3fn << 56n) | 0x1fen, 2n ** 64n - 1n);
      for (const value of values) {
        await expectErrorOrQemu(changed(name, (bytes) => bytes.writeBigUInt64BE(value, at)));
      }
    },
  );

  it('gives an error when a version 2 image has a zero cluster', async () => {
    const image = changed('v2', (bytes) => bytes.writeBigUInt64BE(1n, l2Offset(bytes)));
    expect(await expectErrorOrQemu(image)).toContain('zero cluster');
  });

  it('gives an error when subcluster bits contradict each other', async () => {
    for (const bitmap of [2n ** 64n - 1n, (1n << 32n) | 1n]) {
      const image = changed('extended', (bytes) => bytes.writeBigUInt64BE(bitmap, l2Offset(bytes) + 8));
      expect(await expectErrorOrQemu(image)).toContain('contradict');
    }
  });

  it('gives an error when an entry of an image with an external data file is not at its place', async () => {
    const external = changed('v3', (bytes) => bytes.writeBigUInt64BE(4n, layout.INCOMPATIBLE_AT));
    const parts = { name: 'hostile.qcow2', dataFile: new MemorySource(Buffer.alloc(DISK)) };
    const moved = await Qcow2Image.open(new MemorySource(external), parts);
    await expect(moved.read(0, Buffer.alloc(512))).rejects.toThrow('not its place');
    await expect(moved.read(32768, Buffer.alloc(512))).rejects.toThrow('compressed cluster in an image with');
    await expect(
      Qcow2Image.open(new MemorySource(external), { name: 'hostile.qcow2' }),
    ).rejects.toMatchObject({ code: 'BAD_IMAGE' });
  });

  it('gives an error when compressed bytes are not what they were', async () => {
    for (const name of ['v3', 'zstd']) {
      const image = images.get(name)!;
      const index = name === 'v3' ? 8 : 0;
      const host = Number(image.readBigUInt64BE(l2Offset(image) + index * 8) & 0xffff_ffff_ffffn);
      const broken = changed(name, (bytes) => bytes.fill(0xff, host, host + 20));
      expect(await expectErrorOrQemu(broken)).toContain('does not decode');
    }
  });

  it('never gives anything else than an error or what QEMU reads when metadata changes at random', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...VICTIMS.map(({ name }) => name)),
        fc.constantFrom('header', 'l1', 'l2'),
        fc.array(fc.tuple(fc.nat({ max: 127 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 3 }),
        async (name, place, changes) => {
          const image = changed(name, (bytes) => {
            const start = place === 'header' ? 4 : place === 'l1' ? l1Offset(bytes) : l2Offset(bytes);
            for (const [at, value] of changes) bytes[start + at] = value;
          });
          await outcome(image);
        },
      ),
      { numRuns: 600 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...VICTIMS.map(({ name }) => name)),
        fc.nat({ max: 63 }),
        fc.nat({ max: 7 }),
        async (name, at, bit) => {
          const image = changed(name, (bytes) => {
            bytes[l2Offset(bytes) + at]! ^= 1 << bit;
          });
          await expectErrorOrQemu(image);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('fails at open and closes its file when a table leaves the file', async () => {
    const path = file('cut-l1.qcow2');
    await writeFile(path, images.get('v3')!.subarray(0, 4096));
    await expect(openImage(path)).rejects.toMatchObject({ code: 'BAD_IMAGE' });
  });
});
