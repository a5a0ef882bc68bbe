import { createHash, hash } from 'node:crypto';
import { type HashCodec, oneByOne } from './hash.ts';

/** SHA-256 of OpenSSL: 1754 MB/s a core where the processor has SHA instructions. */
export const nodeHash: HashCodec = oneByOne({
  name: 'node:crypto',
  create: () => createHash('sha256'),
  digest: (bytes) => hash('sha256', bytes, 'buffer'),
});
