import { truncateSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { objectId } from '../../objects/index.ts';
import { Pack } from '../../pack/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { damage, failure } from '../objects/damage.ts';
import { mixed } from '../objects/noise.ts';
import { type CraftedEntry, craftPack, deltaEntry, wholeEntry } from './craft-pack.ts';
import { deltaOf, varint } from './delta/encode-delta.ts';

const BASE = mixed(3000, 1);
const RESULT = Buffer.concat([BASE.subarray(100, 2000), Buffer.from('new')]);
const DELTA = deltaOf(BASE, [{ copy: 100, length: 1900 }, { insert: Buffer.from('new') }]);
const BASE_ID = objectId('blob', BASE);
const RESULT_ID = objectId('blob', RESULT);
const base = wholeEntry(BASE_ID, 'blob', BASE);
const baseLength = base.head.length + base.stream.length;

async function open(entries: readonly CraftedEntry[]) {
  const crafted = craftPack(await temporaryFolder(), entries);
  const pack = new Pack(crafted.stem);
  onTestFinished(() => pack.close());
  return { ...crafted, pack };
}

/** Expects that reading the n-th entry fails, naming pack and offset. */
async function expectDamage(entries: readonly CraftedEntry[], n: number, why: RegExp): Promise<void> {
  const { pack, stem, offsets } = await open(entries);
  const position = pack.idx.find(entries[n]!.id)!;
  const error = damage(() => pack.read(position));
  expect(error.message.startsWith(`${stem}.pack: entry at ${offsets[n]}: `)).toBe(true);
  expect(error.message).toMatch(why);
  // The header may be readable; if not, it says so the same way.
  const header = failure(() => pack.header(position));
  if (header !== undefined)
    expect(header).toMatchObject({
      code: 'DAMAGED',
      data: { where: `${stem}.pack: entry at ${offsets[n]}` },
    });
}

test.each([
  ['offset', baseLength],
  ['id', BASE_ID],
])('Pack.read applies a delta by %s', async (_, back) => {
  const { pack } = await open([base, deltaEntry(RESULT_ID, back, DELTA)]);
  const position = pack.idx.find(RESULT_ID)!;
  expect(pack.header(position)).toEqual({ type: 'blob', size: RESULT.length });
  expect(Buffer.compare(pack.read(position).data, RESULT)).toBe(0);
  const { type, base: whole, deltas } = pack.streams(position);
  expect([type, whole.entry, whole.size, deltas.length]).toEqual(['blob', 12, BASE.length, 1]);
  expect(deltas[0]).toMatchObject({ entry: 12 + baseLength, size: DELTA.length });
  expect(pack.depth(position)).toBe(1);
});

describe('Pack.read throws DAMAGED naming pack and offset', () => {
  const other = 'cd'.repeat(32);
  test('when a delta is its own base', async () => {
    await expectDamage([deltaEntry(RESULT_ID, RESULT_ID, DELTA)], 0, /never ends/);
    await expectDamage([deltaEntry(RESULT_ID, 0, DELTA)], 0, /never ends/);
  });

  test('when two deltas are the base of each other', async () => {
    const circle = [deltaEntry(RESULT_ID, other, DELTA), deltaEntry(other, RESULT_ID, DELTA)];
    await expectDamage(circle, 0, /never ends/);
    await expectDamage(circle, 1, /never ends/);
  });

  test('when the chain of deltas is deeper than git makes them', async () => {
    const identity = deltaOf(BASE, [{ copy: 0, length: BASE.length }]);
    const chain: CraftedEntry[] = [base];
    let back = baseLength;
    for (let depth = 1; depth <= 4096; depth++) {
      const id = depth === 4095 ? other : depth.toString(16).padStart(64, '0');
      const entry = deltaEntry(id, back, identity);
      chain.push(entry);
      back = entry.head.length + entry.stream.length;
    }
    await expectDamage(chain, 4096, /never ends/);
    // One less is right, as far as the chain goes; only its id is not that of the bytes.
    await expectDamage(chain, 4095, /hash to/);
  });

  test('when the base lies before the first entry', async () => {
    for (const back of [5, 12, 13, 100, 2 ** 40, Number.MAX_SAFE_INTEGER])
      await expectDamage([deltaEntry(RESULT_ID, back, DELTA)], 0, /outside of the pack/);
  });

  test('when the base is no beginning of an entry', async () => {
    await expectDamage([base, deltaEntry(RESULT_ID, baseLength - 7, DELTA)], 1, /./);
  });

  test('when the base is not in the pack', async () => {
    await expectDamage([base, deltaEntry(RESULT_ID, other, DELTA)], 1, /its base (cd)+ is not in the pack/);
  });

  test('when the delta is for a base of another size', async () => {
    const shorter = wholeEntry(BASE_ID, 'blob', BASE.subarray(1));
    await expectDamage([shorter, deltaEntry(RESULT_ID, BASE_ID, DELTA)], 1, /base of 3000 bytes, not 2999/);
  });

  test('when the delta is none', async () => {
    await expectDamage([base, deltaEntry(RESULT_ID, BASE_ID, Buffer.alloc(0))], 1, /cut short/);
    await expectDamage([base, deltaEntry(RESULT_ID, BASE_ID, DELTA.subarray(0, -1))], 1, /a delta/);
  });

  test('when the delta says that it makes gigabytes', async () => {
    const huge = Buffer.concat([varint(BASE.length), varint(2 ** 31), DELTA.subarray(4)]);
    await expectDamage([base, deltaEntry(RESULT_ID, BASE_ID, huge)], 1, /makes 2147483648/);
  });

  test.each([
    ['one byte too many', RESULT.length + 1],
    ['one byte too few', RESULT.length - 1],
    ['none', 0],
    ['a gigabyte', 2 ** 30],
    ['2 GiB', 2 ** 31],
    ['2^53 − 1', Number.MAX_SAFE_INTEGER],
  ])('when the size of a whole object is %s', async (_, size) => {
    await expectDamage([wholeEntry(RESULT_ID, 'blob', RESULT, size)], 0, /bytes/);
  });

  test('when the size of a delta is not that of its stream', async () => {
    for (const size of [DELTA.length + 1, DELTA.length - 1, 2 ** 30, 2 ** 40])
      await expectDamage([base, deltaEntry(RESULT_ID, BASE_ID, DELTA, size)], 1, /./);
  });

  test('when the bytes are those of another object', async () => {
    await expectDamage([wholeEntry(RESULT_ID, 'blob', BASE)], 0, /hash to/);
    await expectDamage([wholeEntry(RESULT_ID, 'tree', RESULT)], 0, /hash to/);
  });

  test('when the type is reserved', async () => {
    for (const type of [0, 5]) {
      const entry = wholeEntry(RESULT_ID, 'blob', RESULT);
      entry.head[0] = (entry.head[0]! & 0x8f) | (type << 4);
      await expectDamage([entry], 0, new RegExp(`type ${type}`));
    }
  });

  test('when the stream is cut off by the end of the pack', async () => {
    const entry = wholeEntry(RESULT_ID, 'blob', RESULT);
    for (const left of [0, 1, 10, entry.stream.length - 1])
      await expectDamage([{ ...entry, stream: entry.stream.subarray(0, left) }], 0, /./);
  });
});

/** Three entries of different kinds. */
const entries = [
  base,
  deltaEntry(RESULT_ID, baseLength, DELTA),
  wholeEntry(objectId('tree', Buffer.alloc(0)), 'tree', Buffer.alloc(0)),
];

test.each([0, 1, 2])(
  'Pack.read gives the object or DAMAGED when a byte of entry %i is changed',
  async (n) => {
    const { stem, pack: bytes, offsets } = craftPack(await temporaryFolder(), entries);
    const from = offsets[n]!;
    const to = offsets[n + 1] ?? bytes.length - 32;
    let refused = 0;
    fc.assert(
      fc.property(fc.integer({ min: from, max: to - 1 }), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const hostile = Buffer.from(bytes);
        hostile[at]! ^= flip;
        writeFileSync(`${stem}.pack`, hostile);
        const pack = new Pack(stem);
        try {
          for (const { id } of entries) {
            const position = pack.idx.find(id)!;
            const error = failure(() => {
              const object = pack.read(position);
              // What is handed out has the id that was asked for.
              expect(objectId(object.type, object.data)).toBe(id);
            });
            if (error === undefined) continue;
            refused++;
            expect(error).toMatchObject({
              code: 'DAMAGED',
              message: expect.stringContaining(`${stem}.pack: entry at `),
            });
          }
        } finally {
          pack.close();
        }
      }),
      { numRuns: 300 },
    );
    expect(refused).toBeGreaterThan(0);
  },
);

