import { type Cipher, createCipheriv, createHash } from 'node:crypto';

/** Bytes of a block of AES, and of an initialization vector. */
export const BLOCK_BYTES = 16;

/**
 * Makes the initialization vectors of sectors that follow each other, one after another in one buffer.
 * @param step from one number to the next: larger sectors are numbered by their first 512 bytes.
 */
export type IvMaker = (firstSector: number, count: number, step: number) => Buffer;

/**
 * How a sector's number becomes its initialization vector: as little-endian bytes, of which `plain` keeps 32 bits
 * and `plain64` 64; `essiv` encrypts those of plain64 with a key that is the hash of the disk's key.
 */
export type IvKind = 'plain' | 'plain64' | 'essiv';

/** `plain` and `plain64`. */
export function plainIvs(kind: 'plain' | 'plain64'): IvMaker {
  return (firstSector, count, step) => {
    const ivs = Buffer.alloc(count * BLOCK_BYTES);
    for (let i = 0; i < count; i++) {
      const sector = firstSector + i * step;
      ivs.writeUInt32LE(sector % 2 ** 32, i * BLOCK_BYTES);
      if (kind === 'plain64') ivs.writeUInt32LE(Math.floor(sector / 2 ** 32), i * BLOCK_BYTES + 4);
    }
    return ivs;
  };
}

/** `essiv`, whose hash must be as long as a key of AES. */
export function essivIvs(key: Uint8Array, hash: string): IvMaker {
  const salt = createHash(hash).update(key).digest();
  const numbers = plainIvs('plain64');
  const cipher = blockCipher(salt);
  return (firstSector, count, step) => cipher.update(numbers(firstSector, count, step));
}

/** AES block by block, without a mode; it keeps no state, so one serves for all calls. */
export function blockCipher(key: Uint8Array): Cipher {
  return createCipheriv(`aes-${key.length * 8}-ecb`, key, null).setAutoPadding(false);
}
