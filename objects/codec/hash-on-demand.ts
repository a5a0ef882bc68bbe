import type { HashCodec } from './hash.ts';

/** Data that is hashed without the native library: loading it takes 18 ms, in which OpenSSL hashes 30 MB and it 100. */
const FIRST_BYTES = 16 * 1024 * 1024;

/**
 * A codec for which another is loaded when there is much to hash at once.
 * @param single what hashes until then, and in the end when nothing can be loaded
 * @param lanes of the other
 */
export function hashOnDemand(single: HashCodec, lanes: number, load: () => HashCodec | undefined): HashCodec {
  let loaded: HashCodec | undefined;
  let left = FIRST_BYTES;
  const codec = () => {
    loaded ??= load() ?? single;
    return loaded;
  };
  return {
    ...single,
    lanes,
    get name() {
      return codec().name;
    },
    digests(messages) {
      if (loaded !== undefined || left < 0) return codec().digests(messages);
      for (const { length } of messages) left -= length;
      return single.digests(messages);
    },
  };
}
