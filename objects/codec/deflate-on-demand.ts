import type { DeflateCodec } from './deflate.ts';
import { nodeDeflate } from './deflate-node.ts';

/**
 * Data that is inflated without the native libraries. Loading them takes 11 ms, in which zlib inflates 6 MB and they inflate 12; `imgstore log` reads some objects of a few
 * hundred bytes.
 */
const FIRST_BYTES = 1024 * 1024;

/**
 * A codec that is loaded when there is something to do for it: for the first data to deflate, and after the first MiB inflated, which zlib does, to the same bytes.
 * @param load what makes it; called once
 */
export function onDemand(load: () => DeflateCodec): DeflateCodec {
  let loaded: DeflateCodec | undefined;
  let left = FIRST_BYTES;
  const codec = () => {
    loaded ??= load();
    return loaded;
  };
  return {
    get name() {
      return codec().name;
    },
    get packLevel() {
      return codec().packLevel;
    },
    deflate: (data, level) => codec().deflate(data, level),
    deflateInto: (data, level, into) => codec().deflateInto(data, level, into),
    inflate(stream, size) {
      if (loaded !== undefined || size > left) return codec().inflate(stream, size);
      left -= size;
      try {
        return nodeDeflate.inflate(stream, size);
      } catch {
        // A damaged stream is told of in the same words, however much came before it.
        return codec().inflate(stream, size);
      }
    },
    // Whoever has memory for it already has much to inflate.
    inflateInto: (stream, into) => codec().inflateInto(stream, into),
    inflatePrefix: (stream) => (loaded ?? nodeDeflate).inflatePrefix(stream),
  };
}
