import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemorySource } from '../../../block/index.ts';
import { ImgstoreError } from '../../../errors/index.ts';
import { KeyWork } from '../../../qcow2/crypto/key-work.ts';
import { Qcow2Image } from '../../../qcow2/index.ts';
import { encodeExtension } from '../../../qcow2/meta/extensions.ts';
import * as layout from '../../../qcow2/meta/layout.ts';
import { noise } from '../qemu.ts';
import { type LuksPlan, makeLuks } from './make-luks.ts';

const CLUSTER = 4096;
const LUKS_AT = 3 * CLUSTER;
const EXTENSION_AT = layout.V3_HEADER_BYTES;
const CRYPTO_HEADER = 0x0537be77;
/** Keys may take 10 seconds of a machine that does nothing else; tests share theirs. */
const MOST_MILLISECONDS = 30_000;
const PLAN: LuksPlan = {
  password: Buffer.from('secret'),
  masterKey: noise(64, 3),
  hash: 'sha256',
  iterations: 10,
  slot: 2,
};

/** An empty image of 1 MiB that is encrypted with `luks`. */
function imageWith(luks: Buffer): Buffer {
  const bytes = Buffer.alloc(LUKS_AT);
  bytes.writeUInt32BE(layout.QCOW_MAGIC, layout.MAGIC_AT);
  bytes.writeUInt32BE(3, layout.VERSION_AT);
  bytes.writeUInt32BE(12, layout.CLUSTER_BITS_AT);
  bytes.writeBigUInt64BE(2n ** 20n, layout.SIZE_AT);
  bytes.writeUInt32BE(2, layout.CRYPT_METHOD_AT);
  bytes.writeUInt32BE(1, layout.L1_SIZE_AT);
  bytes.writeBigUInt64BE(BigInt(CLUSTER), layout.L1_OFFSET_AT);
  bytes.writeBigUInt64BE(BigInt(2 * CLUSTER), layout.REFCOUNT_TABLE_OFFSET_AT);
  bytes.writeUInt32BE(1, layout.REFCOUNT_TABLE_CLUSTERS_AT);
  bytes.writeUInt32BE(4, layout.REFCOUNT_ORDER_AT);
  bytes.writeUInt32BE(layout.V3_HEADER_BYTES, layout.HEADER_LENGTH_AT);
  const pointer = Buffer.alloc(16);
  pointer.writeBigUInt64BE(BigInt(LUKS_AT), 0);
  pointer.writeBigUInt64BE(BigInt(luks.length), 8);
  bytes.set(encodeExtension(CRYPTO_HEADER, pointer), EXTENSION_AT);
  return Buffer.concat([bytes, luks]);
}

const GOOD = imageWith(makeLuks(PLAN));

/** What becomes of an image with a change: undefined if it opens. It must not take long to say. */
async function failure(
  change: (bytes: Buffer) => void,
  password = PLAN.password,
): Promise<ImgstoreError | undefined> {
  const bytes = Buffer.from(GOOD);
  change(bytes);
  const start = performance.now();
  try {
    await (await Qcow2Image.open(new MemorySource(bytes), { name: 'x.qcow2', key: password })).close();
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(ImgstoreError);
    expect((error as ImgstoreError).message).toMatch(/^x\.qcow2: [^\n]+$/);
    return error as ImgstoreError;
  } finally {
    expect(performance.now() - start).toBeLessThan(MOST_MILLISECONDS);
  }
}

const slotAt = (index: number, field: number) => LUKS_AT + 208 + index * 48 + field;

