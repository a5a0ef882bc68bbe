import { createRequire } from 'node:module';
import { type Hash, type HashCodec, oneByOne } from './hash.ts';

type Noble = typeof import('@noble/hashes/sha2.js');

let loaded: Noble | undefined;

/** Loaded when first used, which is seldom: as a second opinion only. */
function noble(): Noble {
  loaded ??= createRequire(import.meta.url)('@noble/hashes/sha2.js') as Noble;
  return loaded;
}

/** SHA-256 in audited JavaScript: 151 MB/s a core, runs anywhere, and is the oracle for the native one. */
export const nobleHash: HashCodec = oneByOne({
  name: '@noble/hashes',
  create: () => adapted(noble().sha256.create()),
  digest: (bytes) => noble().sha256(bytes),
});

function adapted(hash: ReturnType<Noble['sha256']['create']>): Hash {
  const self: Hash = {
    update(bytes) {
      hash.update(bytes);
      return self;
    },
    digest: () => hash.digest(),
    copy: () => adapted(hash.clone()),
  };
  return self;
}
