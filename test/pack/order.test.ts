import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { type EntryHead, Pack, PackOrder, parseEntryHead } from '../../pack/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { GitRepository } from '../objects/git.ts';
import { versions, writeChains } from './delta-pack.ts';
import { sampleObjects, writePack } from './pack-objects.ts';

async function opened(stem: Promise<string>): Promise<Pack> {
  const pack = new Pack(await stem);
  onTestFinished(() => pack.close());
  return pack;
}

/** One row of `git verify-pack -v`. */
interface Row {
  readonly id: string;
  readonly length: number;
  readonly offset: number;
}

test('PackOrder gives the entries in the order and lengths that git verify-pack finds', async () => {
  const repository = GitRepository.create();
  const pack = await opened(writeChains(repository.packs, [versions(9, 1), versions(4, 2)]));
  const rows: Row[] = repository
    .git(['verify-pack', '-v', `${pack.stem}.idx`])
    .split('\n')
    .flatMap((line) => {
      const match = /^([0-9a-f]{64}) \w+ +[0-9]+ ([0-9]+) ([0-9]+)/.exec(line);
      return match === null ? [] : [{ id: match[1]!, length: Number(match[2]), offset: Number(match[3]) }];
    });
  rows.sort((a, b) => a.offset - b.offset);
  expect(rows).toHaveLength(13);
  const order = new PackOrder(pack);
  const found = [...order.positions].map((position, i) => {
    return { id: pack.idx.id(position), length: order.end(i) - order.offset(i), offset: order.offset(i) };
  });
  expect(found).toEqual(rows);
});

test('PackOrder has no gap between the entries, from the header to the trailer', async () => {
  const pack = await opened(writePack(await temporaryFolder(), sampleObjects()));
  const order = new PackOrder(pack);
  const count = order.positions.length;
  expect(order.offset(0)).toBe(12);
  for (let i = 1; i < count; i++) expect(order.offset(i)).toBe(order.end(i - 1));
  expect(order.end(count - 1)).toBe(pack.entriesEnd);
});

test('PackOrder.at finds the entry that begins at a byte, and no other', async () => {
  const pack = await opened(writePack(await temporaryFolder(), sampleObjects()));
  const order = new PackOrder(pack);
  const begins = new Map([...order.positions].map((_, i) => [order.offset(i), i]));
  for (const [offset, i] of begins) {
    expect(order.at(offset)).toBe(i);
    for (const beside of [offset - 1, offset + 1]) expect(order.at(beside)).toBe(begins.get(beside));
  }
  fc.assert(
    fc.property(fc.integer({ min: -1, max: pack.entriesEnd + 100 }), (offset) => {
      expect(order.at(offset)).toBe(begins.get(offset));
    }),
  );
  for (const offset of [0, pack.entriesEnd, 2 ** 40]) expect(order.at(offset)).toBeUndefined();
});

test('PackOrder is empty when the pack is', async () => {
  const order = new PackOrder(await opened(writePack(await temporaryFolder(), [])));
  expect(order.positions).toHaveLength(0);
  expect(order.at(12)).toBeUndefined();
});

/** Offsets beyond 4 GiB are too large for a test's pack; the order needs only what an index and a length say. */
test('PackOrder keeps offsets beyond 4 GiB apart', () => {
  const offsets = [2 ** 33 + 5, 12, 2 ** 32, 2 ** 32 - 1, 2 ** 40];
  const idx = { count: offsets.length, offset: (position: number) => offsets[position]! };
  const order = new PackOrder({ idx, entriesEnd: 2 ** 41 } as Pack);
  expect([...order.positions]).toEqual([1, 3, 2, 0, 4]);
  expect(order.end(0)).toBe(2 ** 32 - 1);
  expect(order.end(4)).toBe(2 ** 41);
  expect(offsets.map((offset) => order.at(offset))).toEqual([3, 0, 2, 1, 4]);
});

test('Pack.head gives the head of each entry of the order', async () => {
  const pack = await opened(writeChains(await temporaryFolder(), [versions(6, 1)]));
  const order = new PackOrder(pack);
  const heads: EntryHead[] = [...order.positions].map((_, i) => {
    const head = Buffer.alloc(Math.min(42, order.end(i) - order.offset(i)));
    pack.readInto(head, order.offset(i));
    return parseEntryHead(head);
  });
  for (const [i, head] of heads.entries()) {
    expect(pack.head(order.offset(i))).toMatchObject(head);
    if (i > 0) expect(order.offset(i) - head.distance!).toBe(order.offset(i - 1));
  }
});
