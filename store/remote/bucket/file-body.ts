import { createHash } from 'node:crypto';
import { type FileHandle, open as openFile } from 'node:fs/promises';
import { ImgstoreError } from '../../../errors/index.ts';
import { ID_BYTES } from '../../../objects/index.ts';
import type { RepeatableBody } from '../../../remote/index.ts';

/** Pieces that are read where nobody has asked for others. */
const PIECE_BYTES = 256 * 1024;

/**
 * A pack or an index as the body of a request. It is read once where it goes in parts, each of which has a hash of its own: read twice, 280 MB cost 0.5 s of processor time. Where it goes in one request it is read for
 * its hash first, and then not checked again, as the server checks what arrives.
 * @param size in bytes
 * @returns a body that throws `DAMAGED` before the last piece is given, or the hash, when the file's last 32 bytes are not the SHA-256 of what is before, as packs and indexes have it
 */
export function fileBody(path: string, size: number): RepeatableBody {
  let isChecked = false;
  const findSha256 = async () => {
    const summed = new Summed(path, size);
    for await (const piece of pieces(path, size, PIECE_BYTES)) summed.add(piece);
    isChecked = true;
    return summed.sha256().toString('hex');
  };
  const open = (pieceBytes = PIECE_BYTES) => {
    const all = pieces(path, size, pieceBytes);
    return isChecked ? all : checked(all, new Summed(path, size));
  };
  return { size, open, findSha256 };
}

/** A file's bytes as they come, of which the last 32 must be the SHA-256 of those before. */
class Summed {
  readonly #path: string;
  readonly #size: number;
  readonly #hash = createHash('sha256');
  readonly #trailer = Buffer.alloc(ID_BYTES);
  #at = 0;

  constructor(path: string, size: number) {
    this.#path = path;
    this.#size = size;
  }

  /** @throws ImgstoreError `DAMAGED` at the last piece */
  add(piece: Buffer): void {
    const summed = this.#size - ID_BYTES;
    const end = this.#at + piece.length;
    this.#hash.update(piece.subarray(0, Math.max(0, summed - this.#at)));
    if (end > summed)
      piece.copy(this.#trailer, Math.max(0, this.#at - summed), Math.max(0, summed - this.#at));
    this.#at = end;
    if (end === this.#size && !this.#trailer.equals(this.#hash.copy().digest()))
      throw damaged(this.#path, 'its checksum does not fit its bytes');
  }

  /** Of all bytes. */
  sha256(): Buffer {
    return this.#hash.update(this.#trailer).digest();
  }
}

async function* checked(all: AsyncIterable<Buffer>, summed: Summed): AsyncGenerator<Buffer> {
  for await (const piece of all) {
    summed.add(piece);
    yield piece;
  }
}

async function* pieces(path: string, size: number, pieceBytes: number): AsyncGenerator<Buffer> {
  const handle = await openFile(path);
  try {
    for (let at = 0; at < size; ) {
      const piece = await readPiece(handle, at, Math.min(pieceBytes, size - at));
      if (piece === undefined) throw damaged(path, `it is shorter than ${size} bytes`);
      at += piece.length;
      yield piece;
    }
  } finally {
    await handle.close();
  }
}

/** Undefined at the end of the file. */
async function readPiece(handle: FileHandle, at: number, length: number): Promise<Buffer | undefined> {
  const piece = Buffer.allocUnsafeSlow(length);
  for (let filled = 0; filled < length; ) {
    const { bytesRead } = await handle.read(piece, filled, length - filled, at + filled);
    if (bytesRead === 0) return undefined;
    filled += bytesRead;
  }
  return piece;
}

function damaged(path: string, why: string): ImgstoreError {
  return new ImgstoreError('DAMAGED', `${path}: ${why}: run 'imgstore fsck' before it is sent anywhere`, {
    path,
  });
}
