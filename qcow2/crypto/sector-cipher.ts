import { createDecipheriv, type Decipher } from 'node:crypto';
import { SECTOR } from '../meta/layout.ts';
import { BLOCK_BYTES, blockCipher, type IvMaker } from './iv.ts';

/*
 * Node's ciphers take one initialization vector each, and making one cipher per sector costs three times as much as
 * the decryption does. So AES runs over all sectors at once without a mode, and what the modes add is done here:
 *
 *   CBC  plain block = AES(stored block) xor the stored block before it, or the sector's vector for its first
 *   XTS  plain block = AES(stored block xor tweak) xor tweak; a sector's first tweak is its vector, encrypted with
 *        the second half of the key; each next one is the last times x in GF(2^128), modulo x^128+x^7+x^2+x+1
 */
const XTS_POLYNOMIAL = 0x87;

/** Decrypts whole sectors of a disk. */
export interface SectorCipher {
  /** Bytes that are encrypted as one: 512, or a larger power of two. */
  readonly sectorBytes: number;
  /**
   * Decrypts in place.
   * @param bytes whole sectors, the first of which begins `firstSector` times 512 bytes from the start.
   */
  decrypt(bytes: Buffer, firstSector: number): void;
}

/** AES in CBC mode with a key of 16, 24 or 32 bytes. */
export class CbcCipher implements SectorCipher {
  readonly sectorBytes: number;
  readonly #aes: Decipher;
  readonly #ivs: IvMaker;

  constructor(key: Uint8Array, ivs: IvMaker, sectorBytes: number) {
    this.sectorBytes = sectorBytes;
    this.#aes = blockDecipher(key);
    this.#ivs = ivs;
  }

  decrypt(bytes: Buffer, firstSector: number): void {
    const size = this.sectorBytes;
    const ivs = this.#ivs(firstSector, bytes.length / size, size / SECTOR);
    // What each block is mixed with, gathered before the stored bytes are overwritten.
    const before = Buffer.allocUnsafe(bytes.length);
    bytes.copy(before, BLOCK_BYTES, 0, bytes.length - BLOCK_BYTES);
    for (let at = 0; at < bytes.length; at += size) {
      const iv = (at / size) * BLOCK_BYTES;
      ivs.copy(before, at, iv, iv + BLOCK_BYTES);
    }
    this.#aes.update(bytes).copy(bytes);
    xorInto(bytes, before);
  }
}

/** AES in XTS mode with two keys of 16, 24 or 32 bytes, one after the other. */
export class XtsCipher implements SectorCipher {
  readonly sectorBytes: number;
  readonly #aes: Decipher;
  readonly #tweaks: IvMaker;

  constructor(key: Uint8Array, ivs: IvMaker, sectorBytes: number) {
    this.sectorBytes = sectorBytes;
    const half = key.length / 2;
    this.#aes = blockDecipher(key.subarray(0, half));
    const tweak = blockCipher(key.subarray(half));
    this.#tweaks = (firstSector, count, step) => tweak.update(ivs(firstSector, count, step));
  }

  decrypt(bytes: Buffer, firstSector: number): void {
    const size = this.sectorBytes;
    const firsts = this.#tweaks(firstSector, bytes.length / size, size / SECTOR);
    const tweaks = allTweaks(firsts, size / BLOCK_BYTES);
    xorInto(bytes, tweaks);
    this.#aes.update(bytes).copy(bytes);
    xorInto(bytes, tweaks);
  }
}

/** From the first tweak of each sector to those of all its blocks. */
function allTweaks(firsts: Buffer, blocksPerSector: number): Buffer {
  const tweaks = Buffer.allocUnsafe(firsts.length * blocksPerSector);
  const view = new DataView(tweaks.buffer, tweaks.byteOffset, tweaks.length);
  for (let sector = 0, at = 0; sector * BLOCK_BYTES < firsts.length; sector++) {
    const first = sector * BLOCK_BYTES;
    let a = firsts.readUInt32LE(first);
    let b = firsts.readUInt32LE(first + 4);
    let c = firsts.readUInt32LE(first + 8);
    let d = firsts.readUInt32LE(first + 12);
    for (let block = 0; block < blocksPerSector; block++, at += BLOCK_BYTES) {
      view.setUint32(at, a, true);
      view.setUint32(at + 4, b, true);
      view.setUint32(at + 8, c, true);
      view.setUint32(at + 12, d, true);
      const carry = d >>> 31;
      d = (d << 1) | (c >>> 31);
      c = (c << 1) | (b >>> 31);
      b = (b << 1) | (a >>> 31);
      a = (a << 1) ^ (carry * XTS_POLYNOMIAL);
    }
  }
  return tweaks;
}

/** `bytes` ^= `other`; both of one length, a multiple of a block. */
function xorInto(bytes: Buffer, other: Buffer): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const mask = new DataView(other.buffer, other.byteOffset, other.length);
  for (let at = 0; at < bytes.length; at += 4) {
    view.setUint32(at, view.getUint32(at, true) ^ mask.getUint32(at, true), true);
  }
}

function blockDecipher(key: Uint8Array): Decipher {
  return createDecipheriv(`aes-${key.length * 8}-ecb`, key, null).setAutoPadding(false);
}
