import { createHash } from 'node:crypto';
import { digestBytes, type LuksHash } from './hash.ts';

/**
 * Joins a key that LUKS has split into stripes, so that the loss of any part of them loses the key (LUKS1 On-Disk
 * Format Specification, "Anti-forensic splitter"): a running value is mixed with stripe after stripe and hashed,
 * and the last stripe turns it into the key.
 * @param split all stripes, each of `keyBytes`.
 */
export function mergeStripes(split: Uint8Array, keyBytes: number, hash: LuksHash): Buffer {
  const value = Buffer.alloc(keyBytes);
  for (let at = 0; at < split.length; at += keyBytes) {
    if (at > 0) diffuse(value, hash);
    for (let i = 0; i < keyBytes; i++) value[i]! ^= split[at + i]!;
  }
  return value;
}

/** Replaces each piece of a digest's length by the digest of its number and itself; the last may be shorter. */
function diffuse(value: Buffer, hash: LuksHash): void {
  const number = Buffer.alloc(4);
  const step = digestBytes(hash);
  for (let at = 0; at < value.length; at += step) {
    number.writeUInt32BE(at / step);
    const piece = value.subarray(at, at + step);
    createHash(hash).update(number).update(piece).digest().copy(piece);
  }
}
