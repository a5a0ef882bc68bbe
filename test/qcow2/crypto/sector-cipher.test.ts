import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cipherBySpec } from '../../../qcow2/crypto/cipher-spec.ts';
import { noise } from '../qemu.ts';

const SECTOR = 512;

/** A sector's number as a vector, little-endian in `bytes` bytes. */
function numbered(sector: number, bytes: 4 | 8): Buffer {
  const iv = Buffer.alloc(16);
  iv.writeBigUInt64LE(BigInt(sector));
  return bytes === 4 ? iv.fill(0, 4) : iv;
}

/** What node:crypto's own mode makes of one sector. */
function oracle(name: string, key: Buffer, iv: Buffer, stored: Buffer): Buffer {
  return createDecipheriv(name, key, iv).setAutoPadding(false).update(stored);
}

/** Sectors near the places where a number outgrows 32 bits, and any. */
const sectors = fc.oneof(
  fc.constantFrom(0, 1, 2 ** 32 - 2, 2 ** 32, 2 ** 40),
  fc.nat({ max: 2 ** 44 - 100 }),
);

describe('cipherBySpec', () => {
  it.each([
    ['xts-plain64', 32, 'aes-128-xts', 8],
    ['xts-plain64', 64, 'aes-256-xts', 8],
    ['xts-plain', 64, 'aes-256-xts', 4],
    ['cbc-plain64', 16, 'aes-128-cbc', 8],
    ['cbc-plain64', 24, 'aes-192-cbc', 8],
    ['cbc-plain64', 32, 'aes-256-cbc', 8],
    ['cbc-plain:sha256', 32, 'aes-256-cbc', 4],
  ] as const)(
    'decrypts aes-%s with a key of %i bytes as node:crypto does',
    (mode, keyBytes, name, ivBytes) => {
      fc.assert(
        fc.property(sectors, fc.integer({ min: 1, max: 9 }), fc.nat(), (first, count, seed) => {
          const key = noise(keyBytes, seed);
          const stored = noise(count * SECTOR, seed + 1);
          const bytes = Buffer.from(stored);
          cipherBySpec({ name: 'aes', mode }, keyBytes, 'x')(key).decrypt(bytes, first);
          for (let i = 0; i < count; i++) {
            const part = [i * SECTOR, (i + 1) * SECTOR] as const;
            const plain = oracle(name, key, numbered(first + i, ivBytes), stored.subarray(...part));
            expect(bytes.subarray(...part).equals(plain)).toBe(true);
          }
        }),
        { numRuns: 60 },
      );
    },
  );

  it.each([
    ['cbc-essiv:sha256', 16, 'aes-128-cbc'],
    ['xts-essiv:sha256', 64, 'aes-256-xts'],
  ])('decrypts aes-%s with a key of %i bytes', (mode, keyBytes, name) => {
    const key = noise(keyBytes, 7);
    const stored = noise(3 * SECTOR, 8);
    const bytes = Buffer.from(stored);
    cipherBySpec({ name: 'aes', mode }, keyBytes, 'x')(key).decrypt(bytes, 1000);
    for (let i = 0; i < 3; i++) {
      const salt = createHash('sha256').update(key).digest();
      const iv = createCipheriv('aes-256-ecb', salt, null)
        .setAutoPadding(false)
        .update(numbered(1000 + i, 8));
      const part = [i * SECTOR, (i + 1) * SECTOR] as const;
      expect(bytes.subarray(...part).equals(oracle(name, key, iv, stored.subarray(...part)))).toBe(true);
    }
  });

  it.each([
    ['serpent', 'xts-plain64', 64],
    ['aes', 'ecb', 32],
    ['aes', 'ctr-plain64', 32],
    ['aes', 'xts-plain64', 16],
    ['aes', 'xts-plain64', 33],
    ['aes', 'cbc-plain64', 64],
    ['aes', 'cbc-essiv', 32],
    ['aes', 'cbc-essiv:sha1', 32],
    ['aes', 'xts-benbi', 32],
    ['', '', 32],
  ])('refuses %s-%s with a key of %i bytes', (name, mode, keyBytes) => {
    expect(() => cipherBySpec({ name, mode }, keyBytes, 'disk.qcow2')).toThrow(
      `disk.qcow2: is encrypted with "${name}-${mode}"`,
    );
  });
});
