import { createCipheriv, createHash, pbkdf2Sync } from 'node:crypto';
import { noise } from '../qemu.ts';

const MATERIAL_AT = 4096;
const STRIPES = 4000;
const SECTOR = 512;

/** What a LUKS header is made of. */
export interface LuksPlan {
  readonly password: Buffer;
  readonly masterKey: Buffer;
  readonly hash: string;
  readonly iterations: number;
  /** The slot that holds the key. */
  readonly slot: number;
}

/** LUKS's splitter, the other way round: stripes of noise and one that makes them come out as `key`. */
export function split(key: Buffer, hash: string): Buffer {
  const stripes = noise(key.length * STRIPES, key[0]!);
  const value = Buffer.alloc(key.length);
  for (let stripe = 0; stripe < STRIPES - 1; stripe++) {
    for (let i = 0; i < key.length; i++) value[i]! ^= stripes[stripe * key.length + i]!;
    const pieces: Buffer[] = [];
    const step = createHash(hash).digest().length;
    for (let at = 0; at < key.length; at += step) {
      const number = Buffer.from([0, 0, 0, at / step]);
      const piece = value.subarray(at, at + step);
      pieces.push(createHash(hash).update(number).update(piece).digest().subarray(0, piece.length));
    }
    Buffer.concat(pieces).copy(value);
  }
  for (let i = 0; i < key.length; i++) stripes[(STRIPES - 1) * key.length + i] = key[i]! ^ value[i]!;
  return stripes;
}

/** Encrypts in place with aes-xts-plain64, by node:crypto's own XTS. @param first number of the first 512 bytes */
export function encryptXts(bytes: Buffer, key: Buffer, sectorBytes = SECTOR, first = 0): void {
  for (let at = 0; at < bytes.length; at += sectorBytes) {
    const iv = Buffer.alloc(16);
    iv.writeBigUInt64LE(BigInt(first + at / SECTOR));
    const cipher = createCipheriv(`aes-${key.length * 4}-xts`, key, iv);
    cipher.update(bytes.subarray(at, at + sectorBytes)).copy(bytes, at);
  }
}

/** A LUKS header with its key material for `aes-xts-plain64` with keys of 32 or 64 bytes. */
export function makeLuks({ password, masterKey, hash, iterations, slot }: LuksPlan): Buffer {
  const keyBytes = masterKey.length;
  const material = split(masterKey, hash);
  const salt = noise(32, 5);
  const slotKey = pbkdf2Sync(password, salt, iterations, keyBytes, hash);
  encryptXts(material, slotKey);
  const bytes = Buffer.alloc(MATERIAL_AT + material.length);
  bytes.write('LUKS\xba\xbe', 'latin1');
  bytes.writeUInt16BE(1, 6);
  bytes.write('aes', 8);
  bytes.write('xts-plain64', 40);
  bytes.write(hash, 72);
  bytes.writeUInt32BE(bytes.length / SECTOR, 104);
  bytes.writeUInt32BE(keyBytes, 108);
  const digestSalt = noise(32, 6);
  pbkdf2Sync(masterKey, digestSalt, iterations, 20, hash).copy(bytes, 112);
  digestSalt.copy(bytes, 132);
  bytes.writeUInt32BE(iterations, 164);
  bytes.write('0b2c6c7e-1111-4222-8333-944445555666', 168);
  for (let i = 0; i < 8; i++) {
    const at = 208 + i * 48;
    bytes.writeUInt32BE(i === slot ? 0x00ac71f3 : 0x0000dead, at);
    bytes.writeUInt32BE(i === slot ? iterations : 0, at + 4);
    if (i === slot) salt.copy(bytes, at + 8);
    bytes.writeUInt32BE(MATERIAL_AT / SECTOR, at + 40);
    bytes.writeUInt32BE(STRIPES, at + 44);
  }
  material.copy(bytes, MATERIAL_AT);
  return bytes;
}
