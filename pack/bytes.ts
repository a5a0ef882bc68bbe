import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { fromSystem, ImgstoreError } from '../errors/index.ts';

/** Bytes that are looked at here and there: a file through a page cache, or memory. */
export interface ByteView {
  /** Where they come from, for messages. */
  readonly name: string;
  readonly size: number;
  /**
   * The bytes [offset, offset + length), valid until the next call.
   * @throws ImgstoreError `DAMAGED` when they are not all there.
   */
  bytes(offset: number, length: number): Buffer;
}

/** Bytes in memory. */
export class MemoryBytes implements ByteView {
  readonly name: string;
  readonly #bytes: Buffer;

  constructor(name: string, bytes: Uint8Array) {
    this.name = name;
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get size(): number {
    return this.#bytes.length;
  }

  bytes(offset: number, length: number): Buffer {
    requireWithin(this, offset, length);
    return this.#bytes.subarray(offset, offset + length);
  }
}

/** Bytes of one page: a look-up in an index touches one or two of them, and one that is not at hand takes 3 µs. */
const PAGE_BYTES = 16 * 1024;

/** Pages of all files together: 32 MiB, however many indexes a store has and however long they are. */
const MOST_PAGES = 2048;

/** Numbers of pages that a file of 2^43 bytes may have; what tells files apart stands above them, within 2^53. */
const PAGES_A_FILE = 2 ** 29;

/** Least recently used first, as a Map keeps its order of insertion. */
const pages = new Map<number, Buffer>();

/** Tells the pages of one open file from those of another, also when both had the same name. */
let nextFile = 0;

/** A file read by page, with the pages of all such files in one bounded cache. Files must not change: packs and indexes never do. */
export class FileBytes implements ByteView {
  readonly name: string;
  readonly size: number;
  /** Worker threads of this process may read from it too. */
  readonly fd: number;
  readonly #number = nextFile++;
  #open = true;
  /** The page that was looked at last: mostly it is looked at again. */
  #lastNumber = -1;
  #lastPage: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.name = path;
    try {
      // A named pipe would keep the opening waiting for a writer.
      this.fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      throw fromSystem(error, path);
    }
    const stats = fstatSync(this.fd);
    if (!stats.isFile()) {
      this.close();
      throw new ImgstoreError('DAMAGED', `${path}: is no regular file`, { path });
    }
    this.size = stats.size;
  }

  bytes(offset: number, length: number): Buffer {
    requireWithin(this, offset, length);
    const first = Math.floor(offset / PAGE_BYTES);
    const start = offset - first * PAGE_BYTES;
    if (start + length <= PAGE_BYTES) return this.#page(first).subarray(start, start + length);
    const joined = Buffer.allocUnsafe(length);
    this.readInto(joined, offset);
    return joined;
  }

  /** Fills `into` past the cache, for bytes that are read once. @throws ImgstoreError `DAMAGED`, `IO`. */
  readInto(into: Buffer, offset: number): void {
    requireWithin(this, offset, into.length);
    try {
      for (let done = 0; done < into.length; ) {
        const count = readSync(this.fd, into, done, into.length - done, offset + done);
        if (count === 0)
          throw new ImgstoreError('DAMAGED', `${this.name}: became shorter`, { path: this.name });
        done += count;
      }
    } catch (error) {
      throw fromSystem(error, this.name);
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }

  #page(number: number): Buffer {
    if (number === this.#lastNumber) return this.#lastPage;
    const key = this.#number * PAGES_A_FILE + number;
    let page = pages.get(key);
    if (page === undefined) {
      const offset = number * PAGE_BYTES;
      page = Buffer.allocUnsafe(Math.min(PAGE_BYTES, this.size - offset));
      this.readInto(page, offset);
      if (pages.size >= MOST_PAGES) pages.delete(pages.keys().next().value as number);
    } else {
      pages.delete(key);
    }
    pages.set(key, page);
    this.#lastNumber = number;
    this.#lastPage = page;
    return page;
  }
}

function requireWithin(view: ByteView, offset: number, length: number): void {
  if (offset < 0 || offset > view.size - length) {
    throw new ImgstoreError(
      'DAMAGED',
      `${view.name}: cut short: ${length} bytes at ${offset} of ${view.size}`,
      {
        path: view.name,
        offset,
        length,
        size: view.size,
      },
    );
  }
}
