import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { objectId } from '../../objects/index.ts';
import { Pack, parseEntryHead, readStreams } from '../../pack/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { damage } from '../objects/damage.ts';
import { noise } from '../objects/noise.ts';
import { craftPack, deltaEntry, wholeEntry } from './craft-pack.ts';
import { deltaOf } from './delta/encode-delta.ts';
import { type ChainLink, versions, writeChains } from './delta-pack.ts';

/** A chain of every depth from 0 to 20. */
const CHAIN = versions(21, 1);

function opened(stem: string): Pack {
  const pack = new Pack(stem);
  onTestFinished(() => pack.close());
  return pack;
}

function expectRight(pack: Pack, { id, data, depth }: ChainLink): void {
  const position = pack.idx.find(id)!;
  expect(pack.depth(position)).toBe(depth);
  expect(pack.header(position)).toEqual({ type: 'blob', size: data.length });
  const object = readStreams(pack.streams(position));
  expect(object.type).toBe('blob');
  expect(Buffer.compare(object.data, data)).toBe(0);
  expect(Buffer.compare(pack.read(position).data, data)).toBe(0);
}

test.each(CHAIN)('readStreams reads the object behind $depth deltas when no base is known', async (link) => {
  expectRight(opened(await writeChains(await temporaryFolder(), [CHAIN])), link);
});

test('readStreams reads chains right in any order, when bases are known or are not', async () => {
  const chains = [CHAIN, versions(21, 2), versions(5, 3), versions(1, 4)];
  const stem = await writeChains(await temporaryFolder(), chains);
  const all = chains.flat();
  const order = fc.array(fc.nat(all.length - 1), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(order, (rows) => {
      // Opened anew, so that no base is known at the beginning.
      const pack = new Pack(stem);
      try {
        for (const row of rows) expectRight(pack, all[row]!);
      } finally {
        pack.close();
      }
    }),
    { numRuns: 30, examples: [[all.map((_, row) => row)], [all.map((_, row) => row).reverse()]] },
  );
});

test('readStreams gives bytes whose change does not reach what is read later', async () => {
  const pack = opened(await writeChains(await temporaryFolder(), [CHAIN]));
  for (const links of [CHAIN, [...CHAIN].reverse(), CHAIN]) {
    for (const { id, data } of links) {
      const object = pack.read(pack.idx.find(id)!);
      expect(Buffer.compare(object.data, data)).toBe(0);
      object.data.fill(0xee);
    }
  }
});

test('Pack.streams is plain data that says where each step of a chain lies', async () => {
  const stem = await writeChains(await temporaryFolder(), [CHAIN]);
  const pack = opened(stem);
  const offsets = CHAIN.map(({ id }) => pack.idx.offset(pack.idx.find(id)!));
  const bytes = readFileSync(pack.path);
  for (const { id, depth } of CHAIN) {
    const streams = pack.streams(pack.idx.find(id)!);
    expect(structuredClone(streams)).toEqual(streams);
    const steps = [streams.base, ...streams.deltas];
    expect(steps.map(({ entry }) => entry)).toEqual(offsets.slice(0, depth + 1));
    for (const { entry, offset, length, size } of steps) {
      const head = parseEntryHead(bytes.subarray(entry));
      expect({ offset, size }).toEqual({ offset: entry + head.length, size: head.size });
      expect(pack.head(entry)).toMatchObject(head);
      expect(offset + length).toBeLessThanOrEqual(pack.entriesEnd);
    }
  }
});

test('readStreams does not take the base of a closed pack for that of another with its descriptor', async () => {
  const folder = await temporaryFolder();
  let descriptor: number | undefined;
  for (let seed = 1; seed <= 5; seed++) {
    // The same offsets and lengths in each pack, only other bytes.
    const base = noise(3000, seed);
    const whole = wholeEntry(objectId('blob', base), 'blob', base);
    const back = whole.head.length + whole.stream.length;
    const result = Buffer.concat([base, Buffer.of(seed)]);
    const delta = deltaOf(base, [{ copy: 0, length: base.length }, { insert: Buffer.of(seed) }]);
    const { stem } = craftPack(
      folder,
      [whole, deltaEntry(objectId('blob', result), back, delta)],
      `pack-0${seed}`,
    );
    const pack = new Pack(stem);
    const streams = pack.streams(pack.idx.find(objectId('blob', result))!);
    descriptor ??= streams.fd;
    expect(streams.fd).toBe(descriptor);
    expect(Buffer.compare(readStreams(streams).data, result)).toBe(0);
    expect(Buffer.compare(readStreams(streams).data, result)).toBe(0);
    pack.close();
  }
});

