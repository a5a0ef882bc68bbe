import { expect, onTestFinished, test, vi } from 'vitest';
import { type HashCodec, hashOnDemand, loadIpsecMb, nobleHash, nodeHash } from '../../../objects/index.ts';
import { noise } from '../noise.ts';
import { describeHash } from './hash-conformance.ts';

/** Undefined where Debian has another version of the library, or none. */
const ipsecMb = loadIpsecMb(nodeHash);

describeHash(nodeHash);
describeHash(nobleHash);
if (ipsecMb !== undefined) describeHash(ipsecMb);

const hex = (digests: readonly Uint8Array[]) => digests.map((digest) => Buffer.from(digest).toString('hex'));

/** Lengths around a block, a page, 16 bits and what the library is given at most. */
const LENGTHS = [0, 1, 63, 64, 1023, 1024, 4095, 4108, 65_535, 65_536, 65_548, 65_568, 65_569, 100_000];

test.skipIf(ipsecMb === undefined)(
  'the multi-buffer codec gives what OpenSSL gives for any number of messages of any lengths, wherever they lie',
  () => {
    for (let count = 0; count <= 20; count++) {
      for (const shift of [0, 1, 12]) {
        const messages = Array.from({ length: count }, (_, i) => {
          const length = LENGTHS[(count * 5 + i * 3) % LENGTHS.length]!;
          return noise(length + shift, count * 100 + i).subarray(shift);
        });
        expect(hex(ipsecMb!.digests(messages))).toEqual(hex(nodeHash.digests(messages)));
      }
    }
  },
);

test.skipIf(ipsecMb === undefined)(
  'the multi-buffer codec keeps its library when garbage is collected',
  async () => {
    const { setFlagsFromString } = await import('node:v8');
    const { runInNewContext } = await import('node:vm');
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const messages = Array.from({ length: 16 }, (_, i) => noise(65_548, i));
    const expected = hex(nodeHash.digests(messages));
    for (let round = 0; round < 20; round++) {
      collect();
      expect(hex(ipsecMb!.digests(messages))).toEqual(expected);
    }
  },
);

test.skipIf(ipsecMb === undefined)('the multi-buffer codec throws when it and OpenSSL disagree', () => {
  let wrong = false;
  const single: HashCodec = {
    ...nodeHash,
    digest: (bytes) => (wrong ? Buffer.alloc(32) : nodeHash.digest(bytes)),
  };
  const codec = loadIpsecMb(single)!;
  wrong = true;
  const messages = Array.from({ length: 16 }, (_, i) => noise(5000, i));
  expect(() => codec.digests(messages)).toThrow(
    /^libIPSec_MB\.so\.1 gives wrong digests: set IMGSTORE_CODECS=zlib to do without it$/,
  );
});

test('loadIpsecMb leaves the library alone when it does not give what OpenSSL gives', () => {
  expect(loadIpsecMb({ ...nodeHash, digest: () => Buffer.alloc(32) })).toBeUndefined();
});

test('loadIpsecMb gives nothing when koffi is missing', async () => {
  vi.doMock('node:module', () => ({
    createRequire: () => () => {
      throw new Error('no koffi');
    },
  }));
  onTestFinished(() => {
    vi.doUnmock('node:module');
    vi.resetModules();
  });
  vi.resetModules();
  const { loadIpsecMb: load } = await import('../../../objects/codec/hash-ipsec-mb.ts');
  expect(load(nodeHash)).toBeUndefined();
});

test('hashOnDemand loads the other codec once much has been hashed, and does without when there is none', () => {
  const digests = vi.fn((messages: readonly Uint8Array[]) => nodeHash.digests(messages));
  const other: HashCodec = { ...nodeHash, name: 'other', digests };
  const load = vi.fn(() => other);
  const codec = hashOnDemand(nodeHash, 16, load);
  const messages = [noise(2 ** 20, 1), noise(1000, 2)];
  const expected = hex(nodeHash.digests(messages));
  expect(codec.lanes).toBe(16);
  for (let mebibytes = 0; mebibytes <= 20; mebibytes++) {
    expect(hex(codec.digests(messages))).toEqual(expected);
    if (mebibytes < 15) expect(load).not.toHaveBeenCalled();
  }
  expect(load).toHaveBeenCalledTimes(1);
  expect(digests).toHaveBeenCalled();
  expect(codec.name).toBe('other');

  const without = hashOnDemand(nodeHash, 16, () => undefined);
  for (let mebibytes = 0; mebibytes <= 20; mebibytes++)
    expect(hex(without.digests(messages))).toEqual(expected);
  expect(without.name).toBe(nodeHash.name);
});