describe('Pack throws DAMAGED naming the pack when it is opened', () => {
  test('and is cut short anywhere', async () => {
    const { stem, pack } = craftPack(await temporaryFolder(), entries);
    for (let length = pack.length - 1; length >= 0; length -= length > 60 ? 41 : 1) {
      truncateSync(`${stem}.pack`, length);
      expect(damage(() => new Pack(stem)).message).toContain(`${stem}.pack: `);
    }
  });

  test.each([
    ['signature', 0],
    ['number of entries', 11],
    ['trailer', -32],
    ['last byte of the trailer', -1],
  ])('and its %s is changed', async (_, at) => {
    const { stem, pack } = craftPack(await temporaryFolder(), entries);
    pack[at < 0 ? pack.length + at : at]! ^= 1;
    writeFileSync(`${stem}.pack`, pack);
    expect(damage(() => new Pack(stem)).message.startsWith(`${stem}.pack: `)).toBe(true);
  });

  test('and its index is of another pack', async () => {
    const { stem } = craftPack(await temporaryFolder(), entries);
    const { idx } = craftPack(await temporaryFolder(), [...entries].reverse());
    writeFileSync(`${stem}.idx`, idx);
    expect(damage(() => new Pack(stem)).message).toContain('checksum');
  });
});

test('Pack throws DAMAGED naming the index when that is no index', async () => {
  const { stem, idx } = craftPack(await temporaryFolder(), entries);
  for (const bytes of [Buffer.alloc(0), idx.subarray(0, 1000), Buffer.alloc(2000)]) {
    writeFileSync(`${stem}.idx`, bytes);
    expect(damage(() => new Pack(stem)).message).toContain(`${stem}.idx: `);
  }
});

