import { createHash } from 'node:crypto';

/** Bytes that no codec can make smaller, the same every time for a seed. */
export function noise(length: number, seed: number): Buffer {
  if (length === 0) return Buffer.alloc(0);
  return createHash('shake256', { outputLength: length }).update(String(seed)).digest();
}

/** Bytes as a disk holds them: runs of text, of zeros and of noise. */
export function mixed(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0, i = seed; at < length; at += 777, i++) {
    if (i % 3 === 0) bytes.fill(`line ${i} of a log\n`, at, Math.min(at + 777, length));
    if (i % 3 === 1) noise(777, i).copy(bytes, at);
  }
  return bytes;
}
