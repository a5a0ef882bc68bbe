import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { parseHeader } from '../../../qcow2/meta/header.ts';
import { encodeHeader, type NewHeader } from '../../../qcow2/meta/header-encode.ts';
import * as layout from '../../../qcow2/meta/layout.ts';

const PLAIN: NewHeader = {
  clusterBits: 16,
  virtualSize: 1 << 30,
  l1Offset: 3 << 16,
  l1Entries: 2,
  refcountTableOffset: 1 << 16,
  refcountTableClusters: 1,
  backing: undefined,
};

/** A first cluster, with fields changed after encoding. */
function cluster(change: (bytes: Buffer) => void = () => {}, header: NewHeader = PLAIN): Buffer {
  const bytes = Buffer.alloc(2 ** header.clusterBits);
  bytes.set(encodeHeader(header));
  change(bytes);
  return bytes;
}

function failure(bytes: Uint8Array): ImgstoreError {
  try {
    parseHeader(bytes, 'disk.qcow2');
  } catch (error) {
    expect(error).toBeInstanceOf(ImgstoreError);
    const failed = error as ImgstoreError;
    expect(failed.message).toMatch(/^disk\.qcow2: [^\n]+$/);
    return failed;
  }
  throw new Error('the header was accepted');
}

const u32 = (at: number, value: number) => cluster((bytes) => bytes.writeUInt32BE(value, at));
const u64 = (at: number, value: bigint) => cluster((bytes) => bytes.writeBigUInt64BE(value, at));

