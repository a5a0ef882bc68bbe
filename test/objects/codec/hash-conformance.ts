import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type HashCodec, nobleHash } from '../../../objects/index.ts';
import { noise } from '../noise.ts';

/** FIPS 180-4's examples, and those of NIST's "SHA-2 additional test vectors". */
const VECTORS: readonly (readonly [string, string | Uint8Array, string])[] = [
  ['nothing', '', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  ['one block', 'abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
  [
    'two blocks',
    'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
    '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  ],
  ['a million letters', 'a'.repeat(1e6), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'],
  ['the byte bd', Buffer.of(0xbd), '68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b'],
  ['55 zeros', Buffer.alloc(55), '02779466cdec163811d078815c633f21901413081449002f24aa3e80f0b88ef7'],
  ['64 zeros', Buffer.alloc(64), 'f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b'],
];

/** Declares the tests that every {@link HashCodec} must pass. */
export function describeHash(codec: HashCodec): void {
  const digest = (...parts: readonly Uint8Array[]) => {
    const hash = codec.create();
    for (const part of parts) hash.update(part);
    return Buffer.from(hash.digest()).toString('hex');
  };

  describe(`${codec.name} conforms to HashCodec`, () => {
    test.each(VECTORS)(`${codec.name} gives the published digest of %s`, (_, text, expected) => {
      expect(digest(typeof text === 'string' ? Buffer.from(text) : text)).toBe(expected);
    });

    test(`${codec.name} gives 32 bytes`, () => {
      expect(codec.create().digest()).toHaveLength(32);
    });

    test(`${codec.name}.update gives the same digest however the bytes are cut`, () => {
      fc.assert(
        fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (parts) => {
          expect(digest(...parts)).toBe(digest(Buffer.concat(parts)));
        }),
      );
    });

    test(`${codec.name}.update takes a view into a larger buffer`, () => {
      const bytes = Buffer.from('xxabcxx');
      expect(digest(bytes.subarray(2, 5))).toBe(digest(Buffer.from('abc')));
    });

    test(`${codec.name}.digest gives what create, update and digest give`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
          expect(Buffer.from(codec.digest(bytes)).toString('hex')).toBe(digest(bytes));
        }),
      );
    });

    test(`${codec.name}.copy gives a hash that goes its own way`, () => {
      const [a, b, c] = [noise(100, 1), noise(77, 2), noise(64, 3)];
      const first = codec.create().update(a);
      const second = first.copy().update(b);
      const third = second.copy();
      expect(first.update(c).digest()).toEqual(codec.digest(Buffer.concat([a, c])));
      expect(second.update(c).digest()).toEqual(codec.digest(Buffer.concat([a, b, c])));
      expect(third.digest()).toEqual(codec.digest(Buffer.concat([a, b])));
    });

    test(`${codec.name}.update returns the hash`, () => {
      const hash = codec.create();
      expect(hash.update(Buffer.from('a'))).toBe(hash);
    });

    test(`${codec.name} agrees with ${nobleHash.name} on any bytes`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
          expect(digest(bytes)).toBe(Buffer.from(nobleHash.create().update(bytes).digest()).toString('hex'));
        }),
      );
    });
  });
}
