import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Idx, MemoryBytes, PackWriter } from '../../../pack/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { anyId } from '../../objects/arbitraries.ts';
import { damage, failure } from '../../objects/damage.ts';
import { GitRepository } from '../../objects/git.ts';
import { sampleObjects } from '../pack-objects.ts';
import { anyRows, idxOf, PACK_CHECKSUM, type Row, withChecksum } from './sample-idx.ts';

const open = (bytes: Uint8Array) => new Idx(new MemoryBytes('pack-1.idx', bytes));

test('Idx reads every row that encodeIdx wrote', () => {
  fc.assert(
    fc.property(anyRows, anyId, (rows, other) => {
      const idx = open(idxOf(rows));
      idx.verify();
      expect(idx.count).toBe(rows.length);
      expect(idx.packChecksum()).toEqual(PACK_CHECKSUM);
      for (const [position, row] of rows.entries()) {
        expect(idx.find(row.id)).toBe(position);
        expect({ id: idx.id(position), crc: idx.crc(position), offset: idx.offset(position) }).toEqual(row);
      }
      if (!rows.some(({ id }) => id === other)) expect(idx.find(other)).toBeUndefined();
    }),
  );
});

test('Idx.idsWithPrefix gives the ids that begin so, whatever the number of digits', () => {
  fc.assert(
    fc.property(anyRows, fc.nat(), fc.nat(64), anyId, (rows, pick, digits, other) => {
      const idx = open(idxOf(rows));
      const ids = rows.map(({ id }) => id);
      for (const prefix of [(ids[pick % ids.length] ?? other).slice(0, digits), other.slice(0, digits)])
        expect([...idx.idsWithPrefix(prefix)]).toEqual(ids.filter((id) => id.startsWith(prefix)));
    }),
  );
});

test('encodeIdx writes the very bytes that git index-pack writes', async () => {
  const repository = GitRepository.create();
  const folder = await temporaryFolder();
  const writer = await PackWriter.create(folder);
  for (const object of sampleObjects()) await writer.add(object);
  const stem = await (await writer.finish()).publish();
  repository.git(['index-pack', '--strict', '-o', `${folder}/git.idx`, `${stem}.pack`]);
  expect(readFileSync(`${stem}.idx`).equals(readFileSync(`${folder}/git.idx`))).toBe(true);
});

test('Idx reads offsets of 64 bits that git wrote', async () => {
  const repository = GitRepository.create();
  const folder = await temporaryFolder();
  const writer = await PackWriter.create(folder);
  const objects = sampleObjects();
  for (const object of objects) await writer.add(object);
  const stem = await (await writer.finish()).publish();
  // As if offsets from 100 on did not fit 31 bits.
  repository.git(['index-pack', '--index-version=2,100', '-o', `${folder}/git.idx`, `${stem}.pack`]);
  const ours = open(readFileSync(`${stem}.idx`));
  const large = open(readFileSync(`${folder}/git.idx`));
  large.verify();
  for (let position = 0; position < objects.length; position++)
    expect(large.offset(position)).toBe(ours.offset(position));
});

const ROWS: readonly Row[] = [
  { id: '00'.repeat(32), crc: 1, offset: 12 },
  { id: '7f'.repeat(32), crc: 2, offset: 2 ** 31 },
  { id: '80'.repeat(32), crc: 3, offset: 2 ** 40 },
  { id: 'ff'.repeat(32), crc: 4, offset: 99 },
];
const IDX = idxOf(ROWS);
const OFFSETS_AT = 8 + 1024 + 4 * 32 + 4 * 4;
const LARGE_AT = OFFSETS_AT + 4 * 4;

/** The index with some bytes replaced, and a checksum that fits them. */
function patched(at: number, ...bytes: readonly number[]): Buffer {
  const idx = Buffer.from(IDX);
  idx.set(bytes, at);
  return withChecksum(idx);
}

describe('Idx throws DAMAGED naming the file', () => {
  test.each([
    ['signature', 0, [0]],
    ['fan-out', 8 + 4 * 5, [0, 0, 0, 3]],
    ['number of objects, to more', 8 + 4 * 255, [0, 0, 0, 5]],
    ['number of objects, to 4 billion', 8 + 4 * 255, [255, 255, 255, 255]],
    ['number of objects, to less than the row before', 8 + 4 * 255, [0, 0, 0, 2]],
  ] as const)('when the %s is changed', (_, at, bytes) => {
    expect(damage(() => open(patched(at, ...bytes))).message).toMatch(/^pack-1\.idx: index is damaged: /);
  });

  test('when it is cut short or longer', () => {
    for (let length = 0; length < IDX.length; length++) {
      // Without one of its large offsets it is still a frame that fits.
      if (length === IDX.length - 8 || length === IDX.length - 16) continue;
      expect(damage(() => open(IDX.subarray(0, length))).message).toContain('pack-1.idx: ');
    }
    for (const more of [1, 4, 7, 24, 800]) damage(() => open(Buffer.concat([IDX, Buffer.alloc(more)])));
  });

  test('when an offset points to a row that is not there', () => {
    const idx = open(patched(OFFSETS_AT, 0x80, 0, 0, 2));
    expect(damage(() => idx.offset(0)).message).toContain('row 2 of 2');
    expect(damage(() => open(patched(OFFSETS_AT, 255, 255, 255, 255)).offset(0)).message).toContain(
      'pack-1.idx',
    );
  });

  test('when an offset passes 2^53', () => {
    for (const bytes of [[0, 0x20, 0, 0, 0, 0, 0, 0], Array<number>(8).fill(255)])
      expect(damage(() => open(patched(LARGE_AT, ...bytes)).offset(1)).message).toContain(
        'offset of object 1',
      );
  });
});

test.each([0, 1, 3])('Idx throws UNSUPPORTED for version %i', (version) => {
  expect(failure(() => open(patched(4, 0, 0, 0, version)))).toMatchObject({
    code: 'UNSUPPORTED',
    message: `pack-1.idx: is an index of version ${version}`,
  });
});

test('Idx.verify throws DAMAGED when any byte is changed', () => {
  fc.assert(
    fc.property(fc.nat(IDX.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const idx = Buffer.from(IDX);
      idx[at]! ^= flip;
      expect(failure(() => open(idx).verify())).toMatchObject({
        code: expect.stringMatching(/^(DAMAGED|UNSUPPORTED)$/),
      });
    }),
  );
});

test.each([
  ['out of order', 8 + 1024, Array<number>(32).fill(0x7f)],
  ['twice the same', 8 + 1024 + 32, Array<number>(32).fill(0)],
  ['out of its place in the fan-out', 8 + 1024 + 96, Array<number>(32).fill(0xfe)],
])('Idx.verify throws DAMAGED when ids are %s under a right checksum', (_, at, bytes) => {
  const idx = open(patched(at, ...bytes));
  expect(damage(() => idx.verify()).message).toContain('out of order');
});

test('Idx throws DAMAGED or gives answers within its tables for any bytes', () => {
  fc.assert(
    fc.property(fc.nat(IDX.length - 1), fc.nat(255), fc.nat(40), (at, value, less) => {
      const bytes = Buffer.from(IDX);
      bytes[at] = value;
      try {
        const idx = open(bytes.subarray(0, IDX.length - less));
        for (const { id } of ROWS) {
          const position = idx.find(id);
          if (position !== undefined) idx.offset(position);
          expect([...idx.idsWithPrefix(id.slice(0, 2))].length).toBeLessThanOrEqual(4);
        }
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^(DAMAGED|UNSUPPORTED)$/) });
      }
    }),
    { numRuns: 1000 },
  );
});
