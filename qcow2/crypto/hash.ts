/** Bytes of the digests of the hashes that LUKS headers name, which node:crypto knows under the same names. */
const DIGEST_BYTES = { sha1: 20, sha224: 28, sha256: 32, sha384: 48, sha512: 64, ripemd160: 20 } as const;

/** A hash that LUKS headers may name. */
export type LuksHash = keyof typeof DIGEST_BYTES;

/** Whether `name` is a hash that can be computed. */
export function isLuksHash(name: string): name is LuksHash {
  return Object.hasOwn(DIGEST_BYTES, name);
}

/** Bytes of a digest. */
export function digestBytes(hash: LuksHash): number {
  return DIGEST_BYTES[hash];
}