describe('a LUKS header', () => {
  it('gives the key for any hash, key length and slot', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'ripemd160'),
        fc.constantFrom(32, 64),
        fc.integer({ min: 0, max: 7 }),
        fc.uint8Array({ maxLength: 80 }),
        fc.integer({ min: 1, max: 30 }),
        async (hash, keyBytes, slot, secret, iterations) => {
          const password = Buffer.from(secret);
          const masterKey = noise(keyBytes, slot + 1);
          const bytes = imageWith(makeLuks({ password, masterKey, hash, iterations, slot }));
          const opened = await Qcow2Image.open(new MemorySource(bytes), { name: 'x', key: password });
          expect(opened.size).toBe(2 ** 20);
          const wrong = Buffer.concat([password, Buffer.from('x')]);
          await expect(
            Qcow2Image.open(new MemorySource(bytes), { name: 'x', key: wrong }),
          ).rejects.toMatchObject({ code: 'WRONG_KEY' });
        },
      ),
      { numRuns: 40 },
    );
  });

  it.each([
    ['no magic', (b: Buffer) => b.writeUInt8(0, LUKS_AT), 'BAD_IMAGE', 'LUKS magic'],
    ['version 2', (b: Buffer) => b.writeUInt16BE(2, LUKS_AT + 6), 'BAD_IMAGE', 'the first has hdr_offset'],
    ['version 3', (b: Buffer) => b.writeUInt16BE(3, LUKS_AT + 6), 'UNSUPPORTED', 'LUKS version 3'],
    ['version 0', (b: Buffer) => b.writeUInt16BE(0, LUKS_AT + 6), 'UNSUPPORTED', 'LUKS version 0'],
    ['another cipher', (b: Buffer) => b.write('fish', LUKS_AT + 8), 'UNSUPPORTED', '"fish-xts-plain64"'],
    ['another hash', (b: Buffer) => b.write('md4\0', LUKS_AT + 72), 'UNSUPPORTED', 'the hash "md4"'],
    ['the hash __proto__', (b: Buffer) => b.write('__proto__', LUKS_AT + 72), 'UNSUPPORTED', '"__proto__"'],
    ['no key bytes', (b: Buffer) => b.writeUInt32BE(0, LUKS_AT + 108), 'BAD_IMAGE', 'key_bytes = 0'],
    ['key bytes 17', (b: Buffer) => b.writeUInt32BE(17, LUKS_AT + 108), 'UNSUPPORTED', 'a key of 17 bytes'],
    ['key bytes 65', (b: Buffer) => b.writeUInt32BE(65, LUKS_AT + 108), 'BAD_IMAGE', 'key_bytes = 65'],
    ['most key bytes', (b: Buffer) => b.writeUInt32BE(2 ** 32 - 1, LUKS_AT + 108), 'BAD_IMAGE', 'key_bytes'],
    [
      'another digest',
      (b: Buffer) => b.writeUInt8(b[LUKS_AT + 112]! ^ 1, LUKS_AT + 112),
      'WRONG_KEY',
      'opens none',
    ],
    ['no digest iterations', (b: Buffer) => b.writeUInt32BE(0, LUKS_AT + 164), 'BAD_IMAGE', 'mk_digest_iter'],
    [
      'most digest iterations',
      (b: Buffer) => b.writeUInt32BE(2 ** 32 - 1, LUKS_AT + 164),
      'UNSUPPORTED',
      'digest asks for 4294967295 iterations',
    ],
    [
      'many slot iterations',
      (b: Buffer) => b.writeUInt32BE(500_000_000, slotAt(2, 4)),
      'UNSUPPORTED',
      'slot 2 asks for 500000000 iterations',
    ],
    ['no slot iterations', (b: Buffer) => b.writeUInt32BE(0, slotAt(2, 4)), 'BAD_IMAGE', 'iterations = 0'],
    [
      'an unknown state',
      (b: Buffer) => b.writeUInt32BE(1, slotAt(0, 0)),
      'BAD_IMAGE',
      'key slot 0 field active',
    ],
    [
      'no slot in use',
      (b: Buffer) => b.writeUInt32BE(0xdead, slotAt(2, 0)),
      'BAD_IMAGE',
      'no key slot in use',
    ],
    ['no stripes', (b: Buffer) => b.writeUInt32BE(0, slotAt(2, 44)), 'BAD_IMAGE', 'stripes = 0'],
    ['most stripes', (b: Buffer) => b.writeUInt32BE(2 ** 32 - 1, slotAt(2, 44)), 'BAD_IMAGE', 'stripes ='],
    ['material in the header', (b: Buffer) => b.writeUInt32BE(1, slotAt(2, 40)), 'BAD_IMAGE', 'key_material'],
    ['material past the end', (b: Buffer) => b.writeUInt32BE(9, slotAt(2, 40)), 'BAD_IMAGE', 'key_material'],
    [
      'material far away',
      (b: Buffer) => b.writeUInt32BE(2 ** 32 - 1, slotAt(2, 40)),
      'BAD_IMAGE',
      'key_material',
    ],
  ] as const)('with %s gives an error that says so', async (_, change, code, message) => {
    const failed = await failure(change);
    expect(failed?.code).toBe(code);
    expect(failed?.message).toContain(message);
  });

  it('is not looked for where its pointer cannot lead', async () => {
    const size = BigInt(GOOD.length);
    for (const offset of [
      0n,
      1n,
      4095n,
      4097n,
      size,
      size - 4096n,
      2n ** 53n,
      2n ** 64n - 4096n,
      2n ** 64n - 1n,
    ]) {
      const failed = await failure((bytes) => bytes.writeBigUInt64BE(offset, EXTENSION_AT + 8));
      expect(failed?.code).toBe('BAD_IMAGE');
      expect(failed?.message).toContain('encryption extension field offset');
    }
    for (const length of [0n, 591n, 592n, size, 2n ** 64n - 1n]) {
      expect((await failure((bytes) => bytes.writeBigUInt64BE(length, EXTENSION_AT + 16)))?.code).toBe(
        'BAD_IMAGE',
      );
    }
    // The image's own header is not one of LUKS.
    const self = await failure((bytes) => bytes.writeBigUInt64BE(4096n, EXTENSION_AT + 8));
    expect(self?.message).toContain('LUKS magic');
    const none = await failure((bytes) => bytes.writeUInt32BE(0x12345678, EXTENSION_AT));
    expect(none?.message).toContain('no header extension that says where');
  });

  it('is left when keys have taken their time, however many slots ask for more', async () => {
    const bytes = Buffer.from(GOOD);
    for (let slot = 0; slot < 8; slot++) {
      bytes.copy(bytes, slotAt(slot, 0), slotAt(2, 0), slotAt(3, 0));
      // Some tenths of a second each.
      bytes.writeUInt32BE(1_000_000, slotAt(slot, 4));
    }
    const parts = { name: 'x.qcow2', key: Buffer.from('wrong'), keyWork: new KeyWork(1) };
    await expect(Qcow2Image.open(new MemorySource(bytes), parts)).rejects.toThrow(
      /^x\.qcow2: LUKS key slot [0-7] asks for 1000000 iterations, about .* allow more seconds for keys/,
    );
  });

  it('gives one error or opens when any bytes of it change', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: 591 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 }),
        async (changes) => {
          await failure((bytes) => {
            for (const [at, value] of changes) {
              // Iterations have their own tests above, which take their time.
              if (at >= 164 && at < 168) continue;
              if (at >= 208 && (at - 208) % 48 >= 4 && (at - 208) % 48 < 8) continue;
              bytes[LUKS_AT + at] = value;
            }
          });
        },
      ),
      { numRuns: 150 },
    );
  });
});
