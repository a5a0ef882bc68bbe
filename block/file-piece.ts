import { readSync } from 'node:fs';
import { fromSystem, ImgstoreError } from '../errors/index.ts';

/** Bytes of a disk as they lie in an open file; numbers and a name, so that any thread of the process can read them. */
export interface FilePiece {
  /** The file's descriptor, which whoever located the piece keeps open; undefined for zeros that lie nowhere. */
  readonly fd: number | undefined;
  /** The file's name, for messages. */
  readonly path: string;
  /** Where they begin in the file, in bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** Zeros that lie nowhere. */
export function zeroPiece(length: number): FilePiece {
  return { fd: undefined, path: '', offset: 0, length };
}

/** Reads neighbouring pieces, one part after the other. */
export class PieceReader {
  readonly #pieces: readonly FilePiece[];
  /** Which piece comes next, and how much of it is behind. */
  #next = 0;
  #within = 0;

  constructor(pieces: readonly FilePiece[]) {
    this.#pieces = pieces;
  }

  /** Fills `into` with what comes next. @throws ImgstoreError `IO`, or `IN_USE` when a file became shorter */
  read(into: Uint8Array): void {
    let done = 0;
    this.#take(into.length, (piece, from, length) => {
      readPiece(piece, from, into.subarray(done, done + length));
      done += length;
    });
  }

  /** Leaves bytes out. */
  skip(length: number): void {
    this.#take(length, () => {});
  }

  #take(length: number, take: (piece: FilePiece, from: number, length: number) => void): void {
    for (let left = length; left > 0; ) {
      const piece = this.#pieces[this.#next];
      if (piece === undefined) throw new RangeError(`${left} bytes more than there are`);
      const part = Math.min(left, piece.length - this.#within);
      take(piece, this.#within, part);
      left -= part;
      this.#within += part;
      if (this.#within < piece.length) return;
      this.#next++;
      this.#within = 0;
    }
  }
}

function readPiece({ fd, path, offset }: FilePiece, from: number, into: Uint8Array): void {
  if (fd === undefined) {
    into.fill(0);
    return;
  }
  for (let done = 0; done < into.length; ) {
    let bytesRead: number;
    try {
      bytesRead = readSync(fd, into, done, into.length - done, offset + from + done);
    } catch (error) {
      throw fromSystem(error, path);
    }
    if (bytesRead === 0) throw becameShorter(path, offset + from + done);
    done += bytesRead;
  }
}

/** What a reader says that has found other data than at first. */
export function changedWhileRead(path: string): ImgstoreError {
  const message = `${path}: changed while it was read: stop what writes to it and try again`;
  return new ImgstoreError('IN_USE', message, { path });
}

/** What a reader says that has found the end of a file before the one that it had at first. */
export function becameShorter(path: string, offset: number): ImgstoreError {
  return new ImgstoreError(
    'IN_USE',
    `${path}: became shorter while it was read: stop what writes to it and try again`,
    { path, offset },
  );
}
