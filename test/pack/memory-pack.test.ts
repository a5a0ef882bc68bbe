import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryPack } from '../../pack/index.ts';
import { GitRepository } from '../objects/git.ts';
import { noise } from '../objects/noise.ts';
import { sampleObject, sampleObjects } from './pack-objects.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

test('MemoryPack makes a pack and an index that git accepts and reads', () => {
  const repository = GitRepository.create();
  const made = new MemoryPack(Buffer.alloc(8 * 2 ** 20, 0xee));
  const objects = sampleObjects();
  for (const object of objects) expect(made.add(object)).toBe(true);
  const { checksum, count, pack, idx, sha256: whole } = made.finish();
  expect(count).toBe(objects.length);
  expect(whole).toBe(sha256(pack));
  expect(checksum).toBe(sha256(pack.subarray(0, -32)));
  expect(checksum).toBe(pack.subarray(-32).toString('hex'));
  const stem = `${repository.packs}/pack-${checksum}`;
  writeFileSync(`${stem}.pack`, pack);
  writeFileSync(`${stem}.idx`, idx);
  repository.git(['index-pack', '--strict', '-o', `${repository.folder}/check.idx`, `${stem}.pack`]);
  repository.git(['verify-pack', `${stem}.idx`]);
  for (const { id, type, data } of objects) expect(repository.data(type, id).equals(data)).toBe(true);
  repository.fsck();
});

test('MemoryPack computes a CRC-32 that is not given', () => {
  const object = sampleObject('blob', noise(5000, 1));
  const [first, second] = [new MemoryPack(Buffer.alloc(8192)), new MemoryPack(Buffer.alloc(8192))];
  first.add(object);
  const { idx } = first.finish();
  const crc = idx.readUInt32BE(8 + 256 * 4 + 32);
  second.add({ ...object, crc });
  expect(second.finish().idx).toEqual(idx);
});

test('MemoryPack takes no object for which there is no room, and stays within its memory', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 100, max: 4000 }),
      fc.array(fc.nat({ max: 900 }), { maxLength: 12 }),
      (room, lengths) => {
        const around = Buffer.alloc(room + 64, 0xee);
        const made = new MemoryPack(around.subarray(32, 32 + room));
        const taken = lengths.filter((length, i) => made.add(sampleObject('blob', noise(length, i), 0)));
        expect(made.count).toBe(taken.length);
        const { pack } = made.finish();
        expect(pack.length).toBeLessThanOrEqual(room);
        expect(pack.readUInt32BE(8)).toBe(taken.length);
        for (const outside of [around.subarray(0, 32), around.subarray(32 + room)])
          expect(outside.every((byte) => byte === 0xee)).toBe(true);
      },
    ),
    { numRuns: 60 },
  );
});
