import type { BlockSource } from '../../../block/index.ts';
import { ImgstoreError } from '../../../errors/index.ts';
import type { NbdExport } from '../../../nbd/index.ts';
import type { VersionDisk } from '../../version/version.ts';
import type { OverlayDisk } from './overlay-disk.ts';

/** The longest read or write of a client. */
const MAX_BYTES = 32 * 2 ** 20;

/** A disk that all connections to an export share. */
export interface SharedDisk {
  readonly name: string;
  readonly base: VersionDisk;
  /** What is read just now. */
  readonly shown: BlockSource;
  /** What can be written to; undefined as long as nothing was. */
  readonly written: OverlayDisk | undefined;
  /** What is to be written to: it is made if it must be. @throws ImgstoreError `IO`, `IN_USE` when that cannot be */
  toWrite(): Promise<OverlayDisk>;
}

/** A session's disk as one connection has it. */
export class SessionExport implements NbdExport {
  readonly name: string;
  readonly description: string;
  readonly size: number;
  readonly readOnly = false;
  readonly blockSize: NbdExport['blockSize'];
  readonly multiConnection = true;
  readonly #disk: SharedDisk;
  #onRelease: (() => void) | undefined;

  constructor(disk: SharedDisk, onRelease: () => void) {
    const { name, base } = disk;
    const { version, virtualSize, clusterSize } = base;
    this.name = name;
    this.description = `${disk.written === undefined ? 'to be written to' : 'written to'}, on ${version.slice(0, 12)}`;
    this.size = virtualSize;
    this.blockSize = { minimum: 1, preferred: Math.max(512, clusterSize), maximum: MAX_BYTES };
    this.#disk = disk;
    this.#onRelease = onRelease;
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#disk.shown.read(offset, into);
  }

  extents(offset: number, length: number): ReturnType<NbdExport['extents']> {
    return this.#disk.shown.extents(offset, length);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await (await this.#disk.toWrite()).write(offset, bytes);
  }

  /** Clusters of zeros take no room, also where the client would like them to: the room could go all the same, by the next commit's copies. */
  async zero(offset: number, length: number): Promise<void> {
    await (await this.#disk.toWrite()).zero(offset, length);
  }

  /** What was trimmed reads as zeros, so that a commit stores nothing of it. */
  trim(offset: number, length: number): Promise<void> {
    return this.zero(offset, length);
  }

  async flush(): Promise<void> {
    await this.#disk.written?.flush();
  }

  /** A client that goes without a flush has its writes kept all the same, where that can be. */
  async release(): Promise<void> {
    const onRelease = this.#onRelease;
    this.#onRelease = undefined;
    if (onRelease === undefined) return;
    try {
      await this.flush();
    } catch (error) {
      // Nobody is there who could be told; whoever writes next is.
      if (!(error instanceof ImgstoreError)) throw error;
    } finally {
      onRelease();
    }
  }
}