describe('parseHeader', () => {
  it('gives back what encodeHeader was given', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 9, max: 21 }),
        fc.integer({ min: 0, max: 2 ** 28 }),
        fc.integer({ min: 0, max: 2 ** 20 }),
        fc.option(
          fc.record({
            file: fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme-ascii' }),
            format: fc.constantFrom('raw', 'qcow2'),
          }),
          { nil: undefined },
        ),
        (clusterBits, sectors, place, backing) => {
          const clusterSize = 2 ** clusterBits;
          const virtualSize = sectors * 512;
          const l1Entries = Math.ceil(virtualSize / ((clusterSize / 8) * clusterSize));
          const header: NewHeader = {
            clusterBits,
            virtualSize,
            l1Entries,
            l1Offset: place * clusterSize,
            refcountTableOffset: (place + 1) * clusterSize,
            refcountTableClusters: 1,
            backing,
          };
          fc.pre(l1Entries * 8 <= layout.MAX_L1_BYTES);
          const { backing: _, ...rest } = header;
          expect(
            parseHeader(
              cluster(() => {}, header),
              'x',
            ),
          ).toMatchObject({
            ...rest,
            version: 3,
            backingFile: backing?.file,
            backingFormat: backing?.format,
            refcountOrder: 4,
            compressionType: 'zlib',
            encryption: undefined,
            dataFile: undefined,
          });
        },
      ),
    );
  });

  it('fails with one error and nothing else when bytes are random', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: 255 }), fc.integer({ min: 0, max: 255 })), { maxLength: 12 }),
        fc.nat({ max: 300 }),
        (changes, length) => {
          const bytes = cluster((all) => {
            for (const [at, value] of changes) all[at] = value;
          }).subarray(0, length + 60);
          try {
            parseHeader(bytes, 'disk.qcow2');
          } catch (error) {
            expect(error).toBeInstanceOf(ImgstoreError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it.each([0, 3, 4, 7, 8, 71, 72, 103, 104, 111])('fails when the file ends after %i bytes', (length) => {
    expect(failure(cluster().subarray(0, length)).code).toBe('BAD_IMAGE');
  });

  it('reads version 2 with what it fixes', () => {
    const header = parseHeader(
      cluster((bytes) => {
        bytes.writeUInt32BE(2, layout.VERSION_AT);
        // Beyond its header: extensions begin here, so this must not be taken for features.
        bytes.fill(0, layout.V2_HEADER_BYTES, layout.WRITTEN_HEADER_BYTES);
      }),
      'x',
    );
    expect(header).toMatchObject({
      version: 2,
      refcountOrder: 4,
      extendedL2: false,
      compressionType: 'zlib',
    });
  });

  it('floors the virtual size to whole sectors', () => {
    expect(parseHeader(u64(layout.SIZE_AT, 1025n), 'x').virtualSize).toBe(1024);
  });

  it.each([
    ['version 0', u32(layout.VERSION_AT, 0), 'UNSUPPORTED'],
    ['version 1', u32(layout.VERSION_AT, 1), 'UNSUPPORTED'],
    ['version 4', u32(layout.VERSION_AT, 4), 'UNSUPPORTED'],
    ['magic', u32(layout.MAGIC_AT, 0), 'BAD_IMAGE'],
    ['cluster_bits 0', u32(layout.CLUSTER_BITS_AT, 0), 'BAD_IMAGE'],
    ['cluster_bits 8', u32(layout.CLUSTER_BITS_AT, 8), 'BAD_IMAGE'],
    ['cluster_bits 22', u32(layout.CLUSTER_BITS_AT, 22), 'BAD_IMAGE'],
    ['cluster_bits max', u32(layout.CLUSTER_BITS_AT, 0xffffffff), 'BAD_IMAGE'],
    ['header_length 0', u32(layout.HEADER_LENGTH_AT, 0), 'BAD_IMAGE'],
    ['header_length 103', u32(layout.HEADER_LENGTH_AT, 103), 'BAD_IMAGE'],
    ['header_length past the cluster', u32(layout.HEADER_LENGTH_AT, 65537), 'BAD_IMAGE'],
    ['header_length max', u32(layout.HEADER_LENGTH_AT, 0xffffffff), 'BAD_IMAGE'],
    ['backing_file_offset past the cluster', u64(layout.BACKING_OFFSET_AT, 65537n), 'BAD_IMAGE'],
    ['backing_file_offset max', u64(layout.BACKING_OFFSET_AT, 2n ** 64n - 1n), 'BAD_IMAGE'],
    ['size above 2^53', u64(layout.SIZE_AT, 2n ** 53n), 'BAD_IMAGE'],
    ['size max', u64(layout.SIZE_AT, 2n ** 64n - 1n), 'BAD_IMAGE'],
    ['size beyond the L1 table', u64(layout.SIZE_AT, 2n ** 30n + 1n), 'BAD_IMAGE'],
    ['crypt_method 3', u32(layout.CRYPT_METHOD_AT, 3), 'UNSUPPORTED'],
    ['l1_size 0', u32(layout.L1_SIZE_AT, 0), 'BAD_IMAGE'],
    ['l1_size past bound', u32(layout.L1_SIZE_AT, 4 * 1024 * 1024 + 1), 'BAD_IMAGE'],
    ['l1_size max', u32(layout.L1_SIZE_AT, 0xffffffff), 'BAD_IMAGE'],
    ['l1_table_offset unaligned', u64(layout.L1_OFFSET_AT, 512n), 'BAD_IMAGE'],
    ['l1_table_offset max', u64(layout.L1_OFFSET_AT, 2n ** 64n - 65536n), 'BAD_IMAGE'],
    ['refcount_table_offset unaligned', u64(layout.REFCOUNT_TABLE_OFFSET_AT, 1n), 'BAD_IMAGE'],
    ['refcount_table_clusters past bound', u32(layout.REFCOUNT_TABLE_CLUSTERS_AT, 129), 'BAD_IMAGE'],
    ['refcount_order 7', u32(layout.REFCOUNT_ORDER_AT, 7), 'BAD_IMAGE'],
    ['nb_snapshots past bound', u32(layout.SNAPSHOT_COUNT_AT, 65537), 'BAD_IMAGE'],
    ['compression bit without a type', u64(layout.INCOMPATIBLE_AT, 8n), 'BAD_IMAGE'],
    [
      'extended L2 with 8 KiB clusters',
      cluster((b) => b.writeBigUInt64BE(16n, layout.INCOMPATIBLE_AT), {
        ...PLAIN,
        clusterBits: 13,
        virtualSize: 8192,
        l1Entries: 1,
      }),
      'BAD_IMAGE',
    ],
    ['feature bit 5', u64(layout.INCOMPATIBLE_AT, 32n), 'UNSUPPORTED'],
  ])('refuses %s', (_, bytes, code) => {
    expect(failure(bytes).code).toBe(code);
  });

  it('refuses a compression type without its bit, and one that is unknown', () => {
    expect(failure(cluster((bytes) => bytes.writeUInt8(1, layout.COMPRESSION_TYPE_AT))).code).toBe(
      'BAD_IMAGE',
    );
    const unknown = cluster((bytes) => {
      bytes.writeUInt8(2, layout.COMPRESSION_TYPE_AT);
      bytes.writeBigUInt64BE(8n, layout.INCOMPATIBLE_AT);
    });
    expect(failure(unknown).code).toBe('UNSUPPORTED');
  });

  it('refuses a data file that is said to be raw but is not there, as QEMU does', () => {
    expect(failure(u64(layout.AUTOCLEAR_AT, 2n)).message).toContain('autoclear_features = 2');
    const both = cluster((bytes) => {
      bytes.writeBigUInt64BE(2n, layout.AUTOCLEAR_AT);
      bytes.writeBigUInt64BE(4n, layout.INCOMPATIBLE_AT);
    });
    expect(parseHeader(both, 'x').dataFile).toMatchObject({ raw: true });
  });

  it('refuses an image that says where its LUKS header is but not that it is encrypted', () => {
    const bytes = cluster((image) => {
      image.writeUInt32BE(0x0537be77, layout.WRITTEN_HEADER_BYTES);
      image.writeUInt32BE(16, layout.WRITTEN_HEADER_BYTES + 4);
    });
    for (const method of [0, 1]) {
      bytes.writeUInt32BE(method, layout.CRYPT_METHOD_AT);
      expect(failure(bytes).message).toContain(`crypt_method = ${method}`);
    }
    bytes.writeUInt32BE(2, layout.CRYPT_METHOD_AT);
    expect(parseHeader(bytes, 'x').encryption).toBe('luks');
  });

  it('reads an image that ends anywhere behind its header', () => {
    for (let length = layout.WRITTEN_HEADER_BYTES; length < layout.WRITTEN_HEADER_BYTES + 20; length++) {
      expect(parseHeader(cluster().subarray(0, length), 'x').version).toBe(3);
    }
  });

  it('refuses a snapshot table that is not aligned only when there are snapshots', () => {
    expect(parseHeader(u64(layout.SNAPSHOTS_OFFSET_AT, 7n), 'x').snapshotCount).toBe(0);
    const bytes = u64(layout.SNAPSHOTS_OFFSET_AT, 7n);
    bytes.writeUInt32BE(1, layout.SNAPSHOT_COUNT_AT);
    expect(failure(bytes).code).toBe('BAD_IMAGE');
  });

  it('refuses a backing name that is too long or leaves the cluster', () => {
    for (const [offset, length] of [
      [200, 1024],
      [65536 - 8, 9],
      [200, 0xffffffff],
    ] as const) {
      const bytes = cluster((all) => {
        all.writeBigUInt64BE(BigInt(offset), layout.BACKING_OFFSET_AT);
        all.writeUInt32BE(length, layout.BACKING_SIZE_AT);
      });
      expect(failure(bytes).data.field).toBe('backing_file_size');
    }
  });

  it('takes the backing name up to its first zero byte', () => {
    const header = { ...PLAIN, backing: { file: 'base\0../../x', format: 'raw' } };
    expect(
      parseHeader(
        cluster(() => {}, header),
        'x',
      ).backingFile,
    ).toBe('base');
  });

  it('reads corrupt and dirty images and says so', () => {
    expect(parseHeader(u64(layout.INCOMPATIBLE_AT, 3n), 'x')).toMatchObject({ dirty: true, corrupt: true });
  });

  it('tells an unknown feature by the name that the image has for it', () => {
    const bytes = cluster((all) => {
      all.writeBigUInt64BE(1n << 40n, layout.INCOMPATIBLE_AT);
      const at = layout.WRITTEN_HEADER_BYTES;
      all.writeUInt32BE(0x6803f857, at);
      all.writeUInt32BE(48, at + 4);
      all.writeUInt8(0, at + 8);
      all.writeUInt8(40, at + 9);
      all.write('time travel', at + 10, 'latin1');
    });
    expect(failure(bytes).message).toContain('bit 40 ("time travel")');
  });

  it('tells an unknown feature even when the extensions are broken', () => {
    const bytes = cluster((all) => {
      all.writeBigUInt64BE(1n << 63n, layout.INCOMPATIBLE_AT);
      all.fill(0xff, layout.WRITTEN_HEADER_BYTES, 300);
    });
    expect(failure(bytes).message).toContain('bit 63');
  });
});
