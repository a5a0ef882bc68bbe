import { stat } from 'node:fs/promises';
import { fromSystem } from '../../../errors/index.ts';
import type { NbdExport } from '../../../nbd/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import type { VersionDisk } from '../../version/version.ts';
import type { SessionPlaces } from './names.ts';
import type { OverlayDisk } from './overlay-disk.ts';
import { SessionExport, type SharedDisk } from './session-export.ts';

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
export class Session implements SharedDisk {
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
    this.join();
    return new SessionExport(this, () => this.leave());
  }

  /** There is one more client. */
  join(): void {
    this.#connections++;
  }

  /** There is one client less. */
  leave(): void {
    this.#connections--;
  }

  get shown(): OverlayDisk {
    return this.disk;
  }

  get written(): OverlayDisk {
    return this.disk;
  }

  async toWrite(): Promise<OverlayDisk> {
    return this.disk;
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
