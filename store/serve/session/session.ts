import { stat } from 'node:fs/promises';
import { fromSystem, ImgstoreError } from '../../../errors/index.ts';
import type { NbdExport } from '../../../nbd/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import type { VersionDisk } from '../../version/version.ts';
import type { SessionPlaces } from './names.ts';
import type { OverlayDisk } from './overlay-disk.ts';

/** The longest read or write of a client. */
const MAX_BYTES = 32 * 2 ** 20;
/** What stat(2) counts in. */
const STAT_BLOCK = 512;

/** What a session is made of. */
export interface SessionParts {
  /** `BRANCH`, or `BRANCH:DISK` where the version has several disks. */
  readonly name: string;
  /** Short name of the branch that commits go to. */
  readonly branch: string;
  readonly places: SessionPlaces;
  readonly base: VersionDisk;
  readonly disk: OverlayDisk;
  /** The version that was committed last, or {@link base}'s. */
  readonly last: ObjectId;
}

/** A disk that clients write to: one overlay, which all connections to an export share, on one version. */
export class Session {
  readonly name: string;
  readonly branch: string;
  readonly places: SessionPlaces;
  readonly base: VersionDisk;
  readonly disk: OverlayDisk;
  /** The version that was committed last from it. */
  last: ObjectId;
  /**
   * The version's disk that the overlay's disk is as, but for what counts as changed: the one that was committed last since the overlay was opened, before that the base. What was committed
   * before is not believed: the overlay may be an older copy of itself.
   */
  known: VersionDisk;
  #connections = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor({ name, branch, places, base, disk, last }: SessionParts) {
    this.name = name;
    this.branch = branch;
    this.places = places;
    this.base = base;
    this.disk = disk;
    this.last = last;
    this.known = base;
  }

  /** Clients that are connected now. */
  get connections(): number {
    return this.#connections;
  }

  /** Bytes that the overlay takes on its disk. @throws ImgstoreError `IO` */
  overlayBytes(): Promise<number> {
    return bytesOnDisk(this.places.overlay);
  }

  /** The disk for one more connection. */
  open(): NbdExport {
    this.#connections++;
    return new SessionExport(this, () => {
      this.#connections--;
    });
  }

  /** Does things one after the other: one commit at a time, and nothing is thrown away meanwhile. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
}

/** Bytes that a file takes on its disk. @throws ImgstoreError `IO`, `NOT_FOUND` */
export async function bytesOnDisk(path: string): Promise<number> {
  try {
    return (await stat(path)).blocks * STAT_BLOCK;
  } catch (error) {
    throw fromSystem(error, path);
  }
}

/** A session's disk as one connection has it. */
class SessionExport implements NbdExport {
  readonly name: string;
  readonly description: string;
  readonly size: number;
  readonly readOnly = false;
  readonly blockSize: NbdExport['blockSize'];
  readonly multiConnection = true;
  readonly #disk: OverlayDisk;
  #onRelease: (() => void) | undefined;

  constructor({ name, base, disk }: Session, onRelease: () => void) {
    this.name = name;
    this.description = `written to, on ${base.version.slice(0, 12)}`;
    this.size = disk.size;
    this.blockSize = { minimum: 1, preferred: Math.max(512, disk.clusterSize), maximum: MAX_BYTES };
    this.#disk = disk;
    this.#onRelease = onRelease;
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#disk.read(offset, into);
  }

  extents(offset: number, length: number): ReturnType<NbdExport['extents']> {
    return this.#disk.extents(offset, length);
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#disk.write(offset, bytes);
  }

  /** Clusters of zeros take no room, also where the client would like them to: the room could go all the same, by the next commit's copies. */
  zero(offset: number, length: number): Promise<void> {
    return this.#disk.zero(offset, length);
  }

  /** What was trimmed reads as zeros, so that a commit stores nothing of it. */
  trim(offset: number, length: number): Promise<void> {
    return this.#disk.zero(offset, length);
  }

  flush(): Promise<void> {
    return this.#disk.flush();
  }

  /** A client that goes without a flush has its writes kept all the same, where that can be. */
  async release(): Promise<void> {
    const onRelease = this.#onRelease;
    this.#onRelease = undefined;
    if (onRelease === undefined) return;
    try {
      await this.#disk.flush();
    } catch (error) {
      // Nobody is there who could be told; whoever writes next is.
      if (!(error instanceof ImgstoreError)) throw error;
    } finally {
      onRelease();
    }
  }
}
