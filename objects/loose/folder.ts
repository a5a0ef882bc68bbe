import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';
import type { FileRules } from '../../files/index.ts';
import { PREFIX_STREAM_BYTES } from '../codec/deflate.ts';
import type { ObjectId } from '../id.ts';
import { type GitObject, MOST_OBJECT_BYTES, type ObjectHeader, verifyObject } from '../object.ts';
import { parseLoose, parseLooseHeader } from './decode.ts';

/** Digits of an id that name its folder; the rest names the file (git: gitrepository-layout). */
export const FAN_OUT_DIGITS = 2;

const FAN_OUT_PATTERN = /^[0-9a-f]{2}$/;
const FILE_PATTERN = /^[0-9a-f]{62}$/;

/** A zlib stream is at most a little longer than what it holds. */
const MOST_FILE_BYTES = MOST_OBJECT_BYTES + MOST_OBJECT_BYTES / 1024;

/**
 * The loose objects of a store: one zlib file each, `ab/cdef…` below `objects/`.
 *
 * Reads are synchronous: an object is one small file, most often in the page cache, and a trip through the thread pool
 * costs more than the read.
 */
export class LooseObjects {
  /** The `objects/` folder. */
  readonly folder: string;
  /** How new files are made. */
  readonly rules: FileRules;

  constructor(folder: string, rules: FileRules = {}) {
    this.folder = folder;
    this.rules = rules;
  }

  /** The path at which an object's file is, or would be. */
  path(id: ObjectId): string {
    return join(this.folder, id.slice(0, FAN_OUT_DIGITS), id.slice(FAN_OUT_DIGITS));
  }

  /**
   * Whether the object's file is there. An empty one, as a power failure leaves it on some file systems, does not count, so that the object is
   * stored anew; nor does what is no file.
   */
  has(id: ObjectId): boolean {
    return (this.fileSize(id) ?? 0) > 0;
  }

  /** Whether the object is there and its file holds it whole; reads all of it. */
  hasWhole(id: ObjectId): boolean {
    try {
      return this.read(id) !== undefined;
    } catch (error) {
      if (error instanceof ImgstoreError) return false;
      throw error;
    }
  }

  /** The object, checked against its id, or undefined. @throws ImgstoreError `DAMAGED` naming the file, `IO`. */
  read(id: ObjectId): GitObject | undefined {
    const path = this.path(id);
    const file = this.#open(path, (fd) => {
      const { size } = fstatSync(fd);
      if (size > MOST_FILE_BYTES)
        throw new ImgstoreError('UNSUPPORTED', `${path}: a loose object of ${size} bytes is too large`, {
          path,
        });
      return readFileSync(fd);
    });
    if (file === undefined) return undefined;
    const object = locate(path, () => parseLoose(file));
    verifyObject(id, object, path);
    return object;
  }

  /** The object's kind and size from the start of its file, or undefined. Its id is not checked. */
  header(id: ObjectId): ObjectHeader | undefined {
    const path = this.path(id);
    const start = this.#open(path, (fd) => {
      const bytes = Buffer.allocUnsafe(PREFIX_STREAM_BYTES);
      return bytes.subarray(0, readSync(fd, bytes, 0, PREFIX_STREAM_BYTES, 0));
    });
    return start === undefined ? undefined : locate(path, () => parseLooseHeader(start));
  }

  /** Bytes of the object's file, or undefined when there is no file (any more). @throws ImgstoreError `IO`. */
  fileSize(id: ObjectId): number | undefined {
    const path = this.path(id);
    try {
      const stats = statSync(path, { throwIfNoEntry: false });
      return stats?.isFile() ? stats.size : undefined;
    } catch (error) {
      throw fromSystem(error, path);
    }
  }

  /** The folders that there are, by the first digits of the ids in them. */
  folders(): readonly string[] {
    return this.#names(this.folder, FAN_OUT_PATTERN);
  }

  /** Every id whose file is there, folder by folder, in order. */
  *ids(): Generator<ObjectId> {
    for (const fanOut of this.folders()) yield* this.#idsIn(fanOut);
  }

  /** The ids that begin with `prefix` (at least {@link FAN_OUT_DIGITS} digits). */
  *idsWithPrefix(prefix: string): Generator<ObjectId> {
    for (const id of this.#idsIn(prefix.slice(0, FAN_OUT_DIGITS))) if (id.startsWith(prefix)) yield id;
  }

  *#idsIn(fanOut: string): Generator<ObjectId> {
    for (const name of this.#names(join(this.folder, fanOut), FILE_PATTERN)) yield fanOut + name;
  }

  #names(folder: string, pattern: RegExp): string[] {
    try {
      return readdirSync(folder)
        .filter((name) => pattern.test(name))
        .sort();
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [];
      throw fromSystem(error, folder);
    }
  }

  #open<T>(path: string, read: (fd: number) => T): T | undefined {
    let fd: number | undefined;
    try {
      // A named pipe would keep the opening waiting for a writer.
      fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      if (!fstatSync(fd).isFile()) throw new ImgstoreError('IO', `${path}: is no regular file`, { path });
      return read(fd);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw fromSystem(error, path);
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  }
}

/** Puts the file's name in front of what went wrong inside of it. */
function locate<T>(path: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof ImgstoreError)) throw error;
    throw new ImgstoreError(error.code, `${path}: ${error.message}`, { ...error.data, path }, error);
  }
}
