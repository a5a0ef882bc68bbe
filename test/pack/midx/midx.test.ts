import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Midx } from '../../../pack/index.ts';
import { anyId } from '../../objects/arbitraries.ts';
import { damage, failure } from '../../objects/damage.ts';
import { anyRows, withChecksum } from '../idx/sample-idx.ts';
import { midxOf, openMidx, type SamplePack } from './sample-midx.ts';

const anyPacks: fc.Arbitrary<SamplePack[]> = fc
  .uniqueArray(
    fc.record({
      name: fc.stringMatching(/^pack-[0-9a-f]{1,6}\.idx$/),
      mtime: fc.integer({ min: 1, max: 3 }),
      rows: anyRows,
    }),
    { selector: ({ name }) => name, minLength: 1, maxLength: 6 },
  )
  // Every pack but the first shares some objects with the one before.
  .map((packs) => packs.map((pack, i) => ({ ...pack, rows: shared(pack.rows, packs[i - 1]?.rows ?? []) })));

function shared(rows: SamplePack['rows'], others: SamplePack['rows']): SamplePack['rows'] {
  const ids = new Set(rows.map(({ id }) => id));
  const taken = others.filter(({ id }, i) => i % 2 === 0 && !ids.has(id));
  const moved = taken.map((row) => ({ ...row, offset: row.offset === 0 ? 1 : row.offset - 1 }));
  return [...rows, ...moved].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Where each object is to be: in the newest pack, and of those of one age in the first by name. */
function model(packs: readonly SamplePack[]): Map<string, { pack: string; offset: number }> {
  const places = new Map<string, { pack: string; offset: number }>();
  const preferred = packs.toSorted((a, b) => b.mtime - a.mtime || (a.name < b.name ? -1 : 1));
  for (const { name, rows } of preferred)
    for (const { id, offset } of rows) if (!places.has(id)) places.set(id, { pack: name, offset });
  return places;
}

test('Midx finds every object that encodeMidx wrote, in the newest of its packs', () => {
  fc.assert(
    fc.property(anyPacks, anyId, (packs, other) => {
      const midx = openMidx(midxOf(packs));
      const places = model(packs);
      midx.verify();
      expect(midx.packs).toEqual(packs.map(({ name }) => name).sort());
      expect(midx.count).toBe(places.size);
      for (const [id, place] of places) expect(midx.find(id)).toEqual(place);
      if (!places.has(other)) expect(midx.find(other)).toBeUndefined();
      const ids = [...places.keys()].sort();
      for (const prefix of ['', other.slice(0, 1), (ids[0] ?? other).slice(0, 3)])
        expect([...midx.idsWithPrefix(prefix)]).toEqual(ids.filter((id) => id.startsWith(prefix)));
    }),
  );
});

const row = (byte: string, offset: number) => ({ id: byte.repeat(32), crc: 0, offset });
const PACKS: readonly SamplePack[] = [
  { name: 'pack-01.idx', mtime: 1, rows: [row('00', 12), row('7f', 2 ** 31), row('ff', 77)] },
  { name: 'pack-02.idx', mtime: 2, rows: [row('7f', 99), row('80', 2 ** 40)] },
];
const MIDX = midxOf(PACKS);
const chunk = (name: string) => {
  const at = MIDX.indexOf(name);
  return { row: at, at: Number(MIDX.readBigUInt64BE(at + 4)) };
};
const END_ROW = 12 + 5 * 12;

test.each([
  [2 ** 31 - 1, false],
  [2 ** 31, false],
  [2 ** 32 - 1, false],
  [2 ** 32, true],
])('encodeMidx for an offset of %d writes large offsets: %s', (offset, large) => {
  const packs = [
    { name: 'pack-01.idx', mtime: 1, rows: [row('00', 12), row('11', 2 ** 31 + 5), row('ff', offset)] },
  ];
  const bytes = midxOf(packs);
  expect(bytes.includes('LOFF')).toBe(large);
  // Then all of 2 GiB and more are among them.
  if (large) expect(bytes.readBigUInt64BE(bytes.length - 32 - 16)).toBe(2n ** 31n + 5n);
  const midx = openMidx(bytes);
  for (const { id, offset: expected } of packs[0]!.rows) expect(midx.find(id)?.offset).toBe(expected);
});

/** The multi-pack-index with some bytes replaced, and a checksum that fits them. */
function patched(at: number, ...bytes: readonly number[]): Buffer {
  const midx = Buffer.from(MIDX);
  midx.set(bytes, at);
  return withChecksum(midx);
}

describe('Midx throws DAMAGED naming file and field', () => {
  const ascii = (text: string) => [...Buffer.from(text)];
  test.each<[string, number, number[], RegExp]>([
    ['signature', 0, [0], /does not begin with MIDX/],
    ['number of chunks, to less', 6, [4], /chunks end at/],
    ['number of chunks, to more', 6, [6], /chunk 0 begins within the table/],
    ['number of packs, to less', 11, [1], /PNAM goes on behind name 1/],
    ['number of packs, to more', 11, [3], /PNAM (goes on|ends within)|name 2/],
    ['number of packs, to none', 11, [0], /PNAM/],
    ['name of chunk PNAM', chunk('PNAM').row, ascii('QNAM'), /has no chunk PNAM/],
    ['name of chunk OIDF', chunk('OIDF').row, ascii('QIDF'), /has no chunk OIDF/],
    ['name of chunk OIDL', chunk('OIDL').row, ascii('QIDL'), /has no chunk OIDL/],
    ['name of chunk OOFF', chunk('OOFF').row, ascii('QOFF'), /has no chunk OOFF/],
    ['name of a chunk, to that of another', chunk('OIDF').row, ascii('PNAM'), /the name of another/],
    ['name of a chunk, to none', chunk('OIDF').row, [0, 0, 0, 0], /chunk 1 has no name/],
    ['name of the last row', END_ROW, ascii('MORE'), /last row .* has a name/],
    ['place of PNAM, to the header', chunk('PNAM').row + 11, [4], /chunk 0 begins within/],
    ['place of OIDF, to none of 4', chunk('OIDF').row + 11, [chunk('OIDF').at + 1], /no multiple of 4|PNAM/],
    ['place of OIDF, to less', chunk('OIDF').row + 11, [chunk('OIDF').at - 4], /PNAM|OIDF/],
    ['place of OIDL, to less', chunk('OIDL').row + 10, [0, 0], /chunk 1 goes from/],
    ['place of OOFF, to beyond 2^53', chunk('OOFF').row + 4, [255], /chunk 2 goes from/],
    [
      'place of LOFF, to more',
      chunk('LOFF').row + 11,
      [(chunk('LOFF').at + 8) & 255],
      /OOFF has 40 bytes, not 32/,
    ],
    ['place of the end', END_ROW + 11, [0], /chunks end at/],
    [
      'name of a pack, to one with a slash',
      chunk('PNAM').at + 4,
      ascii('/'),
      /name 0 of its packs is "pack\/01/,
    ],
    ['name of a pack, to one above', chunk('PNAM').at, ascii('../..'), /name 0 of its packs/],
    ['name of a pack, to another ending', chunk('PNAM').at + 8, ascii('xdi'), /name 0 of its packs/],
    [
      'name of a pack, to that of the next',
      chunk('PNAM').at + 6,
      ascii('2'),
      /names of its packs do not ascend/,
    ],
    ['name of a pack, to a longer one', chunk('PNAM').at + 11, ascii('x'), /PNAM/],
    ['fan-out', chunk('OIDF').at + 4 * 5, [0, 0, 0, 3], /fan-out falls at byte/],
    ['number of objects', chunk('OIDF').at + 4 * 255, [0, 0, 0, 5], /OIDL has 128 bytes, not 160/],
    [
      'number of objects, to 4 billion',
      chunk('OIDF').at + 4 * 255,
      [255, 255, 255, 255],
      /OIDL has 128 bytes/,
    ],
  ])('when the %s is changed', (_, at, bytes, message) => {
    const { message: text } = damage(() => openMidx(patched(at, ...bytes)));
    expect(text).toMatch(/^multi-pack-index: multi-pack-index is damaged: /);
    expect(text).toMatch(message);
  });

  const OFFSET_OF_80 = chunk('OOFF').at + 2 * 8 + 4;
  test.each<[string, number, number[], RegExp]>([
    ['pack', chunk('OOFF').at + 2 * 8, [0, 0, 0, 2], /object 2 is in pack 2 of 2/],
    ['row of large offsets', OFFSET_OF_80, [0x80, 0, 0, 1], /offset of object 2 points to row 1 of 1/],
    ['large offset', chunk('LOFF').at, [255], /offset of object 2 is 1837/],
  ])('when the %s of an object is changed', (_, at, bytes, message) => {
    const midx = openMidx(patched(at, ...bytes));
    expect(damage(() => midx.find('80'.repeat(32))).message).toMatch(message);
    expect(damage(() => midx.verify()).message).toMatch(message);
    expect(midx.find('00'.repeat(32))).toEqual({ pack: 'pack-01.idx', offset: 12 });
  });

  test('when large offsets are no multiple of 8 bytes', () => {
    const cut = Buffer.concat([MIDX.subarray(0, -36), MIDX.subarray(-32)]);
    cut.writeBigUInt64BE(BigInt(cut.length - 32), END_ROW + 4);
    expect(damage(() => openMidx(cut)).message).toContain('chunk LOFF of 4 bytes does not fit 4 objects');
  });

  test('when it is cut short anywhere', () => {
    for (let length = 0; length < MIDX.length; length++)
      expect(damage(() => openMidx(MIDX.subarray(0, length))).message).toMatch(/^multi-pack-index: /);
  });
});

test.each([
  ['version', 4, 2, 'is a multi-pack-index of version 2'],
  ['hash function', 5, 1, 'is a multi-pack-index for hash function 1, not SHA-256 (2)'],
  ['number of base indexes', 7, 1, 'builds on 1 other multi-pack-indexes'],
  ['number of packs, to 16 million', 8, 1, 'names 16777218 packs'],
])('Midx throws UNSUPPORTED when the %s is another', (_, at, byte, reason) => {
  expect(failure(() => openMidx(patched(at, byte)))).toMatchObject({
    code: 'UNSUPPORTED',
    message: `multi-pack-index: ${reason}`,
  });
});

test('Midx.verify throws DAMAGED when any byte is changed that the opening does not look at', () => {
  for (let at = 0; at < MIDX.length; at++) {
    const bytes = Buffer.from(MIDX);
    bytes[at]! ^= 1;
    expect(
      failure(() => openMidx(bytes).verify()),
      `byte ${at}`,
    ).toMatchObject({
      code: expect.stringMatching(/^(DAMAGED|UNSUPPORTED)$/),
    });
  }
});

test('Midx.verify throws DAMAGED when ids are out of order under a fitting checksum', () => {
  const { at } = chunk('OIDL');
  expect(damage(() => openMidx(patched(at + 32, 0x80)).verify()).message).toContain('out of order');
});

test('Midx opens or throws DAMAGED or UNSUPPORTED when bytes are changed by chance', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(MIDX.length - 1), fc.nat(255)), { maxLength: 6 }), (changes) => {
      const bytes = Buffer.from(MIDX);
      for (const [at, byte] of changes) bytes[at] = byte;
      const error = failure(() => {
        const midx: Midx = openMidx(withChecksum(bytes));
        for (const { rows } of PACKS) for (const { id } of rows) midx.find(id);
        midx.verify();
      });
      if (error !== undefined)
        expect(error).toMatchObject({ code: expect.stringMatching(/^(DAMAGED|UNSUPPORTED)$/) });
    }),
    { numRuns: 2000 },
  );
});
