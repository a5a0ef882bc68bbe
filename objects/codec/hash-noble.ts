import { sha256 } from '@noble/hashes/sha2.js';
import type { HashCodec } from './hash.ts';

/** SHA-256 in audited JavaScript: 151 MB/s a core, runs anywhere, and is the oracle for the native one. */
export const nobleHash: HashCodec = {
  name: '@noble/hashes',
  create: () => sha256.create(),
  digest: (bytes) => sha256(bytes),
};
