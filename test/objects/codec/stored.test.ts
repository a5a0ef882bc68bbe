import { inflateSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { storedLength, storeInstead, storeInZlib } from '../../../objects/codec/stored.ts';
import {
  deflateRoom,
  looseFromDeflated,
  nodeDeflate,
  pakoDeflate,
  parseLoose,
} from '../../../objects/index.ts';
import { noise } from '../noise.ts';
import { libdeflate } from './native-codecs.ts';

const sizes = fc.oneof(
  fc.nat(300_000),
  fc.constantFrom(0, 1, 65_534, 65_535, 65_536, 131_070, 131_071, 196_605),
);

test('storeInZlib and storeInstead make a stream of storedLength bytes that every codec reads', () => {
  fc.assert(
    fc.property(sizes, (size) => {
      const data = noise(size, size);
      const stream = storeInZlib(data, nodeDeflate.deflate(data, 1));
      expect(stream).toHaveLength(storedLength(size));
      expect(Buffer.compare(inflateSync(stream), data)).toBe(0);
      for (const codec of [nodeDeflate, pakoDeflate, libdeflate])
        expect(Buffer.compare(codec.inflate(stream, size), data)).toBe(0);
      const into = new Uint8Array(deflateRoom(size));
      const length = storeInstead(data, into, nodeDeflate.deflateInto(data, 1, into));
      expect(Buffer.compare(into.subarray(0, length), stream)).toBe(0);
      const loose = parseLoose(looseFromDeflated('blob', size, stream));
      expect(Buffer.compare(loose.data, data)).toBe(0);
    }),
    { numRuns: 40, examples: [[0], [65_535], [65_536], [131_070]] },
  );
});
