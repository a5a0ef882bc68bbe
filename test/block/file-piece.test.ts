import { closeSync, openSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { type FilePiece, PieceReader, zeroPiece } from '../../block/index.ts';
import { noise, tempFolder } from '../qcow2/qemu.ts';

const file = tempFolder();

function opened(bytes: Uint8Array): { readonly fd: number; readonly path: string } {
  const path = file('pieces');
  writeFileSync(path, bytes);
  const fd = openSync(path, 'r');
  onTestFinished(() => closeSync(fd));
  return { fd, path };
}

test('PieceReader reads and skips parts of any length across pieces of any length', () => {
  const bytes = noise(5000, 1);
  const { fd, path } = opened(bytes);
  const lengths = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(lengths, fc.infiniteStream(fc.nat(500)), (sizes, parts) => {
      const pieces: FilePiece[] = sizes.map((length, i) =>
        i % 3 === 2 ? zeroPiece(length) : { fd, path, offset: (i * 613) % 4000, length },
      );
      const whole = Buffer.concat(
        pieces.map(({ fd: from, offset, length }) =>
          from === undefined ? Buffer.alloc(length) : bytes.subarray(offset, offset + length),
        ),
      );
      const reader = new PieceReader(pieces);
      for (let at = 0, turn = 0; at < whole.length; turn++) {
        const length = Math.min(whole.length - at, parts.next().value ?? 1);
        if (turn % 3 === 1) reader.skip(length);
        else {
          const into = Buffer.alloc(length, 0xee);
          reader.read(into);
          expect(into.equals(whole.subarray(at, at + length))).toBe(true);
        }
        at += length;
        if (turn > 1000) return;
      }
    }),
  );
});

test('PieceReader throws IN_USE when the file became shorter, and IO when it cannot be read', () => {
  const { fd, path } = opened(noise(100, 2));
  expect(() => new PieceReader([{ fd, path, offset: 50, length: 100 }]).read(Buffer.alloc(100))).toThrowError(
    expect.objectContaining({ code: 'IN_USE', message: expect.stringMatching(/pieces: became shorter/) }),
  );
  expect(() =>
    new PieceReader([{ fd: 9999, path, offset: 0, length: 1 }]).read(Buffer.alloc(1)),
  ).toThrowError(expect.objectContaining({ code: 'IO', message: expect.stringMatching(/pieces: .*EBADF/) }));
});
