import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RepeatableBody } from '../../../../remote/index.ts';
import { fileBody } from '../../../../store/remote/bucket/file-body.ts';
import { temporaryFolder } from '../../../block/temporary-folder.ts';
import { noise } from '../../../objects/noise.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

/** Bytes with their SHA-256 behind them, as packs and indexes end. */
const summed = (length: number) => {
  const bytes = noise(length, length);
  return Buffer.concat([bytes, sha256(bytes)]);
};

async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(), 'pack-x.pack');
  writeFileSync(path, bytes);
  return path;
}

async function piecesOf(body: RepeatableBody, pieceBytes?: number): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  for await (const piece of body.open(pieceBytes)) pieces.push(Buffer.from(piece));
  return pieces;
}

test('fileBody gives a file in pieces as long as is asked for, each time from its beginning', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 3000 }),
      fc.integer({ min: 1, max: 4000 }),
      async (length, pieceBytes) => {
        const bytes = summed(length);
        const body = fileBody(await fileOf(bytes), bytes.length);
        for (let attempt = 0; attempt < 2; attempt++) {
          const pieces = await piecesOf(body, pieceBytes);
          expect(Buffer.concat(pieces)).toEqual(bytes);
          expect(pieces.slice(0, -1).every((piece) => piece.length === pieceBytes)).toBe(true);
        }
        expect(await body.findSha256!()).toBe(sha256(bytes).toString('hex'));
      },
    ),
    { numRuns: 60 },
  );
});

test('fileBody holds the last piece of a file back when any byte of it is another', async () => {
  const good = summed(2000);
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: good.length - 1 }),
      fc.integer({ min: 1, max: 255 }),
      fc.integer({ min: 1, max: 2500 }),
      async (at, change, pieceBytes) => {
        const bad = Buffer.from(good);
        bad[at]! ^= change;
        const body = fileBody(await fileOf(bad), bad.length);
        let came = 0;
        const reading = (async () => {
          for await (const piece of body.open(pieceBytes)) came += piece.length;
        })();
        await expect(reading).rejects.toMatchObject({ code: 'DAMAGED' });
        expect(came).toBeLessThan(bad.length);
        await expect(body.findSha256!()).rejects.toThrow(
          "pack-x.pack: its checksum does not fit its bytes: run 'imgstore fsck' before it is sent anywhere",
        );
      },
    ),
    { numRuns: 60 },
  );
});

test('fileBody refuses a file that is shorter than was said', async () => {
  const bytes = summed(1000);
  const body = fileBody(await fileOf(bytes.subarray(0, 900)), bytes.length);
  await expect(piecesOf(body, 300)).rejects.toThrow(`it is shorter than ${bytes.length} bytes`);
});
