import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { Pack, readBlob } from '../../pack/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { failure } from '../objects/damage.ts';
import { noise } from '../objects/noise.ts';
import { craftPack, deltaEntry, wholeEntry } from './craft-pack.ts';
import { deltaOf } from './delta/encode-delta.ts';
import { versions, writeChains } from './delta-pack.ts';

function opened(stem: string): Pack {
  const pack = new Pack(stem);
  onTestFinished(() => pack.close());
  return pack;
}

test('readBlob reads whole blobs and those behind any number of deltas', async () => {
  const chains = [versions(21, 1), versions(3, 2), versions(1, 3, 300), versions(400, 4, 200)];
  const stem = await writeChains(await temporaryFolder(), chains);
  const all = chains.flat();
  const orders = fc.array(fc.nat(all.length - 1), { minLength: 1, maxLength: 600 });
  fc.assert(
    fc.property(orders, (rows) => {
      const pack = new Pack(stem);
      try {
        for (const row of rows) {
          const { id, data } = all[row]!;
          const into = Buffer.alloc(data.length, 0xee);
          // After some, the pack knows where entries end, and less is read.
          expect(readBlob(pack.entryAt(pack.idx.offset(pack.idx.find(id)!)), into)).toBe(true);
          expect(into.equals(data)).toBe(true);
        }
      } finally {
        pack.close();
      }
    }),
    { numRuns: 20, examples: [[all.map((_, row) => row)]] },
  );
});

test('Pack.entryAt says where an entry ends when many were asked for, and before that some byte behind it', async () => {
  const chain = versions(300, 1, 400);
  const pack = opened(await writeChains(await temporaryFolder(), [chain]));
  const offsets = chain.map(({ id }) => pack.idx.offset(pack.idx.find(id)!)).sort((a, b) => a - b);
  const ends = [...offsets.slice(1), pack.entriesEnd];
  expect(offsets.map((offset) => pack.entryAt(offset).entryEnd >= offset)).not.toContain(false);
  expect(offsets.map((offset) => pack.entryAt(offset).entryEnd)).toEqual(ends);
});

test('readBlob leaves to others what it cannot read: another size, another kind, a base that is named by its id', async () => {
  const base = noise(1000, 1);
  const made = Buffer.concat([base, Buffer.from('more')]);
  const [a, b, c] = ['aa', 'bb', 'cc'].map((byte) => byte.repeat(32)) as [string, string, string];
  const crafted = craftPack(await temporaryFolder(), [
    wholeEntry(a, 'blob', base),
    deltaEntry(b, a, deltaOf(base, [{ copy: 0, length: base.length }, { insert: Buffer.from('more') }])),
    wholeEntry(c, 'tree', base),
  ]);
  const pack = opened(crafted.stem);
  const [whole, delta, tree] = crafted.offsets.map((offset) => pack.entryAt(offset));
  expect(readBlob(whole!, Buffer.alloc(base.length))).toBe(true);
  expect(readBlob(whole!, Buffer.alloc(base.length + 1))).toBe(false);
  expect(readBlob(tree!, Buffer.alloc(base.length))).toBe(false);
  expect(readBlob(delta!, Buffer.alloc(made.length))).toBe(false);
});

test('readBlob throws DAMAGED for a pack that is damaged, or gives bytes whose id is another', async () => {
  const chain = versions(4, 1, 500);
  const stem = await writeChains(await temporaryFolder(), [chain]);
  const pack = opened(stem);
  const entries = chain.map(({ id }) => pack.entryAt(pack.idx.offset(pack.idx.find(id)!)));
  const whole = readFileSync(pack.path);
  const path = `${stem}.damaged`;
  let thrown = 0;
  for (let at = 12; at < pack.entriesEnd; at += 3) {
    const bytes = Buffer.from(whole);
    bytes[at]! ^= 1 << (at % 8);
    writeFileSync(path, bytes);
    const fd = openSync(path, 'r');
    for (const [i, entry] of entries.entries()) {
      const into = Buffer.alloc(chain[i]!.data.length);
      // A number of its own, so that no base is known.
      const error = failure(() => readBlob({ ...entry, pack: 1_000_000 + at, fd }, into));
      if (error === undefined) continue;
      expect(error).toMatchObject({ code: 'DAMAGED' });
      thrown++;
    }
    closeSync(fd);
  }
  expect(thrown).toBeGreaterThan(entries.length);
});
