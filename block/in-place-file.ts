import { constants, readSync, writeSync } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import { fromSystem, ImgstoreError, systemCode } from '../errors/index.ts';
import { systemUse } from './device-use.ts';
import { lockImage } from './image-lock.ts';
import { punchHole } from './punch-hole.ts';
import { usedByQemu } from './qemu-locks.ts';
import { deviceSize } from './raw-file.ts';

/** Bytes of zeros written at once. */
const ZEROS = Buffer.alloc(1 << 20);

/**
 * A file or block device that is there, to be changed where it is. Nobody else uses it meanwhile, as far as the system can tell and prevent that: a device is opened with O_EXCL, and
 * QEMU's locks are taken.
 *
 * Reads and writes are synchronous: each waits for the one before in any case, and what is large is left to threads by the descriptor.
 */
export class InPlaceFile {
  /** As given, for messages. */
  readonly path: string;
  readonly isDevice: boolean;
  readonly #handle: FileHandle;
  #size: number;
  #isChanged = false;
  #hasFailedSync = false;

  private constructor(path: string, handle: FileHandle, size: number, isDevice: boolean) {
    this.path = path;
    this.isDevice = isDevice;
    this.#handle = handle;
    this.#size = size;
  }

  /**
   * Opens a file or block device.
   * @throws ImgstoreError `NOT_FOUND`, `IO`, `BAD_IMAGE` for what is neither; `FORBIDDEN` for a file that nobody may write to; `IN_USE` when a QEMU or the system uses it
   */
  static async open(path: string): Promise<InPlaceFile> {
    let handle: FileHandle | undefined;
    try {
      const real = await realpath(path);
      await refuseUsed(path);
      // On a block device, O_EXCL without O_CREAT fails when the system uses it, and keeps it from doing so later. Node passes it on for files too, where it means nothing.
      handle = await open(real, constants.O_RDWR | constants.O_EXCL | constants.O_NONBLOCK);
      const stats = await handle.stat({ bigint: true });
      const isDevice = stats.isBlockDevice();
      if (!isDevice && !stats.isFile()) throw noDisk(path);
      // Root may write to anything; that a file is for reading only is then somebody's word that others stand on it.
      if (!isDevice && (stats.mode & 0o222n) === 0n) throw readOnly(path);
      if (lockImage(handle.fd) === 'busy')
        throw inUse(path, 'open in a running QEMU, or in an imgstore that writes to it: stop that first');
      const size = isDevice ? await deviceSize(path, stats) : Number(stats.size);
      return new InPlaceFile(path, handle, size, isDevice);
    } catch (error) {
      await handle?.close();
      const code = systemCode(error);
      if (code === 'EBUSY') throw inUse(path, 'in use by the system: see lsblk');
      if (code === 'ETXTBSY') throw inUse(path, 'in use by the system');
      if (code === 'EISDIR') throw noDisk(path);
      throw fromSystem(error, path);
    }
  }

  /** The descriptor, through which threads write at offsets of their own; see {@link noteChange}. */
  get fd(): number {
    return this.#handle.fd;
  }

  /** Bytes. */
  get size(): number {
    return this.#size;
  }

  /** Whether anything was written to it. */
  get isChanged(): boolean {
    return this.#isChanged;
  }

  /** Whether an fsync has failed: what was written before may be lost, whatever the next one says (PostgreSQL's "fsyncgate"). */
  get hasFailedSync(): boolean {
    return this.#hasFailedSync;
  }

  /** To be called before anything is written through {@link fd}. @param end byte behind it */
  noteChange(end = 0): void {
    this.#isChanged = true;
    if (!this.isDevice) this.#size = Math.max(this.#size, end);
  }

  /** Fills `into` from `offset` on, with zeros behind the end. @throws ImgstoreError `IO` */
  read(offset: number, into: Uint8Array): void {
    try {
      let done = 0;
      while (done < into.length) {
        const count = readSync(this.fd, into, done, into.length - done, offset + done);
        if (count === 0) break;
        done += count;
      }
      into.fill(0, done);
    } catch (error) {
      throw fromSystem(error, this.path);
    }
  }

  /** @throws ImgstoreError `IO` */
  write(offset: number, bytes: Uint8Array): void {
    this.noteChange(offset + bytes.length);
    try {
      for (let done = 0; done < bytes.length; )
        done += writeSync(this.fd, bytes, done, bytes.length - done, offset + done);
    } catch (error) {
      throw fromSystem(error, this.path);
    }
  }

  /**
   * Makes a range zeros: a hole where the system can make one, else by writing them. What lies behind the end of a file is left alone.
   * @returns the number of bytes written. @throws ImgstoreError `IO`
   */
  zero(offset: number, length: number): number {
    const end = Math.min(offset + length, this.#size);
    if (end <= offset) return 0;
    this.#isChanged = true;
    if (punchHole()?.(this.fd, offset, end - offset)) return 0;
    for (let at = offset; at < end; at += ZEROS.length)
      this.write(at, ZEROS.subarray(0, Math.min(ZEROS.length, end - at)));
    return end - offset;
  }

  /** Sets the length of a file; what is new reads as zeros. @throws ImgstoreError `IO` */
  async resize(size: number): Promise<void> {
    if (size === this.#size) return;
    this.#isChanged = true;
    try {
      await this.#handle.truncate(size);
      this.#size = size;
    } catch (error) {
      throw fromSystem(error, this.path);
    }
  }

  /** Waits until all that was written would outlast a failure of the power. @throws ImgstoreError `IO` */
  async sync(): Promise<void> {
    try {
      await this.#handle.sync();
    } catch (error) {
      this.#hasFailedSync = true;
      throw fromSystem(error, this.path);
    }
  }

  /** When it was written last: nanoseconds since 1970. */
  async mtimeNs(): Promise<bigint> {
    return (await this.#handle.stat({ bigint: true })).mtimeNs;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

async function refuseUsed(path: string): Promise<void> {
  if ((await usedByQemu(path)) !== undefined)
    throw inUse(path, 'open in a running QEMU, or in an imgstore that writes to it: stop that first');
  const use = await systemUse(path);
  if (use !== undefined) throw inUse(path, use);
}

function inUse(path: string, how: string): ImgstoreError {
  return new ImgstoreError('IN_USE', `${path}: is ${how}`, { path });
}

function noDisk(path: string): ImgstoreError {
  return new ImgstoreError('BAD_IMAGE', `${path}: is neither a file nor a block device`, { path });
}

function readOnly(path: string): ImgstoreError {
  const why = 'is read-only, as files are that overlays stand on: if none does, run chmod u+w on it';
  return new ImgstoreError('FORBIDDEN', `${path}: ${why}`, { path });
}