test('Idx.verify throws DAMAGED when the checksum of the index of a pack is changed', async () => {
  const { stem, idx } = craftPack(await temporaryFolder(), entries);
  idx[idx.length - 1]! ^= 1;
  writeFileSync(`${stem}.idx`, idx);
  const pack = new Pack(stem);
  onTestFinished(() => pack.close());
  expect(damage(() => pack.idx.verify()).message).toContain(`${stem}.idx: `);
});

test('Pack.read throws DAMAGED when the index points out of the pack', async () => {
  const { stem, pack: bytes, idx } = craftPack(await temporaryFolder(), entries);
  const offsetsAt = 8 + 1024 + entries.length * 36;
  for (const offset of [0, 11, bytes.length - 32, bytes.length, 2 ** 31 - 1]) {
    for (let row = 0; row < entries.length; row++) idx.writeUInt32BE(offset, offsetsAt + row * 4);
    writeFileSync(`${stem}.idx`, idx);
    const pack = new Pack(stem);
    expect(damage(() => pack.read(0)).message).toContain(`${stem}.pack: entry at ${offset}: `);
    expect(damage(() => pack.header(0)).message).toContain(`${stem}.pack: entry at ${offset}: `);
    expect(damage(() => pack.streams(0)).message).toContain(`${stem}.pack: entry at ${offset}: `);
    expect(damage(() => pack.depth(0)).message).toContain(`${stem}.pack: entry at ${offset}: `);
    expect(damage(() => pack.head(offset)).message).toContain(`${stem}.pack: entry at ${offset}: `);
    pack.close();
  }
});

test('Pack throws NOT_FOUND when the pack or the index is missing', async () => {
  const folder = await temporaryFolder();
  expect(failure(() => new Pack(`${folder}/pack-1`))).toMatchObject({ code: 'NOT_FOUND' });
  const { idx } = craftPack(folder, entries);
  writeFileSync(`${folder}/pack-2.idx`, idx);
  expect(failure(() => new Pack(`${folder}/pack-2`))).toMatchObject({ code: 'NOT_FOUND' });
});
