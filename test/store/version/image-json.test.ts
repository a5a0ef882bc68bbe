import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { clusterCount, mapLevels } from '../../../objects/index.ts';
import {
  encodeImageRecord,
  type ImageRecord,
  isClusterSize,
  isEntryName,
  parseImageRecord,
} from '../../../store/version/image-json.ts';

const CLUSTER_SIZES = Array.from({ length: 10 }, (_, i) => 4096 << i);

const names = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/).filter(isEntryName);
const facts = fc.dictionary(
  fc.string().filter((key) => key !== '__proto__'),
  fc.oneof(fc.string(), fc.integer(), fc.boolean()),
  { maxKeys: 4 },
);
const records: fc.Arbitrary<ImageRecord> = fc
  .tuple(
    fc.constantFrom(...CLUSTER_SIZES),
    fc.dictionary(names, fc.tuple(fc.maxSafeNat(), facts), { minKeys: 1, maxKeys: 4, noNullPrototype: true }),
  )
  .map(([clusterSize, disks]) => ({
    version: 1,
    clusterSize,
    disks: Object.fromEntries(
      Object.entries(disks).map(([name, [virtualSize, source]]) => [
        name,
        { virtualSize, levels: mapLevels(clusterCount(virtualSize, clusterSize)), source: { ...source } },
      ]),
    ),
  }));

test('parseImageRecord reads back every record that encodeImageRecord writes', () => {
  fc.assert(
    fc.property(records, (record) => {
      const data = encodeImageRecord(record);
      expect(parseImageRecord(data)).toEqual(record);
      expect(encodeImageRecord(parseImageRecord(data)).equals(data)).toBe(true);
    }),
  );
});

test('encodeImageRecord writes the keys in one order, whatever order it is given', () => {
  const disks = { vda: { source: { format: 'raw' }, levels: 1, virtualSize: 5 } };
  expect(encodeImageRecord({ disks, clusterSize: 65536, version: 1 }).toString()).toBe(`{
  "version": 1,
  "clusterSize": 65536,
  "disks": {
    "vda": {
      "virtualSize": 5,
      "levels": 1,
      "source": {
        "format": "raw"
      }
    }
  }
}
`);
});

const GOOD = {
  version: 1,
  clusterSize: 65536,
  disks: { vda: { virtualSize: 2 ** 30, levels: 2, source: { format: 'qcow2' } } },
};
const parse = (json: unknown) => parseImageRecord(Buffer.from(JSON.stringify(json)));
const disk = (change: Record<string, unknown>) => ({
  ...GOOD,
  disks: { vda: { ...GOOD.disks.vda, ...change } },
});

test('parseImageRecord leaves keys that it does not know, and facts that are no plain values, out', () => {
  const more = { ...disk({ more: 1, source: { format: 'raw', list: [1], none: null } }), extra: {} };
  expect(parse(more)).toEqual(disk({ source: { format: 'raw' } }));
  expect(parse(disk({ source: undefined }))).toEqual(disk({ source: {} }));
});

test('parseImageRecord throws UNSUPPORTED for a newer version', () => {
  expect(() => parse({ version: 2 })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
});

const WRONG = [undefined, null, '1', [], {}, true, -1, 0.5, 1e300] as const;

describe.each(['version', 'clusterSize', 'disks'])('with a wrong %s', (key) => {
  test.each(WRONG.filter((value) => !(key === 'disks' && JSON.stringify(value) === '{}')))(
    `parseImageRecord throws naming it: %j`,
    (value) => {
      const newer = key === 'version' && typeof value === 'number' && value > 1;
      expect(() => parse({ ...GOOD, [key]: value })).toThrow(
        expect.objectContaining({
          code: newer ? 'UNSUPPORTED' : 'DAMAGED',
          message: expect.stringContaining(key),
        }),
      );
    },
  );
});

test.each([
  0,
  1,
  512,
  2048,
  4097,
  65537,
  4096.5,
  4096.000000000001,
  65536.25,
  4 * 2 ** 20,
  2 ** 32 + 4096,
  2 ** 53,
])('parseImageRecord throws DAMAGED for clusters of %d bytes', (clusterSize) => {
  expect(isClusterSize(clusterSize)).toBe(false);
  expect(() => parse({ ...GOOD, clusterSize })).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
});

test('isClusterSize takes the powers of two from 4 KiB to 2 MiB', () => {
  expect(CLUSTER_SIZES.every(isClusterSize)).toBe(true);
  expect(isClusterSize(Number.NaN)).toBe(false);
});

describe.each(['virtualSize', 'levels'])('with a wrong %s of a disk', (key) => {
  test.each([...WRONG, 0, 3, 2 ** 53])('parseImageRecord throws DAMAGED naming it: %j', (value) => {
    // A size of 0 is one that a disk can have; it is the levels then that do not fit.
    expect(() => parse(disk({ [key]: value }))).toThrow(
      expect.objectContaining({ code: 'DAMAGED', message: expect.stringContaining('disks.vda.') }),
    );
  });
});

test.each(['source', 'x'])('parseImageRecord throws DAMAGED for a disk whose %s is a list', (key) => {
  const json = key === 'source' ? disk({ source: [] }) : { ...GOOD, disks: { x: [] } };
  expect(() => parse(json)).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
});

test.each([
  '',
  '.',
  '..',
  'a/b',
  '../../etc',
  '-x',
  '.x',
  'a b',
  'a\0',
  'ü',
  'x.lock',
  'a'.repeat(65),
  '__proto__',
])('parseImageRecord throws DAMAGED for a disk that is named %j', (name) => {
  expect(isEntryName(name)).toBe(false);
  const json = `{"version":1,"clusterSize":65536,"disks":{${JSON.stringify(name)}:{"virtualSize":0,"levels":1}}}`;
  expect(() => parseImageRecord(Buffer.from(json))).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
});

test('parseImageRecord takes names that objects have by themselves', () => {
  const json = { ...GOOD, disks: { constructor: GOOD.disks.vda, toString: GOOD.disks.vda } };
  expect(Object.keys(parse(json).disks)).toEqual(['constructor', 'toString']);
});

test.each(['', '{', 'null', '[]', '"x"', '{"version":1', '\u0000', '['.repeat(100_000)])(
  'parseImageRecord throws DAMAGED for text that is no object',
  (text) => {
    expect(() => parseImageRecord(Buffer.from(text))).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
  },
);