test('Pack numbers every pack anew, also one that is opened again', async () => {
  const stem = await writeChains(await temporaryFolder(), [CHAIN]);
  const numbers = Array.from({ length: 4 }, () => opened(stem).streams(0).pack);
  expect(new Set(numbers).size).toBe(4);
});

test('readStreams reads chains right when their bases are more than are kept', async () => {
  // 20 bases of 2 MiB in each of two chains: more than twice the 32 MiB that a thread keeps.
  const chains = [versions(20, 5, 2 ** 21), versions(20, 6, 2 ** 21)];
  const pack = opened(await writeChains(await temporaryFolder(), chains));
  for (const depth of [19, 0, 10, 18, 1, 19]) for (const chain of chains) expectRight(pack, chain[depth]!);
});

test('readStreams reads a chain whose bases are larger than all that is kept', async () => {
  const large = noise(33 * 2 ** 20, 7);
  const data = [1, 2, 3].map((end) => Buffer.concat([large, Buffer.alloc(end, end)]));
  const ids = data.map((each) => objectId('blob', each));
  const third = large.length / 3;
  const append = (base: Buffer, next: Buffer) =>
    deltaOf(base, [
      ...[0, third, 2 * third].map((from) => ({ copy: from, length: third })),
      { insert: next.subarray(large.length) },
    ]);
  const { stem } = craftPack(await temporaryFolder(), [
    wholeEntry(ids[0]!, 'blob', data[0]!),
    deltaEntry(ids[1]!, ids[0]!, append(data[0]!, data[1]!)),
    deltaEntry(ids[2]!, ids[1]!, append(data[1]!, data[2]!)),
  ]);
  const pack = opened(stem);
  for (const depth of [2, 0, 1, 2]) expectRight(pack, { id: ids[depth]!, data: data[depth]!, depth });
});

test('Pack.read throws DAMAGED for what lies behind a damaged step, and reads what lies before it', async () => {
  const stem = await writeChains(await temporaryFolder(), [CHAIN]);
  const whole = new Pack(stem);
  const broken = whole.streams(whole.idx.find(CHAIN[10]!.id)!).deltas.at(-1)!;
  whole.close();
  const bytes = readFileSync(`${stem}.pack`);
  bytes[broken.offset + 5]! ^= 0xff;
  const other = `${stem}0`;
  writeFileSync(`${other}.pack`, bytes);
  writeFileSync(`${other}.idx`, readFileSync(`${stem}.idx`));
  const pack = opened(other);
  for (const { id, data, depth } of [...CHAIN, ...[...CHAIN].reverse()]) {
    const position = pack.idx.find(id)!;
    if (depth < 10) expect(Buffer.compare(pack.read(position).data, data)).toBe(0);
    else
      expect(damage(() => pack.read(position)).message).toContain(`entry at ${pack.idx.offset(position)}: `);
  }
});

test('readStreams throws the error of the system when the descriptor is closed', async () => {
  const stem = await writeChains(await temporaryFolder(), [CHAIN]);
  const pack = new Pack(stem);
  const streams = pack.streams(pack.idx.find(CHAIN[3]!.id)!);
  pack.close();
  const spare = openSync(`${stem}.pack`, 'r');
  closeSync(spare);
  expect(() => readStreams(streams)).toThrow(expect.objectContaining({ code: 'EBADF' }) as Error);
});

test('Pack.readInto gives the bytes of the file and throws DAMAGED outside of it', async () => {
  const pack = opened(await writeChains(await temporaryFolder(), [CHAIN]));
  const bytes = readFileSync(pack.path);
  expect(pack.entriesEnd).toBe(bytes.length - 32);
  for (const [from, to] of [
    [0, 12],
    [12, 100],
    [100, bytes.length],
    [5, 5],
  ] as const) {
    const into = Buffer.alloc(to - from);
    pack.readInto(into, from);
    expect(into.equals(bytes.subarray(from, to))).toBe(true);
  }
  damage(() => pack.readInto(Buffer.alloc(2), bytes.length - 1));
  damage(() => pack.readInto(Buffer.alloc(1), -1));
});
