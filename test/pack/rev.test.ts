import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeRev, MemoryBytes, Rev } from '../../pack/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { damage, failure } from '../objects/damage.ts';
import { GitRepository } from '../objects/git.ts';
import { sampleObjects, writePack } from './pack-objects.ts';

const CHECKSUM = Buffer.alloc(32, 0x5c);
const open = (bytes: Uint8Array, count: number) =>
  new Rev(new MemoryBytes('pack-1.rev', bytes), count, CHECKSUM);

test('Rev reads every position that encodeRev wrote', () => {
  const anyPositions = fc.nat(50).chain((count) =>
    fc.shuffledSubarray(
      Array.from({ length: count }, (_, i) => i),
      { minLength: count },
    ),
  );
  fc.assert(
    fc.property(anyPositions, (positions) => {
      const rev = open(encodeRev(Uint32Array.from(positions), CHECKSUM), positions.length);
      expect(positions.map((_, i) => rev.position(i))).toEqual(positions);
    }),
  );
});

test('encodeRev writes the very bytes that git index-pack writes', async () => {
  const repository = GitRepository.create();
  const stem = await writePack(await temporaryFolder(), sampleObjects());
  const ours = readFileSync(`${stem}.rev`);
  repository.git(['index-pack', '--rev-index', `${stem}.pack`, '-o', `${stem}-git.idx`]);
  expect(existsSync(`${stem}-git.rev`)).toBe(true);
  expect(readFileSync(`${stem}-git.rev`).equals(ours)).toBe(true);
});

const REV = encodeRev(Uint32Array.of(1, 0, 2), CHECKSUM);

test('Rev throws DAMAGED naming the file when its length does not fit', () => {
  for (let length = 0; length < REV.length; length++)
    expect(damage(() => open(REV.subarray(0, length), 3)).message).toMatch(
      /^pack-1\.rev: reverse index is damaged/,
    );
  damage(() => open(Buffer.concat([REV, Buffer.alloc(4)]), 3));
  damage(() => open(REV, 2));
});

test('Rev throws DAMAGED when it is no reverse index or that of another pack', () => {
  for (const at of [0, 1, 2, 3, REV.length - 64, REV.length - 33]) {
    const bytes = Buffer.from(REV);
    bytes[at]! ^= 1;
    damage(() => open(bytes, 3));
  }
});

test('Rev throws UNSUPPORTED for another version or hash', () => {
  for (const at of [7, 11]) {
    const bytes = Buffer.from(REV);
    bytes[at]! ^= 3;
    expect(failure(() => open(bytes, 3))).toMatchObject({ code: 'UNSUPPORTED' });
  }
});

test('Rev.position throws DAMAGED when a row is no position', () => {
  const bytes = Buffer.from(REV);
  bytes.writeUInt32BE(3, 12);
  expect(damage(() => open(bytes, 3).position(0)).message).toContain('row 0 is 3 of 3');
});
